// Inducing inputs: the factor of their covariance, tiles of points against them in lanes, and the way back to gradients.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <vector>

#include "algo/gp_outcome.hpp"
#include "algo/gram.hpp"
#include "algo/jitter.hpp"
#include "algo/sgpr_columns.hpp"

namespace lvm {

struct InducingPoint {
  const KernelTree* tree;
  const double *theta, *z;  // on the host; z (m, q) row-major
  int64_t m;
  JitterPolicy policy;
  double least_pivot;  // of K_uu, relative to its mean diagonal: below it more jitter is needed
  double always;       // jitter that is added at least, relative to the mean diagonal
};

// What one thread needs to go through tiles; all sums of a lane are its own.
template <class Device, class A>
struct InducingLane {
  explicit InducingLane(const KernelTree& tree) : kernel(tree) {}
  Kernel<Device, A> kernel;
  typename Device::template KernelPoints<A> rows, cols;
  typename Device::template Scratch<double> d_x, d_z, d_theta, diagonal;
  std::vector<typename Device::LeafSums> sums;
  int64_t first = 0;  // row of the lane

  void zero_gradients(int64_t tile, int64_t m, int64_t q, int64_t parameters) {
    Device::zero(d_z.reserve(m * q), m * q);
    Device::zero(d_theta.reserve(parameters + 1), parameters);
    Device::zero(d_x.reserve(tile * q), tile * q);
    diagonal.reserve(tile);
  }
};

// A: of what is done with tiles. What is m x m is in double. L L^T = K_uu + jitter I: l_ holds L row-major, which is the
// column-major upper U = L^T that BLAS is told of.
template <class Device, class A, class Lane>
class Inducing {
 public:
  int64_t inducing() const { return m_; }

 protected:
  template <class U>
  using Scratch = typename Device::template Scratch<U>;
  template <class U>
  using Blas = typename Device::template Blas<U>;
  static constexpr bool kSame = std::is_same_v<A, double>;

  // Kernels and points of this theta and z, and K_uu. n: rows to come. At most so many lanes, which hold `matrices` m x m
  // matrices each; a tile holds `columns` m-vectors for each of its rows. middle: of the inputs, (q,) on the device.
  void begin(const InducingPoint& point, int64_t n, int64_t q, const double* middle, int64_t lanes, int64_t matrices,
             int64_t columns) {
    const KernelTree& tree = *point.tree;
    const int64_t m = m_ = point.m;
    q_ = q;
    middle_at_ = middle;
    const int64_t room = kLaneBytes / (matrices * m * m * static_cast<int64_t>(sizeof(double)));
    lanes_ = std::clamp<int64_t>(std::min(lanes, std::max<int64_t>(room, 4)), 1, Device::kLanes);
    tile_ = std::min(Device::tile_rows(columns * m * static_cast<int64_t>(sizeof(A))), (n + 63) / 64 * 64);
    if (!uu_ || !(uu_->kernel.tree() == tree)) {
      uu_ = std::make_unique<KernelOfPoints<Device, double>>(tree);
      lane_.clear();
    }
    while (static_cast<int64_t>(lane_.size()) < lanes_) lane_.push_back(std::make_unique<Lane>(tree));
    inputs_.reserve(tree.parameters + 1);
    std::copy_n(point.theta, tree.parameters, inputs_.host());
    inputs_.push(tree.parameters);
    Device::upload(point.z, z_.reserve(m * q), m * q);
    Device::map(m * q, CastTo<double, A>{z_.data(), z_tile_.reserve(m * q)});
    if (!kSame) Device::map(m * q, CastTo<A, double>{z_tile_.data(), z_.data()});
    uu_->kernel.set(inputs_.device());
    uu_->pair.assign(z_.data(), m, nullptr, z_.data(), m, q);  // as different points: White is noise to all of them
    uu_->pair.gram().values(k_uu_.reserve(m * m), m, false, nullptr);
    for (int64_t s = 0; s < lanes_; ++s) {
      Lane& lane = *lane_[s];
      lane.kernel.set(inputs_.device());
      lane.kernel.assign(lane.cols, z_tile_.data(), m, q, nullptr, middle);
    }
    numbers_.reserve(m * m);
    failure_.reserve(1);
  }

  // L, from K_uu. jitter: absolute, where to start; afterwards what was needed.
  Status factorise_inducing(const InducingPoint& point, double& jitter) {
    const int64_t m = m_;
    Device::sums(1, m, DiagonalEntry<double>{k_uu_.data(), m}, numbers_.device());
    numbers_.pull(1);
    Device::wait();
    const double mean = numbers_.host()[0] / static_cast<double>(m);
    double* l = l_.reserve(m * m);
    jitter = std::max(jitter, point.always * mean);
    const Status status = escalate_jitter(point.policy, [&] { return mean; }, jitter, [&](double extra) {
      Device::copy(k_uu_.data(), l, m * m);
      Device::map(m, AddDiagonal<double>{l, m, extra});
      return factorise(l, point.least_pivot * mean);
    });
    if (!status) return status;
    Device::map(m, StoreDiagonal{l, m, numbers_.device()});
    numbers_.pull(m);
    Device::wait();
    const auto [least, most] = std::minmax_element(numbers_.host(), numbers_.host() + m);
    const double ratio = *most / *least * (*most / *least);
    if (ratio > kMostRatio) return {Code::bad_diagonal, least - numbers_.host()};
    direct_ = ratio < kDirectRatio;
    if constexpr (!kSame) Device::map(m * m, CastTo<double, A>{l, l_tile_.reserve(m * m)});
    return {};
  }

  const A* l_tile() const {
    if constexpr (kSame) {
      return l_.data();
    } else {
      return l_tile_.data();
    }
  }

  // In place, of the upper triangle (column-major).
  Status factorise(double* a, double least) {
    Device::potrf('U', m_, a, m_, failure_.data());
    Device::note_first(m_, SmallPivot{a, m_, least}, failure_.data());
    Device::map(1, StoreFailure{failure_.data(), numbers_.device()});
    numbers_.pull(1);
    Device::wait();
    const int64_t lost = static_cast<int64_t>(numbers_.host()[0]);
    if (lost > 0) return {Code::not_positive_definite, lost - 1};
    return {};
  }

  // f(lane, begin, end) for all tiles of n rows; those of a lane in order.
  template <class F>
  void each_tile(int64_t n, const F& f) {
    Device::for_lanes(lanes_, [&](int64_t s) {
      const int64_t first = s * n / lanes_, last = (s + 1) * n / lanes_, tiles = (last - first + tile_ - 1) / tile_;
      lane_[s]->first = first;
      for (int64_t t = 0; t < tiles; ++t) {
        f(*lane_[s], first + t * (last - first) / tiles, first + (t + 1) * (last - first) / tiles);
      }
    });
  }

  // k = K_uf of the rows x (count, q), column after column; null if it is there already.
  typename Device::template Gram<A> covariances(Lane& lane, const A* x, int64_t count, A* k) {
    lane.kernel.assign(lane.rows, x, count, q_, nullptr, middle_at_);
    lane.kernel.choose_distances(lane.rows, lane.cols);
    typename Device::template Gram<A> gram{lane.kernel.prepared(), lane.rows, lane.cols, count, m_, false};
    if (k) gram.values(k, m_, false, nullptr);
    return gram;
  }

  // The cotangents of K_uf (w) and of the rows' variances (lane.diagonal), to the lane's gradients.
  void pull_covariances(Lane& lane, typename Device::template Gram<A>& gram, const A* x, int64_t count, const A* w) {
    lane.kernel.diagonal_vjp(x, count, q_, lane.diagonal.data(), lane.d_x.data(), lane.d_theta.data());
    gram.pullback(gram.cotangent_of(w, m_, Cotangent::direct), true, lane.sums);
    lane.kernel.finish(lane.sums, lane.rows, x, count, nullptr, lane.cols, z_tile_.data(), m_, q_, middle_at_,
                       lane.d_x.data(), lane.d_z.data(), lane.d_theta.data());
  }

  // The cotangent e of K_uu, to d_first_, d_second_ and d_theta_there_.
  void pull_inducing(const double* e) {
    const int64_t m = m_, parameters = uu_->kernel.tree().parameters;
    auto gram = uu_->pair.gram();
    gram.pullback(gram.cotangent_of(e, m, Cotangent::direct), true, sums_);
    uu_->pair.finish(sums_, d_first_.reserve(m * q_), d_second_.reserve(m * q_), d_theta_there_.reserve(parameters + 1));
  }

  // All of it, to the host: d_z (m, q), d_theta (parameters,).
  void gather_gradients(double* d_theta, double* d_z) {
    const int64_t size = m_ * q_, parameters = uu_->kernel.tree().parameters;
    double* sum = gathered_.reserve(std::max<int64_t>({size, parameters, 4}));
    add_lanes(size, [](Lane& lane) { return lane.d_z.data(); }, sum);
    Device::map(size, AddTo<double>{d_first_.data(), sum});
    Device::map(size, AddTo<double>{d_second_.data(), sum});
    fetch(sum, size, d_z);
    add_lanes(parameters, [](Lane& lane) { return lane.d_theta.data(); }, sum);
    Device::map(parameters, AddTo<double>{d_theta_there_.data(), sum});
    fetch(sum, parameters, d_theta);
  }

  // e = L^-T e L^-1, for a symmetric one.
  void sandwich(double* e) {
    const int64_t m = m_;
    Device::for_parts(m, [&](int64_t begin, int64_t end) {
      Blas<double>::trsm('L', 'U', 'N', m, end - begin, 1.0, l_.data(), m, e + begin * m, m);
    });
    Device::for_parts(m, [&](int64_t begin, int64_t end) {
      Blas<double>::trsm('R', 'U', 'T', end - begin, m, 1.0, l_.data(), m, e + begin, m);
    });
    Device::symmetrise(e, m);
  }

  // out = the sum over lanes of `part`, in their order.
  template <class F>
  void add_lanes(int64_t size, const F& part, double* out) {
    Device::copy(part(*lane_[0]), out, size);
    for (int64_t s = 1; s < lanes_; ++s) Device::map(size, AddTo<double>{part(*lane_[s]), out});
  }
  void fetch(const double* from, int64_t size, double* to) {
    numbers_.reserve(size);
    Device::copy(from, numbers_.device(), size);
    numbers_.pull(size);
    Device::wait();
    std::copy_n(numbers_.host(), size, to);
  }

  static constexpr int64_t kLaneBytes = int64_t(1) << 27;  // of the m x m matrices of all lanes, about

  // Of the squares of the largest and the least entry of L's diagonal, which tells of the condition of K_uu: up to
  // kDirectRatio products with K_uf may replace those with L^-1 K_uf and lose nothing that counts; beyond kMostRatio float
  // tiles cannot do it.
  static constexpr double kDirectRatio = kSame ? 1e7 : 3e2, kMostRatio = kSame ? 1e300 : 1e5;

  bool direct_ = true;
  int64_t m_ = 0, q_ = 0, lanes_ = 1, tile_ = 0;
  const double* middle_at_ = nullptr;
  std::unique_ptr<KernelOfPoints<Device, double>> uu_;
  std::vector<std::unique_ptr<Lane>> lane_;
  typename Device::template Shared<double> inputs_, numbers_;
  Scratch<int> failure_;
  Scratch<A> z_tile_, l_tile_;
  Scratch<double> z_, k_uu_, l_, gathered_, d_first_, d_second_, d_theta_there_;
  std::vector<typename Device::LeafSums> sums_;
};

}  // namespace lvm

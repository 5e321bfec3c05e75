// Sparse Gaussian process regression: the collapsed bound (or FITC's likelihood) with all gradients, the data in tiles.
//
// With lambda_i = 1 / (noise + own noise_i), L L^T = K_uu + jitter I, v_i = L^-1 k_i, R = Y - H b:
//
//   value = -1/2 [n d log 2 pi - d sum log lambda + d log|B| + quad + d sum_i lambda_i (k_ii - |v_i|^2)],
//   B = I + V Lambda V^T,   w = V Lambda R,   gamma = B^-1 w,   quad = sum_i lambda_i |r_i - gamma^T v_i|^2 + |gamma|^2,
//
// maximised over b. (quad = R^T Lambda R - w^T gamma, but does not cancel.) FITC: lambda_i = 1 / (noise + own noise_i + k_ii -
// |v_i|^2) and no last term. Titsias (2009), "Variational learning of inducing variables in sparse Gaussian processes",
// eq. 9; Snelson & Ghahramani (2006), "Sparse Gaussian processes using pseudo-inputs", eq. 9; the gradients:
//
//   by K_uf: E K_uf Lambda + eta (Lambda e)^T, E = d L^-T (I - B^-1) L^-1, eta = L^-T gamma, e = R - K_uf^T eta,
//   by K_uu: -1/2 (d L^-T (B - 2 I + B^-1) L^-1 + eta eta^T),   by k_ii: -d lambda_i / 2,
//   by 1 / lambda_i: -lambda_i^2 / 2 (d / lambda_i - |e_i|^2 - d k_ii + k_i^T E k_i).
//
// Flops of an evaluation: 4 n m^2 (solve and outer product in the first pass, one product in the second; where K_uu is hardly
// definite 6 n m^2, as E is then not formed; FITC 8 n m^2).
// Memory: a few m^2 for every lane of tiles and a tile (rows of data times m) or two; never n m.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "algo/inducing.hpp"
#include "algo/least_squares.hpp"

namespace lvm {

// All of it belongs to the caller and stays: x (n, q) and y (n, columns) row-major and own_noise (n,) or null on the
// device; shift (columns,), which is taken from y, centre and scale (q,) of the linear basis on the host. basis: 0, 1 (a
// constant) or 1 + q. tile: rows of a tile, 0 for what suits the device.
template <class X>
struct SgprData {
  const X *x, *y;
  const double* own_noise;
  int64_t n, q, columns, basis;
  const double *shift, *centre, *scale;
  bool fitc;
  int64_t tile;
};

struct SgprPoint {
  InducingPoint inducing;
  double noise;
};

struct SgprResult {
  double value, d_noise;
  double trace;  // sum_i k_ii - |v_i|^2
};

template <class Device, class A>
struct SgprLane : InducingLane<Device, A> {
  using InducingLane<Device, A>::InducingLane;
  typename Device::template Scratch<A> x, k, w, turned, targets, fit, error, product;
  typename Device::template Scratch<double> gram, right, weight, left, square, by_noise, totals;
};

// X: of the data; A: of what is done with tiles. What is m x m is in double.
template <class Device, class X, class A>
class SgprObjective : public Inducing<Device, A, SgprLane<Device, A>> {
 public:
  explicit SgprObjective(const SgprData<X>& data) : data_(data) {
    const int64_t q = data.q;
    Device::upload(data.shift, shift_.reserve(data.columns + 1), data.columns);
    Device::upload(data.centre, centre_.reserve(q + 1), q);
    Device::upload(data.scale, scale_.reserve(q + 1), q);
    Device::column_centres(data.x, data.n, q, middle_.reserve(q + 1));
  }

  int64_t columns() const { return data_.columns; }
  int64_t basis() const { return data_.basis; }
  const SgprData<X>& data() const { return data_; }

  // d_theta (parameters,), d_z (m, q), on the host: overwritten. jitter: absolute, where to start; afterwards what was needed.
  Status evaluate(const SgprPoint& point, double& jitter, SgprResult* result, double* d_theta, double* d_z) {
    *result = {};
    Base::begin(point.inducing, data_.n, data_.q, middle_.data(), data_.n / kLaneRows, 1, 1);
    Status status = Base::factorise_inducing(point.inducing, jitter);
    if (!status) return status;
    if (data_.tile) tile_ = data_.tile;
    status = first_pass(point.noise, data_.fitc);
    if (!status) return status;
    solve_mean(point.noise, data_.fitc);
    second_pass(point.noise);
    gather(point.noise, d_theta, d_z, result);
    const double log_det = log_det_, n = static_cast<double>(data_.n), d = static_cast<double>(data_.columns);
    const double weighted = data_.fitc ? 0.0 : totals_[0];
    result->value = -0.5 * (d * (n * kLog2Pi - totals_[1] + log_det + weighted) + quad_);
    result->trace = totals_[2];
    if (!std::isfinite(result->value)) return {Code::non_finite, -1};
    return {};
  }

  // After an evaluation, at its point: max_b -1/2 [n d log 2 pi + d log|Q + noise| + R^T (Q + (t + noise) I)^-1 R], which is
  // not below the log marginal likelihood; t = tr(K_ff - Q). Titsias (2014), "Variational inference for Gaussian and
  // determinantal point processes".
  Status upper_bound(double noise, double* value) {
    Status status = first_pass(noise, false);
    if (!status) return status;
    const double log_det = log_det_ - totals_[1], t = std::max(totals_[2], 0.0);
    status = first_pass(noise + t, false);
    if (!status) return status;
    solve_mean(noise + t, false);
    // The square of what is left at the best b: y^T y by weight - w^T gamma, all reduced by b.
    const double n = static_cast<double>(data_.n), d = static_cast<double>(data_.columns);
    *value = -0.5 * (d * (n * kLog2Pi + log_det) + std::max(reduced_square_, 0.0));
    return {};
  }

  // Of the last evaluation, to host memory: l and b (m, m) row-major lower factors (upper triangles are not touched), gamma
  // and eta (m, columns) column-major, coef (basis, columns) column-major.
  void factors(double* l, double* b, double* gamma, double* eta, double* coef) {
    numbers_.reserve(m_ * m_);
    fetch(l_.data(), m_ * m_, l);
    fetch(b_.data(), m_ * m_, b);
    fetch(gamma_.data(), m_ * data_.columns, gamma);
    fetch(eta_.data(), m_ * data_.columns, eta);
    std::copy(coef_.begin(), coef_.end(), coef);
  }

 private:
  using Lane = SgprLane<Device, A>;
  using Base = Inducing<Device, A, Lane>;
  template <class U>
  using Scratch = typename Device::template Scratch<U>;
  template <class U>
  using Blas = typename Device::template Blas<U>;
  using Base::add_lanes, Base::factorise, Base::fetch, Base::kSame, Base::sandwich;
  using Base::direct_, Base::k_uu_, Base::l_, Base::lane_, Base::lanes_, Base::m_, Base::numbers_, Base::tile_, Base::uu_;
  static constexpr double kLog2Pi = 1.8378770664093454836;

  struct Tile {
    const A* x;
    int64_t begin, count;
  };

  // f(lane, tile) for all tiles; those of a lane in order.
  template <class F>
  void each_tile(const F& f) {
    Base::each_tile(data_.n, [&](Lane& lane, int64_t begin, int64_t end) {
      f(lane, Tile{inputs_of(lane, begin, end - begin), begin, end - begin});
    });
  }
  const A* inputs_of(Lane& lane, int64_t begin, int64_t count) {
    const X* x = data_.x + begin * data_.q;
    if constexpr (std::is_same_v<X, A>) {
      return x;
    } else {
      Device::map(count * data_.q, CastTo<X, A>{x, lane.x.reserve(count * data_.q)});
      return lane.x.data();
    }
  }

  // lane.k = K_uf of the tile, or V; the targets, weights and what is left of the variances (0 without V).
  typename Device::template Gram<A> fill(Lane& lane, const Tile& tile, double noise, bool fitc, bool solve, bool scaled) {
    const int64_t m = m_, count = tile.count, q = data_.q, columns = data_.columns + data_.basis;
    A* k = lane.k.reserve(m * tile_);
    auto gram = Base::covariances(lane, tile.x, count, k);
    if (solve) Blas<A>::trsm('L', 'U', 'T', m, count, A(1), Base::l_tile(), m, k, m);
    A* targets = lane.targets.reserve(tile_ * columns + 1);
    Device::map(count * columns,
                TargetEntry<X, A>{data_.x + tile.begin * q, data_.y + tile.begin * data_.columns, count, q, data_.columns,
                                  shift_.data(), centre_.data(), scale_.data(), targets});
    const double* own = data_.own_noise ? data_.own_noise + tile.begin : nullptr;
    Device::map(count, Weigh<A>{solve ? k : nullptr, m, lane.kernel.diagonal(tile.x, q), own, noise, fitc, scaled, targets,
                                count, columns, lane.weight.reserve(tile_), lane.left.reserve(tile_)});
    return gram;
  }

  // B and its factor, w of [Y H] and, on the host, totals_ = the terms of WeightTerms, then products of H with [Y H] and the
  // sum of squares of Y, by weight.
  Status first_pass(double noise, bool fitc) {
    const int64_t m = m_, d = data_.columns, p = data_.basis, columns = d + p, terms = 3 + p * columns + 1;
    const bool uniform = !data_.own_noise && !fitc;
    const double weight = uniform ? 1.0 / noise : 1.0;
    for (int64_t s = 0; s < lanes_; ++s) {
      Device::zero(lane_[s]->gram.reserve(m * m), m * m);
      Device::zero(lane_[s]->right.reserve(m * columns + 1), m * columns);
      Device::zero(lane_[s]->totals.reserve(terms), terms);
    }
    each_tile([&](Lane& lane, const Tile& tile) {
      const int64_t count = tile.count;
      fill(lane, tile, noise, fitc, true, !uniform);
      const A *v = lane.k.data(), *targets = lane.targets.data();
      double* totals = lane.totals.data();
      if constexpr (kSame) {
        Blas<A>::syrk('U', 'N', m, count, 1.0, v, m, 1.0, lane.gram.data(), m);
        Blas<A>::gemm('N', 'N', m, columns, count, 1.0, v, m, targets, count, 1.0, lane.right.data(), m);
      } else {
        A* product = lane.product.reserve(m * std::max(m, columns));
        Blas<A>::syrk('U', 'N', m, count, A(1), v, m, A(0), product, m);
        Device::map(m * m, AddTo<A>{product, lane.gram.data()});
        Blas<A>::gemm('N', 'N', m, columns, count, A(1), v, m, targets, count, A(0), product, m);
        Device::map(m * columns, AddTo<A>{product, lane.right.data()});
      }
      Device::sums(3, count, WeightTerms{lane.weight.data(), lane.left.data()}, totals, true);
      Device::sums(p * columns, count, ColumnProducts<A>{targets + d * count, targets, count, p}, totals + 3, true);
      Device::sums(1, count * d, Square<A>{targets}, totals + 3 + p * columns, true);
    });
    double *gram = gram_.reserve(m * m), *right = right_.reserve(m * columns + 1);
    double* totals = totals_there_.reserve(terms);
    add_lanes(m * m, [](Lane& lane) { return lane.gram.data(); }, gram);
    add_lanes(m * columns, [](Lane& lane) { return lane.right.data(); }, right);
    add_lanes(terms, [](Lane& lane) { return lane.totals.data(); }, totals);
    if (uniform) {
      Device::map(m * m, Scaled{gram, weight, gram});
      Device::map(m * columns, Scaled{right, weight, right});
    }
    totals_.resize(terms);
    numbers_.reserve(terms);
    fetch(totals, terms, totals_.data());
    for (int64_t k = 3; uniform && k < terms; ++k) totals_[k] *= weight;
    Device::copy(gram, b_.reserve(m * m), m * m);
    Device::map(m, AddDiagonal<double>{b_.data(), m, 1.0});
    const Status status = factorise(b_.data(), 0.0);
    if (!status) return {Code::bad_diagonal, status.index};  // told from a lost pivot of K_uu
    Device::sums(1, m, LogDiagonal<double>{b_.data(), m}, numbers_.device());
    numbers_.pull(1);
    Device::wait();
    log_det_ = numbers_.host()[0];
    return {};
  }

  // The coefficients of the mean, gamma and eta.
  void solve_mean(double noise, bool fitc) {
    const int64_t m = m_, d = data_.columns, p = data_.basis, columns = d + p, products = p * columns;
    double* gamma = gamma_.reserve(m * columns + 1);
    eta_.reserve(m * columns + 1);
    Device::copy(right_.data(), gamma, m * columns);
    Blas<double>::trsm('L', 'U', 'T', m, columns, 1.0, b_.data(), m, gamma, m);
    Blas<double>::trsm('L', 'U', 'N', m, columns, 1.0, b_.data(), m, gamma, m);
    to_eta(columns);
    numbers_.reserve(products + 1);
    Device::sums(products, m, ColumnProducts<double>{right_.data() + d * m, gamma, m, p}, numbers_.device());
    Device::sums(1, m * d, Product{right_.data(), gamma}, numbers_.device() + products);
    numbers_.pull(products + 1);
    Device::wait();
    std::vector<double> left(products);
    bool lost = false;
    for (int64_t k = 0; k < products; ++k) left[k] = totals_[3 + k] - numbers_.host()[k];
    for (int64_t k = 0; k < p; ++k) lost = lost || !(left[(d + k) * p + k] > kLost * totals_[3 + (d + k) * p + k]);
    reduced_square_ = totals_[3 + products] - numbers_.host()[products];
    if (lost) left = residual_products(noise, fitc);
    coef_ = least_squares(p, d, left, kSame ? 1e-12 : 1e-6);
    for (int64_t k = 0; k < p * d; ++k) reduced_square_ -= coef_[k] * left[k];
    if (p == 0) return;
    Device::upload(coef_.data(), coef_there_.reserve(p * d), p * d);
    Device::map(m * d, SubtractColumns<double>{gamma + d * m, gamma, m, p, coef_there_.data()});
    to_eta(d);
  }
  void to_eta(int64_t columns) {
    Device::copy(gamma_.data(), eta_.data(), m_ * columns);
    Blas<double>::trsm('L', 'U', 'N', m_, columns, 1.0, l_.data(), m_, eta_.data(), m_);
  }

  // Products of H with [Y H] after the solution, from residuals: where their difference would leave too few digits.
  std::vector<double> residual_products(double noise, bool fitc) {
    const int64_t m = m_, d = data_.columns, p = data_.basis, columns = d + p, products = p * columns;
    const bool solve = fitc || !direct_;
    const double* solution = (solve ? gamma_ : eta_).data();
    Device::map(m * columns, CastTo<double, A>{solution, eta_tile_.reserve(m * columns)});
    for (int64_t s = 0; s < lanes_; ++s) Device::zero(lane_[s]->totals.data(), products);
    each_tile([&](Lane& lane, const Tile& tile) {
      const int64_t count = tile.count;
      fill(lane, tile, noise, fitc, solve, false);
      A* fit = lane.fit.reserve(tile_ * columns);
      A* targets = lane.targets.data();
      Blas<A>::gemm('T', 'N', count, columns, m, A(1), lane.k.data(), m, eta_tile_.data(), m, A(0), fit, count);
      Device::map(count * columns, RootError<A>{targets, fit, count, lane.weight.data()});
      Device::sums(products, count, ColumnProducts<A>{targets + d * count, targets, count, p}, lane.totals.data(), true);
    });
    add_lanes(products, [](Lane& lane) { return lane.totals.data(); }, totals_there_.data());
    Device::sums(products, m, ColumnProducts<double>{gamma_.data() + d * m, gamma_.data(), m, p}, totals_there_.data(), true);
    std::vector<double> left(products);
    fetch(totals_there_.data(), products, left.data());
    return left;
  }

  // quad_ and the cotangents, down to theta, z and the noise (in lanes and in d_*_there_).
  void second_pass(double noise) {
    const int64_t m = m_, d = data_.columns, p = data_.basis, q = data_.q, parameters = uu_->kernel.tree().parameters;
    const bool fitc = data_.fitc, uniform = !data_.own_noise && !fitc, solve = fitc || !direct_;
    const double columns = static_cast<double>(d);
    double* inverse = inverse_.reserve(m * m);
    Device::copy(b_.data(), inverse, m * m);
    Blas<double>::potri('U', m, inverse, m);
    double* e = e_.reserve(m * m);
    Device::map(m * m, fitc ? Combine{inverse, gram_.data(), nullptr, m, 0.0, 1.0, 0.0, e}
                            : Combine{inverse, gram_.data(), nullptr, m, columns, -columns, 0.0, e});
    if (!solve) sandwich(e);
    Device::map(m * m, CastTo<double, A>{e, e_tile_.reserve(m * m)});
    Device::map(m * d, CastTo<double, A>{(solve ? gamma_ : eta_).data(), eta_tile_.reserve(m * d)});
    if (p == 0) coef_there_.reserve(1);
    for (int64_t s = 0; s < lanes_; ++s) {
      Lane& lane = *lane_[s];
      lane.zero_gradients(tile_, m, q, parameters);
      Device::zero(lane.totals.data(), 2);
      if (fitc) Device::zero(lane.gram.data(), m * m);
    }
    each_tile([&](Lane& lane, const Tile& tile) {
      const int64_t count = tile.count;
      auto gram = fill(lane, tile, noise, fitc, solve, false);
      const A* k = lane.k.data();
      A *w = lane.w.reserve(m * tile_), *fit = lane.fit.reserve(tile_ * (d + p)), *error = lane.error.reserve(tile_ * d);
      double *weight = lane.weight.data(), *square = lane.square.reserve(tile_), *by_noise = lane.by_noise.reserve(tile_);
      double* totals = lane.totals.data();
      const A* solution = eta_tile_.data();
      Blas<A>::gemm('T', 'N', count, d, m, A(1), k, m, solution, m, A(0), fit, count);
      Device::map(count, Residual<A>{lane.targets.data(), fit, count, d, p, coef_there_.data(), weight, error, square});
      Device::sums(1, count, Product{weight, square}, totals, true);
      const A alpha = static_cast<A>(uniform ? 1.0 / noise : 1.0);
      Blas<A>::gemm('N', 'N', m, count, m, alpha, e_tile_.data(), m, k, m, A(0), w, m);
      if (fitc) {
        A* turned = lane.turned.reserve(m * tile_);
        Device::map(count, FitcColumn<A>{k, w, turned, m, columns, weight, square, by_noise});
        if constexpr (kSame) {
          Blas<A>::gemm('N', 'T', m, m, count, 1.0, turned, m, k, m, 1.0, lane.gram.data(), m);
        } else {
          A* product = lane.product.reserve(m * m);
          Blas<A>::gemm('N', 'T', m, m, count, A(1), turned, m, k, m, A(0), product, m);
          Device::map(m * m, AddTo<A>{product, lane.gram.data()});
        }
      } else if (!uniform) {
        Device::map(count, VfeColumn<A>{k, w, m, lane.kernel.diagonal(tile.x, q), columns, weight, square, by_noise});
      }
      if (!uniform) Device::sums(1, count, Value{by_noise}, totals + 1, true);
      Blas<A>::gemm('N', 'T', m, count, d, A(1), solution, m, error, count, A(1), w, m);
      if (solve) Blas<A>::trsm('L', 'U', 'N', m, count, A(1), Base::l_tile(), m, w, m);
      double* diagonal = lane.diagonal.data();
      Device::map(count, fitc ? Scaled{by_noise, 1.0, diagonal} : Scaled{weight, -0.5 * columns, diagonal});
      Base::pull_covariances(lane, gram, tile.x, count, w);
    });
    inducing_cotangent();
    Base::pull_inducing(e_.data());
  }

  // The cotangent of K_uu in e_.
  void inducing_cotangent() {
    const int64_t m = m_, d = data_.columns;
    const double columns = static_cast<double>(d);
    double* e = e_.data();
    const double* square = nullptr;
    if (data_.fitc) {
      add_lanes(m * m, [](Lane& lane) { return lane.gram.data(); }, k_uu_.data());
      square = k_uu_.data();
    }
    Device::map(m * m, Combine{inverse_.data(), gram_.data(), square, m, 0.5 * columns, -0.5 * columns,
                               data_.fitc ? 0.0 : -0.5 * columns, e});
    sandwich(e);
    Blas<double>::gemm('N', 'T', m, m, d, -0.5, eta_.data(), m, eta_.data(), m, 1.0, e, m);
  }

  // All gradients to the host.
  void gather(double noise, double* d_theta, double* d_z, SgprResult* result) {
    const int64_t m = m_;
    Base::gather_gradients(d_theta, d_z);
    double* sum = Base::gathered_.data();
    double totals[4];
    add_lanes(2, [](Lane& lane) { return lane.totals.data(); }, sum);
    Device::sums(1, m * data_.columns, Square<double>{gamma_.data()}, sum + 2);
    Device::sums(1, m, DiagonalEntry<double>{inverse_.data(), m}, sum + 3);
    fetch(sum, 4, totals);
    quad_ = totals[0] + totals[2];
    result->d_noise = totals[1];
    if (!data_.own_noise && !data_.fitc) {  // all weights are equal: sum_i k_i . Sigma^-1 k_i is known
      const double d = static_cast<double>(data_.columns), weight = 1.0 / noise;
      const double inner = totals_[0] + static_cast<double>(m) - totals[3];
      result->d_noise = -0.5 * weight * (d * static_cast<double>(data_.n) - totals[0] - d * inner);
    }
  }

  static constexpr int64_t kLaneRows = 256;                   // at least so many for a lane
  static constexpr double kLost = kSame ? 1e-6 : 0.3;         // of a sum, where a difference has lost too much
  SgprData<X> data_;
  double log_det_ = 0, quad_ = 0, reduced_square_ = 0;
  std::vector<double> totals_, coef_;
  Scratch<A> e_tile_, eta_tile_;
  Scratch<double> shift_, centre_, scale_, middle_, gram_, b_, inverse_, e_, right_, gamma_, eta_, coef_there_, totals_there_;
};

}  // namespace lvm

// Gaussian process regression: the log marginal likelihood with all its gradients in one pass, and posterior means.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "algo/gp.hpp"
#include "algo/gram.hpp"
#include "algo/jitter.hpp"

namespace lvm {

struct GprResult {
  double value;
  double d_noise;
};

// value = max_B sum_c log N(y_c | H b_c, k(X, X) + noise I + diag(own_noise) + jitter I).
//
// Holds the data and the scratch memory, n^2 + n (columns + basis) numbers. Gradients are those at the best B, by the
// envelope theorem also those of the maximum.
template <class Device, class T>
class GprObjective {
 public:
  // x: (n, q) row-major; targets: (n, columns + basis) column-major, Y and then H; own_noise: (n,) or null.
  GprObjective(const T* x, int64_t n, int64_t q, const T* targets, int64_t columns, int64_t basis,
               const double* own_noise)
      : n_(n), q_(q), columns_(columns), basis_(basis), x_(x, x + n * q), own_noise_(n, 0.0) {
    std::copy_n(targets, n * (columns + basis), targets_.reserve(std::max<int64_t>(n * (columns + basis), 1)));
    if (own_noise) std::copy_n(own_noise, n, own_noise_.begin());
  }

  // d_theta: (parameters,), overwritten. jitter: absolute, where to start; afterwards what was needed.
  Status evaluate(Kernel<Device, T>& kernel, double noise, const JitterPolicy& policy, double& jitter,
                  GprResult* result, double* d_theta) {
    *result = {};
    const PointPair<Device, T> pair(kernel, x_.data(), n_, static_cast<const T*>(nullptr), 0, q_);
    auto gram = pair.gram();
    T* k = k_.reserve(n_ * n_);
    T* a = a_.reserve(n_ * (columns_ + basis_));
    double diagonal = 0;
    for (int64_t i = 0; i < n_; ++i) diagonal += kernel.diagonal(x_.data() + i * q_) + noise + own_noise_[i];
    const Status status = escalate_jitter(policy, diagonal / static_cast<double>(n_), jitter, [&](double extra) {
      gram.values(k, n_, true, nullptr);
      for (int64_t i = 0; i < n_; ++i) {
        T& entry = k[i * n_ + i];
        entry = static_cast<T>(static_cast<double>(entry) + noise + own_noise_[i] + extra);
      }
      return gp_log_density<Device>(n_, columns_, static_cast<double>(columns_), k, targets_.data(), a, &result->value,
                                    basis_);
    });
    if (!status) return status;
    std::vector<typename Device::LeafSums> sums;
    gram.pullback(gram.cotangent_of(k, n_, Cotangent::symmetric_lower), true, sums);
    d_x_.resize(n_ * q_);
    pair.finish(sums, d_x_.data(), nullptr, d_theta);
    for (int64_t i = 0; i < n_; ++i) result->d_noise += static_cast<double>(k[i * n_ + i]);
    return {};
  }

 private:
  int64_t n_, q_, columns_, basis_;
  std::vector<T> x_;
  std::vector<double> own_noise_, d_x_;
  typename Device::template Scratch<T> targets_, k_, a_;
};

// k(x, X) and mean(x) = k(x, X) A for a fixed kernel, X and A: what does not change from call to call is kept.
template <class Device>
class GprPredictor {
 public:
  // x: (n, q) row-major; a: (n, columns) row-major.
  GprPredictor(const KernelTree& tree, const double* theta, const double* x, int64_t n, int64_t q, const double* a,
               int64_t columns)
      : n_(n), q_(q), columns_(columns), kernel_(tree, theta), centre_(column_centres(x, n, q)) {
    kernel_.assign(points_, x, n, q, nullptr, centre_.data());
    to_blocks(a, n, columns, a_);
  }

  int64_t rows() const { return n_; }
  int64_t inputs() const { return q_; }
  int64_t columns() const { return columns_; }

  // out: (m, columns) row-major.
  void mean(const double* x, int64_t m, double* out) const {
    with_gram(x, m, [&](const auto& gram) {
      typename Device::template PointBlocks<double> sums;
      sums.resize(m, columns_, 0);
      gram.products(a_, nullptr, sums, nullptr);
      from_blocks(sums, out);
    });
  }

  // out: (m, n) row-major.
  void cross(const double* x, int64_t m, double* out) const {
    with_gram(x, m, [&](const auto& gram) { gram.values(out, n_, false, nullptr); });
  }

 private:
  template <class F>
  void with_gram(const double* x, int64_t m, const F& f) const {
    Kernel<Device, double> kernel(kernel_.tree(), kernel_.theta());  // its choice of distances is the call's own
    typename Device::template KernelPoints<double> rows;
    kernel.assign(rows, x, m, q_, nullptr, centre_.data());
    kernel.choose_distances(rows, points_);
    f(typename Device::template Gram<double>(kernel.prepared(), rows, points_, m, n_, false));
  }

  int64_t n_, q_, columns_;
  Kernel<Device, double> kernel_;
  std::vector<double> centre_;
  typename Device::template KernelPoints<double> points_;
  typename Device::template PointBlocks<double> a_;
};

}  // namespace lvm

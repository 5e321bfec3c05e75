// Gaussian process regression: the log marginal likelihood with all its gradients in one pass, and posterior means.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "algo/gp_outcome.hpp"
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
  // All of it on the host. x: (n, q) row-major; targets: (n, columns + basis) column-major, Y and then H; own_noise: (n,)
  // or null.
  GprObjective(const T* x, int64_t n, int64_t q, const T* targets, int64_t columns, int64_t basis,
               const double* own_noise)
      : n_(n), q_(q), columns_(columns), basis_(basis), own_(n, 0.0) {
    Device::upload(x, x_.reserve(n * q + 1), n * q);
    Device::upload(targets, targets_.reserve(n * (columns + basis) + 1), n * (columns + basis));
    if (own_noise) std::copy_n(own_noise, n, own_.begin());
    Device::upload(own_.data(), own_noise_.reserve(n + 1), n);
  }

  // theta: (parameters,) on the host; d_theta: likewise, overwritten. jitter: absolute, where to start; afterwards what was
  // needed.
  Status evaluate(const KernelTree& tree, const double* theta, double noise, const JitterPolicy& policy, double& jitter,
                  GprResult* result, double* d_theta) {
    *result = {};
    const bool done = std::exchange(done_, false);
    const bool again = KernelOfPoints<Device, T>::keep(kernel_, tree) && done && n_ <= kReplayRows;
    const int64_t parameters = tree.parameters;
    outcome_.reserve(parameters, 0);
    inputs_.reserve(parameters + 2);
    const auto attempt = [&](double extra) -> Status {
      double* numbers = inputs_.host();
      numbers[0] = noise, numbers[1] = extra;
      std::copy_n(theta, parameters, numbers + 2);
      recorder_.run(again, [&] {
        inputs_.push(parameters + 2);
        kernel_->kernel.set(inputs_.device() + 2);
        enqueue();
      });
      return outcome_.status(n_, static_cast<double>(columns_));
    };
    const auto mean = [&] {
      double own = 0;
      for (double v : own_) own += v;
      return noise + (outcome_.host_diagonal() + own) / static_cast<double>(n_);
    };
    const Status status = escalate_jitter(policy, mean, jitter, attempt);
    if (!status) return status;
    done_ = true;
    std::copy_n(outcome_.host_d_theta(), parameters, d_theta);
    *result = {outcome_.value(n_, static_cast<double>(columns_)), outcome_.host_d_noise()};
    return {};
  }

 private:
  void enqueue() {
    auto& [kernel, pair] = *kernel_;
    pair.assign(x_.data(), n_, nullptr, nullptr, 0, q_);
    auto gram = pair.gram();
    T* k = k_.reserve(n_ * n_);
    T* a = a_.reserve(n_ * (columns_ + basis_));
    gram.values(k, n_, true, nullptr);
    Device::sums(1, n_, kernel.diagonal(x_.data(), q_), outcome_.diagonal());
    Device::map(n_, AddNoise<T>{k, n_, inputs_.device(), own_noise_.data()});
    gp_log_density<Device>(n_, columns_, static_cast<double>(columns_), k, targets_.data(), a, outcome_.terms(),
                           outcome_.failure(), scratch_, basis_);
    if (!(Device::kImmediate && *outcome_.failure())) {
      gram.pullback(gram.cotangent_of(k, n_, Cotangent::symmetric_lower), true, sums_);
      pair.finish(sums_, d_x_.reserve(n_ * q_ + 1), nullptr, outcome_.d_theta());
      Device::sums(1, n_, DiagonalEntry<T>{k, n_}, outcome_.d_noise());
    }
    outcome_.send();
  }

  int64_t n_, q_, columns_, basis_;
  bool done_ = false;  // in the last evaluation: then all memory has its size
  std::unique_ptr<KernelOfPoints<Device, T>> kernel_;
  std::vector<double> own_;
  GpOutcome<Device> outcome_;
  typename Device::template Shared<double> inputs_;  // noise, jitter, theta
  typename Device::template Scratch<T> x_, targets_, k_, a_;
  typename Device::template Scratch<double> own_noise_, d_x_, scratch_;
  std::vector<typename Device::LeafSums> sums_;
  typename Device::Recorder recorder_;
};

// k(x, X) and mean(x) = k(x, X) A for a fixed kernel, X and A: what does not change from call to call is kept.
template <class Device>
class GprPredictor {
 public:
  // x: (n, q) row-major; a: (n, columns) row-major; both on the device.
  GprPredictor(const KernelTree& tree, const double* theta, const double* x, int64_t n, int64_t q, const double* a,
               int64_t columns)
      : n_(n), q_(q), columns_(columns), theta_(theta, theta + tree.parameters), kernel_(tree, theta) {
    Device::column_centres(x, n, q, centre_.reserve(q + 1));
    kernel_.assign(points_, x, n, q, nullptr, centre_.data());
    to_points<Device>(a, n, columns, a_);
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
      from_points<Device>(sums, out);
    });
  }

  // out: (m, n) row-major.
  void cross(const double* x, int64_t m, double* out) const {
    with_gram(x, m, [&](const auto& gram) { gram.values(out, n_, false, nullptr); });
  }

 private:
  template <class F>
  void with_gram(const double* x, int64_t m, const F& f) const {
    Kernel<Device, double> kernel(kernel_.tree(), theta_.data());  // its choice of distances is the call's own
    typename Device::template KernelPoints<double> rows;
    kernel.assign(rows, x, m, q_, nullptr, centre_.data());
    kernel.choose_distances(rows, points_);
    f(typename Device::template Gram<double>(kernel.prepared(), rows, points_, m, n_, false));
  }

  int64_t n_, q_, columns_;
  std::vector<double> theta_;
  Kernel<Device, double> kernel_;
  typename Device::template Scratch<double> centre_;
  typename Device::template KernelPoints<double> points_;
  typename Device::template PointBlocks<double> a_;
};

}  // namespace lvm

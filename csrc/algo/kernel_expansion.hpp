// Functions that are sums over the same points, f_r(x) = b_0 + b^T x + sum_i A[r, i] k(x, p_i): values and gradients at many
// x at once, each with a row r of its own, and their minima within a box. Float64 only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "algo/gram.hpp"
#include "algo/row_bfgs.hpp"
#include "device/cotangent.hpp"

namespace lvm {

// For x_b: its value, from k (count, points) between the x and the points; and the linear part of its gradient.
struct ExpansionTerms {
  const double* k;
  int64_t points;
  const double* weights;  // (.., points)
  const int64_t* which;   // row of the weights of each x
  const double* x;        // (count, d)
  int64_t d;
  const double* mean;  // (1 + d,): b_0, b
  double *value, *gradient;

  LVM_HD void operator()(int64_t b) const {
    const double *row = k + b * points, *w = weights + which[b] * points;
    double lane[4] = {};  // one would wait for itself
    int64_t i = 0;
    for (; i + 4 <= points; i += 4) {
      for (int c = 0; c < 4; ++c) lane[c] += row[i + c] * w[i + c];
    }
    for (; i < points; ++i) lane[0] += row[i] * w[i];
    double total = mean[0] + ((lane[0] + lane[1]) + (lane[2] + lane[3]));
    for (int64_t f = 0; f < d; ++f) {
      total += mean[1 + f] * x[b * d + f];
      gradient[b * d + f] = mean[1 + f];
    }
    value[b] = total;
  }
};

// to (count, columns) = rows which[..] of from (.., columns).
struct GatherRows {
  const double* from;
  int64_t columns;
  const int64_t* which;
  double* to;
  LVM_HD void operator()(int64_t at) const { to[at] = from[which[at / columns] * columns + at % columns]; }
};

template <class Device>
class KernelExpansion {
 public:
  using Scratch = typename Device::template Scratch<double>;
  using Points = typename Device::template KernelPoints<double>;
  template <class U>
  using Shared = typename Device::template Shared<U>;

  // On the host: theta; mean (1 + d,), b_0 and b; lower, upper and scale (d,), the scale being about how far a first step of
  // a search may go. centre (d,), on the device, is any point near the others. All are kept by the caller.
  KernelExpansion(const KernelTree& tree, const double* theta, int64_t d, const double* mean, const double* lower,
                  const double* upper, const double* scale, const double* centre)
      : d_(d), lower_(lower), upper_(upper), scale_(scale), centre_(centre), kernel_(tree, theta) {
    Device::upload(mean, mean_.reserve(1 + d), 1 + d);
    unused_.reserve(tree.parameters + 1);
  }

  Kernel<Device, double>& kernel() { return kernel_; }

  // The points and weights of what follows, on the device: points (count, d), weights (.., count).
  void assign(const double* points, int64_t count, const double* weights) {
    count_ = count;
    weights_ = weights;
    kernel_.assign(points_, points, count, d_, nullptr, centre_);
  }
  void set_weights(const double* weights) { weights_ = weights; }

  // out (count, points) = k(x, points), x (count, d), all on the device.
  void cross(const double* x, int64_t count, double* out) { gram_at(x, count).values(out, count_, false, nullptr); }

  // d_x (count, d) += the pull-back of cotangent (count, points) through k(x, points); all on the device.
  void pull(const double* x, int64_t count, const double* cotangent, double* d_x) {
    auto gram = gram_at(x, count);
    pull(gram, x, count, cotangent, d_x);
  }

  // All on the host: value (count,) and gradient (count, d) of f_which[b] at x[b].
  void evaluate(int64_t count, const int64_t* which, const double* x, double* value, double* gradient) {
    if (count == 0) return;
    std::copy_n(x, count * d_, x_.reserve(count * d_));
    x_.push(count * d_);
    std::copy_n(which, count, which_.reserve(count));
    which_.push(count);
    out_.reserve(count * (1 + d_));
    double *d_value = out_.device(), *d_gradient = d_value + count;
    auto gram = gram_at(x_.device(), count);
    double* k = k_.reserve(count * count_);
    gram.values(k, count_, false, nullptr);
    Device::map(count, ExpansionTerms{k, count_, weights_, which_.device(), x_.device(), d_, mean_.data(), d_value, d_gradient},
                kRowsAtATime);
    Device::map(count * count_, GatherRows{weights_, count_, which_.device(), k});
    pull(gram, x_.device(), count, k, d_gradient);
    out_.pull(count * (1 + d_));
    Device::wait();
    std::copy_n(out_.host(), count, value);
    std::copy_n(out_.host() + count, count * d_, gradient);
  }

  // All on the host. From starts (count, d) to a minimum of each row's function within the box. Outputs: x (count, d), value
  // (count,).
  void minimise(int64_t count, const int64_t* which, const double* starts, const BfgsOptions& options, double* x,
                double* value) {
    search_.begin(count, starts, scale_, d_, lower_, upper_);
    const auto at = [&](int64_t left, const int64_t* active, const double* trial, double* f, double* gradient) {
      rows_.resize(left);
      for (int64_t b = 0; b < left; ++b) rows_[b] = which[active[b]];
      evaluate(left, rows_.data(), trial, f, gradient);
    };
    search_.run(at, [&](int64_t) -> const BfgsOptions& { return options; });
    for (int64_t i = 0; i < count; ++i) {
      std::copy_n(search_.row(i).x(), d_, x + i * d_);
      value[i] = search_.row(i).value();
    }
  }

 private:
  static constexpr int64_t kRowsAtATime = 8;
  using Gram = typename Device::template Gram<double>;

  Gram gram_at(const double* x, int64_t count) {
    kernel_.assign(at_, x, count, d_, nullptr, centre_);
    kernel_.choose_distances(at_, points_);
    return Gram(kernel_.prepared(), at_, points_, count, count_, false);
  }
  void pull(Gram& gram, const double* x, int64_t count, const double* cotangent, double* d_x) {
    gram.pullback(gram.cotangent_of(cotangent, count_, Cotangent::direct), false, sums_);
    kernel_.finish(sums_, at_, x, count, nullptr, points_, nullptr, 0, d_, centre_, d_x, nullptr, unused_.data());
  }

  int64_t d_, count_ = 0;
  const double *lower_, *upper_, *scale_, *centre_, *weights_ = nullptr;
  Kernel<Device, double> kernel_;
  Points points_, at_;
  std::vector<typename Device::LeafSums> sums_;
  Scratch mean_, unused_, k_;
  Shared<double> x_, out_;
  Shared<int64_t> which_;
  RowSearches search_;
  std::vector<int64_t> rows_;
};

}  // namespace lvm

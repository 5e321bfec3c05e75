// The variational bound of Gaussian process classification, and probabilities of a Gaussian latent variable.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "algo/gp_gibbs.hpp"
#include "algo/gram.hpp"
#include "algo/triangular.hpp"

namespace lvm {

// E sigma(m + s z), z standard normal, to 1e-10.
//
// s <= 4: the trapezoidal rule for z in [-6.8, 6.8]. Its error is that of the normal density, 2 exp(-2 pi^2 / h^2), and of
// the poles of sigma at distance pi / s, sqrt(2 pi) / s exp(pi^2 / (2 s^2) - 2 pi^2 / (s h)). Beyond: E Phi((m - l) / s) over
// a logistic variable l, likewise; its density has the Fourier transform pi w / sinh(pi w).
LVM_HD double expected_sigmoid(double m, double s) {
  if (s <= 4.0) {
    const double h = s > 0.6 / 0.7 ? 0.6 / s : 0.7;
    const int most = static_cast<int>(6.8 / h);
    double value = 0.0;
    for (int i = -most; i <= most; ++i) {
      const double z = h * i;
      value += exp_(-0.5 * z * z) / (1.0 + exp_(-(m + s * z)));
    }
    return value * h * 0.39894228040143267794;
  }
  constexpr double kStep = 0.7;
  double value = 0.0;
  for (int i = -40; i <= 40; ++i) {
    const double l = kStep * i, e = exp_(l > 0 ? -l : l);
    value += e / ((1.0 + e) * (1.0 + e)) * 0.5 * ::erfc((l - m) / s * 0.70710678118654752440);
  }
  return value * kStep;
}

template <class T>
struct ExpectedSigmoid {  // of out[i]: mean[i], variance[i % period]
  const T *mean, *variance;
  int64_t period;
  T* out;
  LVM_HD void operator()(int64_t i) const {
    const double v = static_cast<double>(variance[i % period]);
    out[i] = static_cast<T>(expected_sigmoid(static_cast<double>(mean[i]), v > 0 ? sqrt_(v) : 0.0));
  }
};

// 1 / theta(c) = 2 c / tanh(c / 2), theta the mean of PG(1, c).
LVM_HD double inverse_mean(double c) {
  if (c < 1e-3) return 4.0 / (1.0 - c * c / 12.0 * (1.0 - c * c / 10.0));
  return 2.0 * c * (1.0 + exp_(-c)) / -expm1_(-c);
}

// The bound at c is log N(kappa / theta | m, C) + sum_i of this, C = K + diag(1 / theta):
// log(2 pi / theta) / 2 + kappa^2 / (2 theta) + log sigma(c) - c / 2 + theta c^2 / 2.
template <class T>
struct LocalTerm {
  const double* c;
  const T* kappa;
  LVM_HD double operator()(int64_t, int64_t i) const {
    const double v = inverse_mean(c[i]), k = static_cast<double>(kappa[i]);
    return 0.5 * (1.8378770664093454836 + log_(v) + k * k * v - c[i] + c[i] * c[i] / v) - log1p_(exp_(-c[i]));
  }
};
template <class T>
struct PseudoTarget {  // kappa / theta - m
  const double* c;
  const T* kappa;
  double mean;
  T* out;
  LVM_HD void operator()(int64_t i) const {
    out[i] = static_cast<T>(static_cast<double>(kappa[i]) * inverse_mean(c[i]) - mean);
  }
};
template <class T>
struct AddPseudoNoise {
  const double* c;
  T* a;
  int64_t stride;
  LVM_HD void operator()(int64_t i) const {
    T& entry = a[i * (stride + 1)];
    entry = static_cast<T>(static_cast<double>(entry) + inverse_mean(c[i]));
  }
};
// c^2 = E f^2 with v = 1 / theta: mean v (kappa - alpha), variance v (1 - v [C^-1]_ii).
template <class T>
struct NextC {
  const double* c;
  const T *kappa, *alpha, *inverse;  // the diagonal of C^-1 at steps of stride + 1
  int64_t stride;
  double* next;
  LVM_HD void operator()(int64_t i) const {
    const double v = inverse_mean(c[i]);
    const double mean = v * (static_cast<double>(kappa[i]) - static_cast<double>(alpha[i]));
    const double variance = v * (1.0 - v * static_cast<double>(inverse[i * (stride + 1)]));
    next[i] = sqrt_(mean * mean + (variance > 0 ? variance : 0.0));
  }
};

// diagonal_i = sum_(k >= i) u_ik^2 of a column-major upper triangle: of u u^T. For a block of rows.
template <class T>
struct SquaredRows {
  const T* u;
  T* diagonal;
  int64_t n;
  LVM_HD void operator()(int64_t block) const {
    const int64_t first = block * kInverseBlock, end = first + kInverseBlock < n ? first + kInverseBlock : n;
    double sums[kInverseBlock] = {};
    for (int64_t k = first; k < n; ++k) {
      for (int64_t i = first; i < (k + 1 < end ? k + 1 : end); ++i) {
        const double x = static_cast<double>(u[k * n + i]);
        sums[i - first] += x * x;
      }
    }
    for (int64_t i = first; i < end; ++i) diagonal[i] = static_cast<T>(sums[i - first]);
  }
};

// The bound of T. Jaakkola, M. Jordan (Statistics and Computing 10, 2000, eq. 9), also that of Polya-gamma variables
// (F. Wenzel et al., AAAI 2019, section 3): with y in {-1, 1}
//
//   log sigma(y f) >= log sigma(c) + (y f - c) / 2 - theta(c) (f^2 - c^2) / 2,   theta(c) = tanh(c / 2) / (2 c),
//
// under which f is a Gaussian process observed at kappa / theta, kappa = y / 2, with noise variances 1 / theta >= 4. The best
// c is sqrt(E f^2) under its posterior: every iteration raises the bound.
template <class Device, class T>
class GpVariational {
 public:
  // On the host: x (n, q) row-major, kappa (n,).
  GpVariational(const T* x, int64_t n, int64_t q, const T* kappa, double mean) : n_(n), q_(q), mean_(mean) {
    Device::upload(x, x_.reserve(n * q + 1), n * q);
    Device::upload(kappa, kappa_.reserve(n + 1), n);
  }

  int64_t rows() const { return n_; }

  // The bound at c; next: c^2 = E f^2 under the posterior at c; d_theta: d value / d theta with c held, or null. All on the
  // host: theta (parameters,), c and next (n,), d_theta (parameters,). What was last evaluated is not evaluated again.
  Status evaluate(const KernelTree& tree, const double* theta, const double* c, double* next, double* value, double* d_theta) {
    const bool same = prepare(tree, theta) && done_ && std::equal(c, c + n_, c_.host());
    if (!same) {
      done_ = false;
      std::copy_n(c, n_, c_.reserve(n_));
      next_.reserve(n_);
      c_.push(n_);
      const Status status = step(c_.device(), next_.device());
      if (!status) return status;
      done_ = true;
    }
    std::copy_n(next_.host(), n_, next);
    *value = value_;
    if (d_theta) gradient(tree, d_theta);
    return {};
  }

 private:
  using Blas = typename Device::template Blas<T>;

  // K at theta, in k_. True if it was there.
  bool prepare(const KernelTree& tree, const double* theta) {
    const std::vector<double> given(theta, theta + tree.parameters);
    if (KernelOfPoints<Device, T>::keep(kernel_, tree) && given == theta_) return true;
    theta_.clear();
    double* numbers = inputs_.reserve(tree.parameters + 1);
    std::copy(given.begin(), given.end(), numbers);
    inputs_.push(tree.parameters);
    auto& [kernel, pair] = *kernel_;
    kernel.set(inputs_.device());
    pair.assign(x_.data(), n_, nullptr, nullptr, 0, q_);
    pair.gram().values(k_.reserve(n_ * n_), n_, true, nullptr);
    theta_ = given;
    return false;
  }

  // The factor of C at c in work_.
  void factorise(const double* c, int* failure) {
    T* work = work_.reserve(n_ * n_);
    Device::copy(k_.data(), work, n_ * n_);
    Device::map(n_, AddPseudoNoise<T>{c, work, n_});
    Device::potrf('U', n_, work, n_, failure);
    Device::note_first(n_, NotPositive<T>{work, n_}, failure);
  }

  // value_ at c, and the next c; leaves alpha in a_ and, on the GPU, the lower triangle of C^-1 in work_.
  Status step(const double* c, double* next) {
    T* a = a_.reserve(n_);
    numbers_.reserve(4);
    int* failure = failure_.reserve(1);
    double* numbers = numbers_.device();
    factorise(c, failure);
    T* work = work_.data();
    Device::map(n_, PseudoTarget<T>{c, kappa_.data(), mean_, a});
    if (Device::kImmediate && *failure) return {Code::not_positive_definite, *failure - 1};
    Device::sums(1, n_, LogDiagonal<T>{work, n_}, numbers + 1);
    Blas::trsm('L', 'U', 'T', n_, 1, T(1), work, n_, a, n_);
    Device::sums(1, n_, Square<T>{a}, numbers + 2);
    Blas::trsm('L', 'U', 'N', n_, 1, T(1), work, n_, a, n_);
    if constexpr (Device::kImmediate) {  // only the diagonal of C^-1: half of potri
      T* diagonal = diagonal_.reserve(n_ + kInverseBlock * kInverseBlock);
      invert_upper<Blas>(n_, work, n_, diagonal + n_);
      Device::map((n_ + kInverseBlock - 1) / kInverseBlock, SquaredRows<T>{work, diagonal, n_}, 1);
      Device::map(n_, NextC<T>{c, kappa_.data(), a, diagonal, 0, next});
    } else {
      Blas::potri('U', n_, work, n_);
      Device::map(n_, NextC<T>{c, kappa_.data(), a, work, n_, next});
    }
    Device::sums(1, n_, LocalTerm<T>{c, kappa_.data()}, numbers + 3);
    Device::map(1, StoreFailure{failure, numbers});
    numbers_.pull(4);
    next_.pull(n_);
    Device::wait();
    const double* found = numbers_.host();
    if (found[0] > 0) return {Code::not_positive_definite, static_cast<int64_t>(found[0]) - 1};
    value_ = DensityTerms{found[1], found[2]}.value(n_, 1.0) + found[3];
    if (!(value_ - value_ == 0.0)) return {Code::non_finite, -1};
    return {};
  }

  // d value / d K = (alpha alpha^T - C^-1) / 2, pulled back to the parameters; c stands at its best, or is held.
  void gradient(const KernelTree& tree, double* d_theta) {
    auto& pair = kernel_->pair;
    done_ = false;  // C^-1 makes room
    if constexpr (Device::kImmediate) {
      factorise(c_.device(), failure_.data());
      Blas::potri('U', n_, work_.data(), n_);
    }
    Blas::syrk('U', 'N', n_, 1, T(0.5), a_.data(), n_, T(-0.5), work_.data(), n_);
    auto gram = pair.gram();
    gram.pullback(gram.cotangent_of(work_.data(), n_, Cotangent::symmetric_lower), true, sums_);
    double* to = d_theta_.reserve(tree.parameters + 1);
    pair.finish(sums_, d_x_.reserve(n_ * q_ + 1), nullptr, d_theta_.device());
    d_theta_.pull(tree.parameters);
    Device::wait();
    std::copy_n(to, tree.parameters, d_theta);
  }

  int64_t n_, q_;
  double mean_, value_ = 0;
  bool done_ = false;  // value_, c_, a_ and work_ belong to theta_ and c_
  std::unique_ptr<KernelOfPoints<Device, T>> kernel_;
  std::vector<double> theta_;
  typename Device::template Scratch<T> x_, kappa_, k_, work_, a_, diagonal_;
  typename Device::template Scratch<double> d_x_;
  typename Device::template Scratch<int> failure_;
  typename Device::template Shared<double> c_, next_, inputs_, numbers_, d_theta_;
  std::vector<typename Device::LeafSums> sums_;
};

}  // namespace lvm

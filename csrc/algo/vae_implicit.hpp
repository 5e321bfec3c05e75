// A posterior that can be drawn from but has no density: z = f(x, eps), f the encoder of rows [x, eps], eps standard normal.
//
//   KL(q(z | x) || p(z)) = E T*(x, z),   T* = log q(z | x) - log p(z) = argmin of
//   E_{z ~ q(z | x)} softplus(-T(x, z)) + E_{z ~ p} softplus(T(x, z)),
//
// T a network of rows [x, z]. The slope of E_q T* by what T* depends on is 0, so that codes move as if T were given.
// Mescheder, Nowozin & Geiger (2017), eq. 3.3 and 3.7, propositions 1 and 2, algorithm 1.
//
// Noise of a code: that of the encoder, then a code of the prior. Work besides the encoder's: 2 L forward passes of T for each
// row of the data, their pull-back to its parameters, that of L of them to its input.
#pragma once

#include <cstdint>
#include <vector>

#include "algo/network.hpp"
#include "core/vae_implicit.hpp"
#include "device/vae_rows.hpp"

namespace lvm {

template <class Device, class T>
class ImplicitPosterior {
 public:
  ImplicitPosterior(const std::vector<LayerShape>& ratio, int64_t features, int64_t noise, int64_t size)
      : ratio_(ratio), features_(features), noise_(noise), size_(size) {}

  const Network<Device, T>& ratio() const { return ratio_; }
  int64_t noise_size() const { return noise_ + size_; }

  // [x_i, eps_il], what the encoder takes.
  const T* encoder_rows(const T* x, const T* eps, int64_t n, int64_t samples) {
    T* rows = encoder_rows_.reserve(n * samples * (features_ + noise_));
    VaeRows<Device, T>::join(x, features_, samples, eps, noise_size(), noise_, n * samples, rows);
    return rows;
  }

  // T at codes z of rows x, and at those of the prior; kl (n,) receives the divergences.
  void forward(const T* theta, const T* x, const T* z, const T* eps, int64_t n, int64_t samples, double* kl) {
    const int64_t rows = n * samples, width = features_ + size_;
    samples_ = samples;
    rows_ = rows;
    T* joined = ratio_rows_.reserve(2 * rows * width);
    VaeRows<Device, T>::join(x, features_, samples, z, size_, size_, rows, joined);
    VaeRows<Device, T>::join(x, features_, samples, eps + noise_, noise_size(), size_, rows, joined + rows * width);
    ratio_.forward(theta, joined, 2 * rows);
    Device::map(n, ImplicitDivergence<T>{ratio_.output(0), kl, samples}, kFew);
  }
  void losses(double* terms) {
    Device::map(rows_ / samples_, RatioLossOfRow<T>{ratio_.output(0), terms, samples_, rows_}, kFew);
  }
  // d_z += the slope of beta times the mean divergence.
  void pull(const T* theta, const double* numbers, T* d_z) {
    T *d = slopes_.reserve(2 * rows_), *d_rows = d_rows_.reserve(rows_ * (features_ + size_));
    Device::map(rows_, DivergenceSlope<T>{numbers, d, rows_});
    ratio_.backward(theta, &d, nullptr, d_rows, rows_);
    Device::map(rows_ * size_, AddCodeSlope<T>{d_rows, d_z, features_, size_});
  }
  // Of the mean loss of T.
  void gradient(const T* theta, T* d_theta) {
    T* d = slopes_.reserve(2 * rows_);
    Device::map(2 * rows_, RatioSlope<T>{ratio_.output(0), d, rows_});
    ratio_.backward(theta, &d, d_theta, nullptr);
  }

 private:
  template <class U>
  using Scratch = typename Device::template Scratch<U>;
  static constexpr int64_t kFew = 64;

  Network<Device, T> ratio_;
  int64_t features_, noise_, size_, samples_ = 1, rows_ = 0;
  Scratch<T> encoder_rows_, ratio_rows_, slopes_, d_rows_;
};

}  // namespace lvm

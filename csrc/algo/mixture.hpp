// Mixtures of spherical normal distributions with given centres: log densities, shares of the centres, and the pull-back.
//
//   d log p_i / d x_i = -sum_k r_ik (x_i - f_k),  d / d f_k = r_ik (x_i - f_k),  d / d log_weights_k = r_ik,
//   r_ik = exp(l_ik - log p_i); l_ik in core/mixture.hpp.
//
// Up to kMixtureFeatures features nothing of the size (points, centres) exists on the CPU; beyond, and for gradients on the
// GPU, it is one tile, filled by a matrix product.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/mixture.hpp"

namespace lvm {

template <class Device, class T>
struct MixtureRows;  // device/cpu_mixture.hpp, device/cuda_mixture.hpp

template <class T>
struct PlaceCentre {
  int64_t d, m, stride;
  const T *centres, *log_weights;
  T *to, *to_log_weights, *squares;
  LVM_HD void operator()(int64_t k) const {
    double sum = 0;
    for (int64_t j = 0; j < d; ++j) {
      const T f = k < m ? centres[k * d + j] : T(0);
      to[j * stride + k] = f;
      sum += static_cast<double>(f) * static_cast<double>(f);
    }
    squares[k] = static_cast<T>(0.5 * sum);
    to_log_weights[k] = k < m ? log_weights[k] : -T(INFINITY);
  }
};

// A tile's sums over its points: of the weights, and from products w^T x of weights times x_i - f_k.
template <class T>
struct AddWeights {
  int64_t n, stride;
  const T* weights;
  double* sums;
  LVM_HD void operator()(int64_t k) const {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(weights[i * stride + k]);
    sums[k] += sum;
  }
};
template <class T>
struct AddProducts {
  const T* products;
  double* sums;
  LVM_HD void operator()(int64_t at) const { sums[at] += static_cast<double>(products[at]); }
};
template <class T>
struct LessCentre {
  int64_t stride;
  const T* centres;
  const double* weights;
  double* sums;
  LVM_HD void operator()(int64_t at) const { sums[at] -= weights[at % stride] * static_cast<double>(centres[at]); }
};
// d_x = w f - x sum w, of which w f is there.
template <class T>
struct FinishPoint {
  int64_t d, m, stride;
  const T *x, *weights;
  T* d_x;
  LVM_HD void operator()(int64_t i) const {
    double sum = 0;
    for (int64_t k = 0; k < m; ++k) sum += static_cast<double>(weights[i * stride + k]);
    for (int64_t j = 0; j < d; ++j) d_x[i * d + j] -= static_cast<T>(sum) * x[i * d + j];
  }
};
template <class T>
struct MixtureGradientOf {
  int64_t d, stride;
  const double* sums;
  T *d_centres, *d_log_weights;
  LVM_HD void operator()(int64_t k) const {
    for (int64_t j = 0; j < d; ++j) d_centres[k * d + j] = static_cast<T>(sums[j * stride + k]);
    d_log_weights[k] = static_cast<T>(sums[d * stride + k]);
  }
};

template <class Device, class T>
class Mixture {
 public:
  // centres (m, d), log_weights (m,).
  Mixture(int64_t m, int64_t d, const T* centres, const T* log_weights) : m_(m), d_(d), stride_((m + kPad - 1) / kPad * kPad) {
    T *to = centres_.reserve(d * stride_), *to_weights = log_weights_.reserve(stride_), *squares = squares_.reserve(stride_);
    Device::map(stride_, PlaceCentre<T>{d, m, stride_, centres, log_weights, to, to_weights, squares});
  }

  void log_density(int64_t n, const T* x, T* log_p) {
    if (few()) return Rows::run(task(x, nullptr), {log_p, nullptr, nullptr, 0}, n);
    for_tiles(n, x, [&](const MixtureTask<T>& tile, int64_t first, int64_t count) {
      Rows::run(tile, {log_p + first, nullptr, nullptr, 0}, count);
    });
  }

  // weights (n, m), rows of sum 1 (of zeros where log_p is -inf).
  void shares(int64_t n, const T* x, T* log_p, T* weights) {
    if (few()) return Rows::run(task(x, nullptr), {log_p, nullptr, weights, m_}, n);
    for_tiles(n, x, [&](const MixtureTask<T>& tile, int64_t first, int64_t count) {
      Rows::run(tile, {log_p + first, nullptr, weights + first * m_, m_}, count);
    });
  }

  // Gradients of sum_i cotangent_i log p_i; d_x (n, d) may be null.
  void pull(int64_t n, const T* x, const T* cotangent, T* log_p, T* d_x, T* d_centres, T* d_log_weights) {
    double* sums = sums_.reserve((d_ + 1) * stride_);
    if constexpr (Rows::kFused) {
      if (few()) {
        Rows::pull(task(x, nullptr), {log_p, cotangent, nullptr, 0}, n, d_x, sums);
        return finish(d_centres, d_log_weights);
      }
    }
    Device::zero(sums, (d_ + 1) * stride_);
    T* outer = outer_.reserve(d_ * stride_);
    for_tiles(n, x, [&](MixtureTask<T> tile, int64_t first, int64_t count) {
      T* weights = tile.products;
      if (few()) tile.products = nullptr;
      Rows::run(tile, {log_p + first, cotangent ? cotangent + first : nullptr, weights, stride_}, count);
      Device::map(stride_, AddWeights<T>{count, stride_, weights, sums + d_ * stride_}, kPad);
      Blas::gemm('N', 'T', stride_, d_, count, T(1), weights, stride_, tile.x, d_, T(0), outer, stride_);
      Device::map(d_ * stride_, AddProducts<T>{outer, sums});
      if (!d_x) return;
      T* to = d_x + first * d_;
      Blas::gemm('T', 'N', d_, count, stride_, T(1), tile.centres, stride_, weights, stride_, T(0), to, d_);
      Device::map(count, FinishPoint<T>{d_, m_, stride_, tile.x, weights, to}, 16);
    });
    Device::map(d_ * stride_, LessCentre<T>{stride_, centres_.data(), sums + d_ * stride_, sums});
    finish(d_centres, d_log_weights);
  }

 private:
  using Rows = MixtureRows<Device, T>;
  using Blas = typename Device::template Blas<T>;
  template <class U>
  using Scratch = typename Device::template Scratch<U>;
  static constexpr int64_t kPad = 16;

  bool few() const { return d_ <= kMixtureFeatures; }
  MixtureTask<T> task(const T* x, T* products) {
    return {d_, m_, stride_, centres_.data(), log_weights_.data(), squares_.data(), x, products};
  }
  // f(task, first, count) for tiles of points; with their products if there are many features.
  template <class F>
  void for_tiles(int64_t n, const T* x, const F& f) {
    const int64_t rows = std::min(n, Device::tile_rows(stride_ * static_cast<int64_t>(sizeof(T))));
    T* tile = tile_.reserve(rows * stride_);
    for (int64_t first = 0; first < n; first += rows) {
      const int64_t count = std::min(rows, n - first);
      const T* points = x + first * d_;
      if (!few()) {
        Blas::gemm('N', 'N', stride_, count, d_, T(1), centres_.data(), stride_, points, d_, T(0), tile, stride_);
      }
      f(task(points, tile), first, count);
    }
  }
  void finish(T* d_centres, T* d_log_weights) {
    Device::map(m_, MixtureGradientOf<T>{d_, stride_, sums_.data(), d_centres, d_log_weights});
  }

  int64_t m_, d_, stride_;
  Scratch<T> centres_, log_weights_, squares_, tile_, outer_;
  Scratch<double> sums_;
};

}  // namespace lvm

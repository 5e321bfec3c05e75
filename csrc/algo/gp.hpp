// The log density of a Gaussian process with many output columns, and its cotangent for the kernel matrix.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/config.hpp"
#include "device/status.hpp"

namespace lvm {

// Terms of sums over a factor and its solutions.
template <class T>
struct LogDiagonal {
  const T* a;
  int64_t stride;
  LVM_HD double operator()(int64_t, int64_t i) const { return 2.0 * log_(static_cast<double>(a[i * (stride + 1)])); }
};
template <class T>
struct DiagonalEntry {
  const T* a;
  int64_t stride;
  LVM_HD double operator()(int64_t, int64_t i) const { return static_cast<double>(a[i * (stride + 1)]); }
};
template <class T>
struct NotPositive {
  const T* a;
  int64_t stride;
  LVM_HD bool operator()(int64_t i) const { return !(a[i * (stride + 1)] > T(0)); }
};
template <class T>
struct Square {
  const T* a;
  LVM_HD double operator()(int64_t, int64_t i) const {
    const double x = static_cast<double>(a[i]);
    return x * x;
  }
};

// Products of columns of a (stride n) with the first `basis` columns of h: number w = c * basis + k is h_k . a_c.
template <class T>
struct ColumnProducts {
  const T *h, *a;
  int64_t n, basis;
  LVM_HD double operator()(int64_t w, int64_t i) const {
    return static_cast<double>(h[w % basis * n + i]) * static_cast<double>(a[w / basis * n + i]);
  }
};
// a_c -= sum_k factor[c * basis + k] h_k, entry by entry.
template <class T>
struct SubtractColumns {
  const T* h;
  T* a;
  int64_t n, basis;
  const double* factor;
  LVM_HD void operator()(int64_t at) const {
    const int64_t c = at / n, i = at % n;
    double value = static_cast<double>(a[at]);
    for (int64_t k = 0; k < basis; ++k) value -= factor[c * basis + k] * static_cast<double>(h[k * n + i]);
    a[at] = static_cast<T>(value);
  }
};
// A column divided by its norm, or zero if next to nothing is left of it.
template <class T>
struct NormaliseColumn {
  T* a;
  const double *before, *after;  // squared norms
  LVM_HD void operator()(int64_t i) const {
    constexpr double kDependent = sizeof(T) == sizeof(double) ? 1e-20 : 1e-9;
    const double scale = *after > kDependent * *before ? 1.0 / sqrt_(*after) : 0.0;
    a[i] = static_cast<T>(scale * static_cast<double>(a[i]));
  }
};

// Takes from the first `rank` columns of a (n rows, column-major) their components along the last `basis` columns, which
// are made orthonormal on the way (Gram-Schmidt, everything twice); dependent ones become zero. products: scratch of
// 2 + basis max(rank, basis) numbers.
template <class Device, class T>
void remove_components(int64_t n, int64_t rank, int64_t basis, T* a, double* products) {
  T* h = a + n * rank;
  double* norms = products + basis * std::max(rank, basis);
  const auto subtract = [&](int64_t first, int64_t columns, T* from) {
    for (int pass = 0; pass < 2 && first > 0; ++pass) {
      Device::sums(first * columns, n, ColumnProducts<T>{h, from, n, first}, products);
      Device::map(n * columns, SubtractColumns<T>{h, from, n, first, products});
    }
  };
  for (int64_t j = 0; j < basis; ++j) {
    T* column = h + j * n;
    Device::sums(1, n, Square<T>{column}, norms);
    subtract(j, 1, column);
    Device::sums(1, n, Square<T>{column}, norms + 1);
    Device::map(n, NormaliseColumn<T>{column, norms, norms + 1});
  }
  if (rank > 0) subtract(basis, rank, a);
}

// What gp_log_density leaves in the device's memory.
struct DensityTerms {
  double log_det, quadratic;

  double value(int64_t n, double columns) const {
    constexpr double kLog2Pi = 1.8378770664093454836;
    return -0.5 * (columns * (static_cast<double>(n) * kLog2Pi + log_det) + quadratic);
  }
};

// For Y (n x columns) with independent columns N(0, K) and any R (n x rank) with R R^T = Y Y^T:
//
//   value = -1/2 (columns n log 2 pi + columns log|K| + tr(K^-1 R R^T)),
//   d value / d K = 1/2 (A A^T - columns K^-1),   A = K^-1 R.
//
// With a mean H beta whose coefficients are not known, R has columns left of the last `basis` ones and H the last: beta
// maximises the value (generalised least squares: what is left of L^-1 R beside the columns of L^-1 H), and A is
// K^-1 (R - H beta). H may have dependent columns.
//
// In: k, the column-major upper triangle of K (stride n); r, column-major.
// Out: k, the upper triangle of d value / d K; a (n x rank, column-major), A; terms = log|K| and tr(K^-1 R R^T).
// failure = the pivot (1-based) that was lost, or 0; then k and a are destroyed.
// Flops: n^3/3 (factor) + 2n^3/3 (inverse) + 2 n^2 rank (solves) + n^2 rank (outer product).
template <class Device, class T>
void gp_log_density(int64_t n, int64_t rank, double columns, T* k, const T* r, T* a, double* terms, int* failure,
                    typename Device::template Scratch<double>& scratch, int64_t basis = 0) {
  using Blas = typename Device::template Blas<T>;
  Device::potrf('U', n, k, n, failure);
  Device::note_first(n, NotPositive<T>{k, n}, failure);  // a BLAS may carry NaN through
  if (Device::kImmediate && *failure) return;
  Device::sums(1, n, LogDiagonal<T>{k, n}, terms);
  Device::zero(terms + 1, 1);
  if (rank > 0) {
    Device::copy(r, a, n * (rank + basis));
    Blas::trsm('L', 'U', 'T', n, rank + basis, T(1), k, n, a, n);
    if (basis > 0) remove_components<Device>(n, rank, basis, a, scratch.reserve(2 + basis * std::max(rank, basis)));
    Device::sums(1, n * rank, Square<T>{a}, terms + 1);
    Blas::trsm('L', 'U', 'N', n, rank, T(1), k, n, a, n);
  }
  Blas::potri('U', n, k, n);
  Blas::syrk('U', 'N', n, rank, T(0.5), a, n, static_cast<T>(-0.5 * columns), k, n);
}

}  // namespace lvm

// The log density of a Gaussian process with many output columns, and its cotangent for the kernel matrix.
#pragma once

#include <cmath>
#include <cstdint>

#include "device/status.hpp"

namespace lvm {

// Takes from the first `rank` columns of a (n rows, column-major) their components along the last `basis` columns, which
// are made orthonormal on the way (twice, modified Gram-Schmidt); dependent ones become zero.
template <class T>
void remove_components(int64_t n, int64_t rank, int64_t basis, T* a) {
  const auto dot = [n](const T* x, const T* y) {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(y[i]);
    return sum;
  };
  const auto subtract = [n](T* x, double factor, const T* y) {
    for (int64_t i = 0; i < n; ++i) x[i] -= static_cast<T>(factor * static_cast<double>(y[i]));
  };
  T* h = a + n * rank;
  for (int64_t j = 0; j < basis; ++j) {
    T* column = h + j * n;
    const double before = dot(column, column);
    for (int pass = 0; pass < 2; ++pass) {
      for (int64_t k = 0; k < j; ++k) subtract(column, dot(h + k * n, column), h + k * n);
    }
    const double after = dot(column, column);
    constexpr double kDependent = sizeof(T) == sizeof(double) ? 1e-20 : 1e-9;
    const double scale = after > kDependent * before ? 1.0 / std::sqrt(after) : 0.0;
    for (int64_t i = 0; i < n; ++i) column[i] = static_cast<T>(scale * static_cast<double>(column[i]));
  }
  for (int64_t c = 0; c < rank; ++c) {
    for (int pass = 0; pass < 2; ++pass) {
      for (int64_t k = 0; k < basis; ++k) subtract(a + c * n, dot(h + k * n, a + c * n), h + k * n);
    }
  }
}

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
// Out: k, the upper triangle of d value / d K; a (n x rank, column-major), A.
// On not_positive_definite, k and a are destroyed.
// Flops: n^3/3 (factor) + 2n^3/3 (inverse) + 2 n^2 rank (solves) + n^2 rank (outer product).
template <class Device, class T>
Status gp_log_density(int64_t n, int64_t rank, double columns, T* k, const T* r, T* a, double* value,
                      int64_t basis = 0) {
  using Blas = typename Device::template Blas<T>;
  const int64_t info = Blas::potrf('U', n, k, n);
  if (info > 0) return {Code::not_positive_definite, info - 1};
  double log_det = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double pivot = static_cast<double>(k[i * n + i]);
    if (!(pivot > 0)) return {Code::not_positive_definite, i};
    log_det += 2.0 * std::log(pivot);
  }
  double quadratic = 0;
  if (rank > 0) {
    Device::copy(r, a, n * (rank + basis));
    Blas::trsm('L', 'U', 'T', n, rank + basis, T(1), k, n, a, n);
    if (basis > 0) remove_components(n, rank, basis, a);
    quadratic = Device::sum_ranges(rank, 16, [&](int64_t begin, int64_t end) {
      double sum = 0;
      for (int64_t j = begin; j < end; ++j) {
        double column = 0;
        for (int64_t i = 0; i < n; ++i) {
          const double x = static_cast<double>(a[j * n + i]);
          column += x * x;
        }
        sum += column;
      }
      return sum;
    });
    Blas::trsm('L', 'U', 'N', n, rank, T(1), k, n, a, n);
  }
  constexpr double kLog2Pi = 1.8378770664093454836;
  *value = -0.5 * (columns * (static_cast<double>(n) * kLog2Pi + log_det) + quadratic);
  if (!std::isfinite(*value)) return {Code::non_finite, -1};
  Blas::potri('U', n, k, n);
  Blas::syrk('U', 'N', n, rank, T(0.5), a, n, static_cast<T>(-0.5 * columns), k, n);
  return {};
}

}  // namespace lvm

// Cholesky factors and triangular solves of batches of row-major matrices.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "algo/jitter.hpp"
#include "device/matrix.hpp"
#include "device/status.hpp"

namespace lvm {

// factor = L with L L^T = a + jitter I, lower, zeros above; all row-major (n, n). Only the lower triangle of a is
// read. jitter: in, the absolute jitter to start from; out, what was needed.
template <class Device, class T>
Status cholesky(int64_t n, const T* a, T* factor, const JitterPolicy& policy, double* jitter) {
  const auto mean = [&] {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(a[i * n + i]) / static_cast<double>(n);
    return sum;
  };
  Status status = escalate_jitter(policy, mean, *jitter, [&](double extra) -> Status {
    Device::copy(a, factor, n * n);
    for (int64_t i = 0; i < n; ++i) factor[i * n + i] = static_cast<T>(static_cast<double>(a[i * n + i]) + extra);
    // A row-major lower triangle is a column-major upper one: A = U^T U with U = L^T in place.
    const int64_t info = Device::template Blas<T>::potrf('U', n, factor, n);
    if (info > 0) {
      const bool finite = std::isfinite(static_cast<double>(factor[(info - 1) * n + info - 1]));
      return {finite ? Code::not_positive_definite : Code::non_finite, info - 1};
    }
    for (int64_t i = 0; i < n; ++i) {  // a BLAS may carry NaN through without noticing
      const double pivot = static_cast<double>(factor[i * n + i]);
      if (!(pivot > 0) || !std::isfinite(pivot)) return {Code::non_finite, i};
    }
    return {};
  });
  for (int64_t i = 0; i < n; ++i) std::fill(factor + i * n + i + 1, factor + (i + 1) * n, T(0));
  return status;
}

// b (n, columns) <- op(L)^-1 b, of the lower or upper triangle of l; b and l row- or column-major.
template <class Device, class T>
void solve_triangular(int64_t n, int64_t columns, const Factor<const T>& l, const Factor<T>& b, bool lower, bool trans) {
  // BLAS is column-major: a row-major matrix is its transpose there.
  const char uplo = lower == l.by_rows ? 'U' : 'L';
  const bool left = !b.by_rows, transposed = trans != (l.by_rows != b.by_rows);
  Device::template Blas<T>::trsm(left ? 'L' : 'R', uplo, transposed ? 'T' : 'N', left ? n : columns,
                                 left ? columns : n, T(1), l.data, std::max<int64_t>(l.stride, n), b.data,
                                 std::max<int64_t>(b.stride, left ? n : columns));
}

// a_bar = 1/2 L^-T (P + P^T) L^-1 with P = tril(L^T l_bar), its diagonal halved; row-major (n, n), in one buffer.
template <class Device, class T>
void cholesky_vjp(int64_t n, const T* l, const T* l_bar, T* a_bar) {
  using Blas = typename Device::template Blas<T>;
  Device::copy_lower(l_bar, a_bar, n);
  Blas::trmm('R', 'U', 'T', n, n, T(0.5), l, n, a_bar, n);
  Device::mirror_lower(a_bar, n, n);
  Blas::trsm('L', 'U', 'N', n, n, T(1), l, n, a_bar, n);
  Blas::trsm('R', 'U', 'T', n, n, T(1), l, n, a_bar, n);
  Device::symmetrise(a_bar, n);  // what rounding made of the symmetry
}

}  // namespace lvm

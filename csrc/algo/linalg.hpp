// Cholesky factors and triangular solves of batches of row-major matrices.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "algo/jitter.hpp"
#include "device/status.hpp"

namespace lvm {

// factor = L with L L^T = a + jitter I, lower, zeros above; all row-major (n, n). Only the lower triangle of a is
// read. jitter: in, the absolute jitter to start from; out, what was needed.
template <class Device, class T>
Status cholesky(int64_t n, const T* a, T* factor, const JitterPolicy& policy, double* jitter) {
  double mean_diagonal = 0;
  for (int64_t i = 0; i < n; ++i) mean_diagonal += static_cast<double>(a[i * n + i]) / static_cast<double>(n);
  Status status = escalate_jitter(policy, mean_diagonal, *jitter, [&](double extra) -> Status {
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

// b <- op(L)^-1 b with b (n, m) row-major; L (n, n) row-major, its lower (or upper) triangle.
template <class Device, class T>
void solve_triangular(int64_t n, int64_t m, const T* l, T* b, bool lower, bool trans) {
  Device::template Blas<T>::trsm('R', lower ? 'U' : 'L', trans ? 'T' : 'N', m, n, T(1), l, std::max<int64_t>(n, 1),
                                 b, std::max<int64_t>(m, 1));
}

}  // namespace lvm

// A stationary kernel's parameters, and the way from scaled gradients back to them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "core/stationary.hpp"

namespace lvm {

template <class T>
struct KernelParameters {
  StationaryKind kind;
  T variance;
  const T* lengthscale;  // (q,)
  int64_t q;
};

// Median of each column of x. Kernels see inputs less this centre, so that a common offset costs no digits; a
// mean would do that too, but one far point would move it and cost the others theirs.
template <class T>
std::vector<double> column_centres(const T* x, int64_t n, int64_t q) {
  std::vector<double> centre(q, 0.0), column(n);
  for (int64_t k = 0; k < q && n > 0; ++k) {
    for (int64_t i = 0; i < n; ++i) column[i] = static_cast<double>(x[i * q + k]);
    std::nth_element(column.begin(), column.begin() + n / 2, column.end());
    centre[k] = std::isfinite(column[n / 2]) ? column[n / 2] : 0.0;
  }
  return centre;
}

// From the sums that gram_pullback leaves (scaled coordinates, variance left out) to gradients:
//   dX[i, q] = sides * 2 variance / lengthscale_q * d_rows[i, q],
//   dlengthscale[q] = -2 variance / lengthscale_q * d_lengthscale[q],
// `sides` is 2 where rows and columns are the same points and both move.
template <class T>
void unscale_rows(const KernelParameters<T>& k, double sides, int64_t n, double* d_rows) {
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t q = 0; q < k.q; ++q) {
      d_rows[i * k.q + q] *= sides * 2.0 * static_cast<double>(k.variance) / static_cast<double>(k.lengthscale[q]);
    }
  }
}

template <class T>
void unscale_lengthscale(const KernelParameters<T>& k, double* d_lengthscale) {
  for (int64_t q = 0; q < k.q; ++q) {
    d_lengthscale[q] *= -2.0 * static_cast<double>(k.variance) / static_cast<double>(k.lengthscale[q]);
  }
}

}  // namespace lvm

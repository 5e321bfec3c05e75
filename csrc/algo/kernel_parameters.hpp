// A stationary kernel's parameters, and the way from scaled gradients back to them.
#pragma once

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

// Mean of the rows of x: kernels see centred inputs, so that a common offset costs no digits.
template <class T>
std::vector<double> column_means(const T* x, int64_t n, int64_t q) {
  std::vector<double> mean(q, 0.0);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t k = 0; k < q; ++k) mean[k] += static_cast<double>(x[i * q + k]);
  }
  for (double& m : mean) m /= static_cast<double>(n > 0 ? n : 1);
  return mean;
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

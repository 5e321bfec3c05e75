// Kernel matrices of unscaled inputs, and the pull-back to inputs and parameters.
#pragma once

#include <cstdint>
#include <vector>

#include "algo/kernel_parameters.hpp"
#include "device/cotangent.hpp"

namespace lvm {

// out (n, m) row-major: k(x_i, z_j). With z null, k(x_i, x_j): exactly symmetric, variance on the diagonal.
template <class Device, class T>
void gram(const KernelParameters<T>& kernel, const T* x, int64_t n, const T* z, int64_t m, T* out) {
  const std::vector<double> centre = column_centres(x, n, kernel.q);
  typename Device::template Points<T> rows, cols;
  rows.assign(x, n, kernel.q, nullptr, centre.data(), kernel.lengthscale);
  if (z) {
    cols.assign(z, m, kernel.q, nullptr, centre.data(), kernel.lengthscale);
    Device::gram(kernel.kind, kernel.q, rows, cols, kernel.variance, out, m, false);
  } else {
    Device::gram(kernel.kind, kernel.q, rows, rows, kernel.variance, out, n, true);
    Device::mirror_lower(out, n, n);
  }
}

// Gradients of sum_ij cotangent[i, j] k(x_i, z_j). d_x (n, q), d_z (m, q) or null, d_lengthscale (q,).
// With z null, d_x is the total derivative through both arguments.
template <class Device, class T>
void gram_vjp(const KernelParameters<T>& kernel, const T* x, int64_t n, const T* z, int64_t m, const T* cotangent,
              double* d_x, double* d_z, double* d_lengthscale, double* d_variance) {
  const std::vector<double> centre = column_centres(x, n, kernel.q);
  typename Device::template Points<T> rows, cols;
  rows.assign(x, n, kernel.q, nullptr, centre.data(), kernel.lengthscale);
  if (z) {
    cols.assign(z, m, kernel.q, nullptr, centre.data(), kernel.lengthscale);
    Device::gram_pullback(kernel.kind, kernel.q, rows, cols, cotangent, m, Cotangent::direct, d_x, d_lengthscale,
                          d_variance);
    std::vector<double> unused(kernel.q);
    double unused_variance;
    Device::gram_pullback(kernel.kind, kernel.q, cols, rows, cotangent, m, Cotangent::transposed, d_z,
                          unused.data(), &unused_variance);
    unscale_rows(kernel, 1.0, m, d_z);
  } else {
    Device::gram_pullback(kernel.kind, kernel.q, rows, rows, cotangent, n, Cotangent::symmetric_part, d_x,
                          d_lengthscale, d_variance);
  }
  unscale_rows(kernel, z ? 1.0 : 2.0, n, d_x);
  unscale_lengthscale(kernel, d_lengthscale);
}

}  // namespace lvm

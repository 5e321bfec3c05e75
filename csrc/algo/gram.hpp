// Kernel matrices of points, products with them, and the pull-backs of both to points and parameters.
#pragma once

#include <cstdint>
#include <vector>

#include "algo/kernel.hpp"
#include "device/cotangent.hpp"

namespace lvm {

// Two sets of points, (n, q) and (m, q) row-major, as a kernel sees them; z null: the same points twice.
template <class Device, class T>
class PointPair {
 public:
  using Gram = typename Device::template Gram<T>;

  PointPair(Kernel<Device, T>& kernel, const T* x, int64_t n, const T* z, int64_t m, int64_t q)
      : kernel_(kernel), x_(x), z_(z), n_(n), m_(z ? m : n), q_(q), centre_(column_centres(x, n, q)) {
    kernel.assign(rows_, x, n, q, nullptr, centre_.data());
    if (z) kernel.assign(cols_, z, m, q, nullptr, centre_.data());
    kernel.choose_distances(rows_, cols());
  }
  PointPair(const PointPair&) = delete;

  Gram gram() const { return {kernel_.prepared(), rows_, cols(), n_, m_, z_ == nullptr}; }

  // d_x (n, q), d_z (m, q) or null with z null, d_theta (parameters,): overwritten. With z null, d_x is the derivative
  // through both arguments.
  void finish(const std::vector<typename Device::LeafSums>& sums, double* d_x, double* d_z, double* d_theta) const {
    std::fill(d_x, d_x + n_ * q_, 0.0);
    if (d_z) std::fill(d_z, d_z + m_ * q_, 0.0);
    std::fill(d_theta, d_theta + kernel_.tree().parameters, 0.0);
    kernel_.finish(sums, rows_, x_, n_, nullptr, cols(), z_, m_, q_, centre_.data(), d_x, z_ ? d_z : nullptr, d_theta);
  }

 private:
  using Points = typename Device::template KernelPoints<T>;
  const Points& cols() const { return z_ ? cols_ : rows_; }

  Kernel<Device, T>& kernel_;
  const T *x_, *z_;
  int64_t n_, m_, q_;
  std::vector<double> centre_;
  Points rows_, cols_;
};

// k(x_i, x_i), White included.
template <class Device, class T>
void gram_diagonal(const Kernel<Device, T>& kernel, const T* x, int64_t n, int64_t q, T* out) {
  Device::for_ranges(n, 4096, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] = static_cast<T>(kernel.diagonal(x + i * q));
  });
}

// out (n, m) row-major: k(x_i, z_j). With z null, k(x_i, x_j): exactly symmetric with gram_diagonal on its diagonal.
template <class Device, class T>
void gram(Kernel<Device, T>& kernel, const T* x, int64_t n, const T* z, int64_t m, int64_t q, T* out) {
  const PointPair<Device, T> pair(kernel, x, n, z, m, q);
  typename Device::template Scratch<T> diagonal;
  if (!z) gram_diagonal(kernel, x, n, q, diagonal.reserve(std::max<int64_t>(n, 1)));
  pair.gram().values(out, z ? m : n, false, z ? nullptr : diagonal.data());
}

// Gradients of sum_ij cotangent[i, j] k(x_i, z_j); see PointPair::finish.
template <class Device, class T>
void gram_vjp(Kernel<Device, T>& kernel, const T* x, int64_t n, const T* z, int64_t m, int64_t q, const T* cotangent,
              double* d_x, double* d_z, double* d_theta) {
  const PointPair<Device, T> pair(kernel, x, n, z, m, q);
  auto g = pair.gram();
  std::vector<typename Device::LeafSums> sums;
  g.pullback(g.cotangent_of(cotangent, z ? m : n, z ? Cotangent::direct : Cotangent::symmetric_part), true, sums);
  pair.finish(sums, d_x, d_z, d_theta);
}

// (count, columns) row-major to a device's blocks of points, and from its sums.
template <class Blocks, class T>
void to_blocks(const T* v, int64_t count, int64_t columns, Blocks& blocks) {
  blocks.resize(count, columns, 0);
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t c = 0; c < columns; ++c) blocks.at(i, c) = v[i * columns + c];
  }
}
template <class Blocks, class T>
void from_blocks(const Blocks& blocks, T* v) {
  const int64_t columns = blocks.features();
  for (int64_t i = 0; i < blocks.count(); ++i) {
    for (int64_t c = 0; c < columns; ++c) v[i * columns + c] = static_cast<T>(blocks.at(i, c));
  }
}

// out (n, columns) = k(x, z) v, v (m, columns); k(x, x) v with z null. k is never held.
template <class Device, class T>
void gram_matmul(Kernel<Device, T>& kernel, const T* x, int64_t n, const T* z, int64_t m, int64_t q, const T* v,
                 int64_t columns, T* out) {
  const PointPair<Device, T> pair(kernel, x, n, z, m, q);
  typename Device::template PointBlocks<T> right;
  typename Device::template PointBlocks<double> sums;
  to_blocks(v, z ? m : n, columns, right);
  sums.resize(n, columns, 0);
  pair.gram().products(right, nullptr, sums, nullptr);
  from_blocks(sums, out);
}

// Gradients of sum(cotangent * (k(x, z) v)): cotangent (n, columns); d_v (m, columns), the others as gram_vjp.
template <class Device, class T>
void gram_matmul_vjp(Kernel<Device, T>& kernel, const T* x, int64_t n, const T* z, int64_t m, int64_t q, const T* v,
                     const T* cotangent, int64_t columns, double* d_x, double* d_z, T* d_v, double* d_theta) {
  const PointPair<Device, T> pair(kernel, x, n, z, m, q);
  auto g = pair.gram();
  typename Device::template PointBlocks<T> left, right;
  to_blocks(cotangent, n, columns, left);
  to_blocks(v, z ? m : n, columns, right);
  typename Device::template PointBlocks<double> d_right, unused;
  d_right.resize(z ? m : n, columns, 0);
  if (z) {
    unused.resize(n, columns, 0);
    g.products(right, &left, unused, &d_right);
  } else {
    g.products(left, nullptr, d_right, nullptr);
  }
  from_blocks(d_right, d_v);
  std::vector<typename Device::LeafSums> sums;
  g.pullback(g.cotangent_of_product(left, right), true, sums);
  pair.finish(sums, d_x, d_z, d_theta);
}

}  // namespace lvm

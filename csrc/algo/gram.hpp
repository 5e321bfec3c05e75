// Kernel matrices of points, products with them, and the pull-backs of both to points and parameters.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "algo/kernel.hpp"
#include "device/cotangent.hpp"

namespace lvm {

// Two sets of points, (n, q) and (m, q) row-major, as a kernel sees them; z null: the same points twice.
template <class Device, class T>
class PointPair {
 public:
  using Gram = typename Device::template Gram<T>;

  explicit PointPair(Kernel<Device, T>& kernel) : kernel_(kernel) {}
  PointPair(Kernel<Device, T>& kernel, const T* x, int64_t n, const T* z, int64_t m, int64_t q) : PointPair(kernel) {
    assign(x, n, nullptr, z, m, q);
  }
  PointPair(const PointPair&) = delete;

  // index: which n rows of x, or null for its first n. The centre is that of the rows up to `all`, if it is given.
  void assign(const T* x, int64_t n, const int64_t* index, const T* z, int64_t m, int64_t q, int64_t all = -1) {
    x_ = x, z_ = z, index_ = index;
    n_ = n, m_ = z ? m : n, q_ = q;
    double* centre = centre_.reserve(q + 1);
    Device::column_centres(x, all < 0 ? n : all, q, centre);
    kernel_.assign(rows_, x, n, q, index, centre);
    if (z) kernel_.assign(cols_, z, m, q, nullptr, centre);
    kernel_.choose_distances(rows_, cols());
  }

  Gram gram() const { return {kernel_.prepared(), rows_, cols(), n_, m_, z_ == nullptr}; }

  // d_x (n, q), d_z (m, q) or null with z null, d_theta (parameters,): overwritten. With z null, d_x is the derivative
  // through both arguments; it has as many rows as x.
  void finish(const std::vector<typename Device::LeafSums>& sums, double* d_x, double* d_z, double* d_theta,
              int64_t all = -1) const {
    Device::zero(d_x, (all < 0 ? n_ : all) * q_);
    if (d_z) Device::zero(d_z, m_ * q_);
    Device::zero(d_theta, kernel_.tree().parameters);
    kernel_.finish(sums, rows_, x_, n_, index_, cols(), z_, m_, q_, centre_.data(), d_x, z_ ? d_z : nullptr, d_theta);
  }

 private:
  using Points = typename Device::template KernelPoints<T>;
  const Points& cols() const { return z_ ? cols_ : rows_; }

  Kernel<Device, T>& kernel_;
  const T *x_ = nullptr, *z_ = nullptr;
  const int64_t* index_ = nullptr;
  int64_t n_ = 0, m_ = 0, q_ = 0;
  typename Device::template Scratch<double> centre_;
  Points rows_, cols_;
};

// A kernel and the points that it sees, which stay from call to call as long as the tree is the same.
template <class Device, class T>
struct KernelOfPoints {
  Kernel<Device, T> kernel;
  PointPair<Device, T> pair;
  explicit KernelOfPoints(const KernelTree& tree) : kernel(tree), pair(kernel) {}

  // Makes `kept` one for the tree. True if it was.
  static bool keep(std::unique_ptr<KernelOfPoints>& kept, const KernelTree& tree) {
    if (kept && kept->kernel.tree() == tree) return true;
    kept = std::make_unique<KernelOfPoints>(tree);
    return false;
  }
};

// out (n, m) row-major: k(x_i, z_j). With z null, k(x_i, x_j): exactly symmetric with the kernel's own diagonal on its.
template <class Device, class T>
void gram(Kernel<Device, T>& kernel, const T* x, int64_t n, const T* z, int64_t m, int64_t q, T* out) {
  const PointPair<Device, T> pair(kernel, x, n, z, m, q);
  typename Device::template Scratch<T> diagonal;
  if (!z) Device::map(n, kernel.diagonal(x, q, nullptr, diagonal.reserve(n + 1)));
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

// Rows of (count, columns) row-major to a device's points, and from its sums.
template <class T, class View>
struct ToPoint {
  const T* v;
  int64_t columns;
  View points;
  LVM_HD void operator()(int64_t i) const {
    for (int64_t c = 0; c < columns; ++c) points.at(i, c) = v[i * columns + c];
  }
};
template <class T, class View>
struct FromPoint {
  View points;
  int64_t columns;
  T* v;
  LVM_HD void operator()(int64_t i) const {
    for (int64_t c = 0; c < columns; ++c) v[i * columns + c] = static_cast<T>(points.at(i, c));
  }
};
template <class Device, class Points, class T>
void to_points(const T* v, int64_t count, int64_t columns, Points& points) {
  points.resize(count, columns, 0);
  const auto view = points.view();
  Device::map(count, ToPoint<T, std::decay_t<decltype(view)>>{v, columns, view});
}
template <class Device, class Points, class T>
void from_points(const Points& points, T* v) {
  const auto view = points.view();
  Device::map(points.count(), FromPoint<T, std::decay_t<decltype(view)>>{view, points.features(), v});
}

// out (n, columns) = k(x, z) v, v (m, columns); k(x, x) v with z null. k is never held.
template <class Device, class T>
void gram_matmul(Kernel<Device, T>& kernel, const T* x, int64_t n, const T* z, int64_t m, int64_t q, const T* v,
                 int64_t columns, T* out) {
  const PointPair<Device, T> pair(kernel, x, n, z, m, q);
  typename Device::template PointBlocks<T> right;
  typename Device::template PointBlocks<double> sums;
  to_points<Device>(v, z ? m : n, columns, right);
  sums.resize(n, columns, 0);
  pair.gram().products(right, nullptr, sums, nullptr);
  from_points<Device>(sums, out);
}

// Gradients of sum(cotangent * (k(x, z) v)): cotangent (n, columns); d_v (m, columns), the others as gram_vjp.
template <class Device, class T>
void gram_matmul_vjp(Kernel<Device, T>& kernel, const T* x, int64_t n, const T* z, int64_t m, int64_t q, const T* v,
                     const T* cotangent, int64_t columns, double* d_x, double* d_z, T* d_v, double* d_theta) {
  const PointPair<Device, T> pair(kernel, x, n, z, m, q);
  auto g = pair.gram();
  typename Device::template PointBlocks<T> left, right;
  to_points<Device>(cotangent, n, columns, left);
  to_points<Device>(v, z ? m : n, columns, right);
  typename Device::template PointBlocks<double> d_right, unused;
  d_right.resize(z ? m : n, columns, 0);
  if (z) {
    unused.resize(n, columns, 0);
    g.products(right, &left, unused, &d_right);
  } else {
    g.products(left, nullptr, d_right, nullptr);
  }
  from_points<Device>(d_right, d_v);
  std::vector<typename Device::LeafSums> sums;
  g.pullback(g.cotangent_of_product(left, right), true, sums);
  pair.finish(sums, d_x, d_z, d_theta);
}

}  // namespace lvm

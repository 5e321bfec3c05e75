// The log density of a mixture of spherical normal distributions on a product mesh.
//
// Of a point (x_r, x_c), x_c its last coordinate, exp(l_k) = A_rk B_ck: the densities are the matrix product A B^T. A_rk and
// B_ck are exponentials less the largest of their row. Points that are so far from every centre that the product says little
// are done one by one.
#pragma once

#include <algorithm>
#include <cstdint>

#include "algo/mixture.hpp"

namespace lvm {

constexpr int64_t kMeshAxes = 8;

struct MeshSizes {
  int64_t d;
  int64_t size[kMeshAxes], start[kMeshAxes];  // of axis j: how many numbers, and where the first of them is
};

// Terms of a mesh's points: of the leading coordinates with the log weights, or of the last one.
struct MeshTerms {
  MeshSizes mesh;
  int64_t m, stride;
  const double *axes, *centres, *log_weights;  // the axes one after the other; centres (d, stride)

  LVM_HD double square(int64_t j, int64_t at, int64_t k) const {
    const double e = axes[mesh.start[j] + at] - centres[j * stride + k];
    return e * e;
  }
  LVM_HD double leading(int64_t row, int64_t k) const {
    if (mesh.d == 2) return log_weights[k] - 0.5 * square(0, row, k);
    double sum = 0;
    for (int64_t j = mesh.d - 2; j >= 0; row /= mesh.size[j--]) sum += square(j, row % mesh.size[j], k);
    return log_weights[k] - 0.5 * sum;
  }
  LVM_HD double last(int64_t column, int64_t k) const { return -0.5 * square(mesh.d - 1, column, k); }
  LVM_HD void point(int64_t at, double* x) const {
    for (int64_t j = mesh.d - 1; j >= 0; at /= mesh.size[j--]) x[j] = axes[mesh.start[j] + at % mesh.size[j]];
  }
};

struct LargestLeading {
  MeshTerms terms;
  double* out;
  LVM_HD void operator()(int64_t row) const {
    double most = -INFINITY;
    for (int64_t k = 0; k < terms.m; ++k) most = max_(terms.leading(row, k), most);
    out[row] = most;
  }
};
struct LargestLast {
  MeshTerms terms;
  double* out;
  LVM_HD void operator()(int64_t column) const {
    double most = -INFINITY;
    for (int64_t k = 0; k < terms.m; ++k) most = max_(terms.last(column, k), most);
    out[column] = most;
  }
};

constexpr double kMeshLeast = -350;  // exponents below count for nothing: products stay normal numbers

// Exponents of a block of centres from `first`, side by side.
struct LeadingExponents {
  MeshTerms terms;
  int64_t row, first, count;
  const double* most;
  double* out;
  LVM_HD void operator()(int64_t k, int64_t r) const {
    const double l = terms.leading(row + r, first + k) - most[row + r];
    out[r * count + k] = l < kMeshLeast ? -INFINITY : l;
  }
};
struct LastExponents {
  MeshTerms terms;
  int64_t first, count;
  const double* most;
  double* out;
  LVM_HD void operator()(int64_t k, int64_t c) const {
    const double l = terms.last(c, first + k) - most[c];
    out[c * count + k] = l < kMeshLeast ? -INFINITY : l;
  }
};

constexpr double kMeshTiny = 1e-130;  // exp(-300): what was left out is e^-50 of it for each centre

// Sums of products to log densities; NaN where they are too small.
struct MeshLogarithm {
  int64_t columns, row;
  const double *leading, *last;
  double* out;
  LVM_HD void operator()(int64_t c, int64_t r) const {
    double& value = out[r * columns + c];
    value = value >= kMeshTiny ? log_(value) + leading[row + r] + last[c] : NAN;
  }
};

template <class Device>
struct MeshRest;  // done(terms, task, out, n): the points of out that are NaN, one by one; device/c*_mixture.hpp

template <class Device>
class MixtureMesh {
 public:
  // axes: the numbers of all axes one after the other; centres (m, d); out (mesh in C order).
  static void log_density(const MeshSizes& mesh, const double* axes, int64_t m, const double* centres, const double* log_weights,
                          double* out) {
    const int64_t stride = (m + 15) / 16 * 16, columns = mesh.size[mesh.d - 1];
    int64_t rows = 1;
    for (int64_t j = 0; j + 1 < mesh.d; ++j) rows *= mesh.size[j];
    Scratch placed, squares, most;
    double* f = placed.reserve((mesh.d + 1) * stride);
    double* log_w = f + mesh.d * stride;
    Device::map(stride, PlaceCentre<double>{mesh.d, m, stride, centres, log_weights, f, log_w, squares.reserve(stride)});
    const MeshTerms terms = {mesh, m, stride, axes, f, log_w};
    double *leading = most.reserve(rows + columns), *last = leading + rows;
    Device::map(rows, LargestLeading{terms, leading}, 16);
    Device::map(columns, LargestLast{terms, last}, 16);
    const int64_t block = std::min(m, kCentres), tile = std::min(rows, Device::tile_rows(block * int64_t(sizeof(double))));
    Scratch left, right;
    double *a = left.reserve(tile * block), *b = right.reserve(columns * block);
    for (int64_t row = 0; row < rows; row += tile) {
      const int64_t count = std::min(tile, rows - row);
      double* to = out + row * columns;
      for (int64_t first = 0; first < m; first += block) {
        const int64_t width = std::min(block, m - first);
        exponentials(width, count, LeadingExponents{terms, row, first, width, leading, a}, a);
        if (row == 0 || m > block) exponentials(width, columns, LastExponents{terms, first, width, last, b}, b);
        Device::template Blas<double>::gemm('T', 'N', columns, count, width, 1.0, b, width, a, width, first ? 1.0 : 0.0, to,
                                            columns);
      }
      Device::map_entries(columns, count, MeshLogarithm{columns, row, leading, last, to});
    }
    const MixtureTask<double> task = {mesh.d, m, stride, f, log_w, squares.data(), nullptr, nullptr};
    MeshRest<Device>::done(terms, task, out, rows * columns);
  }

 private:
  using Scratch = typename Device::template Scratch<double>;
  static constexpr int64_t kCentres = 512;

  template <class F>
  static void exponentials(int64_t width, int64_t rows, const F& f, double* x) {
    Device::map_entries(width, rows, f);
    Device::for_parts(width * rows, [&](int64_t begin, int64_t end) { Device::exp(x + begin, x + begin, end - begin); });
  }
};

}  // namespace lvm

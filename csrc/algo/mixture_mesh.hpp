// The log density of a mixture of spherical normal distributions on a product mesh.
//
// Of a point (x_r, x_c), x_c its last coordinate, exp(l_k) is a product of exp(l_k) at x_r with the log weights and exp(l_k) at
// x_c without: with the shares A_rk and B_ck of the centres in these two, log p = log (A B^T)_rc + log p_r + log p_c. Points
// so far from every centre that the matrix product says little are done one by one.
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

struct MeshAxes {
  MeshSizes mesh;
  const double* axes;  // one after the other

  // The first d coordinates of point `at` of the mesh of the first d axes, in C order.
  LVM_HD void point(int64_t at, int64_t d, double* x) const {
    for (int64_t j = d - 1; j >= 0; at /= mesh.size[j--]) x[j] = axes[mesh.start[j] + at % mesh.size[j]];
  }
};

struct LeadingPoints {
  MeshAxes mesh;
  int64_t first;
  double* x;
  LVM_HD void operator()(int64_t i) const {
    const int64_t d = mesh.mesh.d - 1;
    mesh.point(first + i, d, x + i * d);
  }
};

struct NoLogWeights {
  int64_t m;
  double* log_weights;
  LVM_HD void operator()(int64_t k) const { log_weights[k] = k < m ? 0.0 : -INFINITY; }
};

// Products smaller than this are not trusted: their terms may have been lost, each at most 1e-308.
constexpr double kMeshLeast = 1e-200;

// Matrix products to log densities; NaN where they are too small.
struct MeshLogarithm {
  int64_t columns;  // of the mesh: what is between rows of out
  const double *leading, *last;
  double* out;
  LVM_HD void operator()(int64_t c, int64_t r) const {
    double& value = out[r * columns + c];
    value = value >= kMeshLeast ? log_(value) + (leading[r] + last[c]) : NAN;
  }
};

// device/c*_mixture.hpp: logarithms(f, across, count), f of all entries, on this thread; rest(mesh, task, out, n), the points
// of out that are NaN, one by one.
template <class Device>
struct MeshEnd;

template <class Device>
class MixtureMesh {
 public:
  // axes: the numbers of all axes one after the other, at least two; centres (m, d); out (mesh in C order).
  static void log_density(const MeshSizes& mesh, const double* axes, int64_t m, const double* centres, const double* log_weights,
                          double* out) {
    const int64_t d = mesh.d, stride = (m + 15) / 16 * 16, columns = mesh.size[d - 1];
    int64_t rows = 1;
    for (int64_t j = 0; j + 1 < d; ++j) rows *= mesh.size[j];
    Scratch placed, points, left, right, log_p;
    double* f = placed.reserve((d + 3) * stride);
    double *log_w = f + d * stride, *squares = log_w + stride, *none = squares + stride;
    Device::map(stride, PlaceCentre<double>{d, m, stride, centres, log_weights, f, log_w, squares});
    Device::map(stride, NoLogWeights{m, none});
    const int64_t most = Device::tile_rows(stride * static_cast<int64_t>(sizeof(double)));
    const int64_t tall = std::min(rows, most), wide = std::min(columns, most);
    double *x = points.reserve(tall * (d - 1)), *leading = log_p.reserve(tall + wide), *last = leading + tall;
    double *a = left.reserve(tall * m), *b = right.reserve(wide * m);
    for (int64_t column = 0; column < columns; column += wide) {
      const int64_t across = std::min(wide, columns - column);
      const double* numbers = axes + mesh.start[d - 1] + column;
      Rows::run({1, m, stride, f + (d - 1) * stride, none, squares, numbers, nullptr}, {last, nullptr, b, m}, across);
      for (int64_t row = 0; row < rows; row += tall) {
        const int64_t count = std::min(tall, rows - row);
        if (column == 0 || rows > tall) {
          Device::map(count, LeadingPoints{{mesh, axes}, row, x});
          Rows::run({d - 1, m, stride, f, log_w, squares, x, nullptr}, {leading, nullptr, a, m}, count);
        }
        Device::for_parts(count, [&](int64_t begin, int64_t end) {  // a part of the product is still in the cache
          double* to = out + (row + begin) * columns + column;
          Device::template Blas<double>::gemm('T', 'N', across, end - begin, m, 1.0, b, m, a + begin * m, m, 0.0, to, columns);
          MeshEnd<Device>::logarithms({columns, leading + begin, last, to}, across, end - begin);
        });
      }
    }
    MeshEnd<Device>::rest({mesh, axes}, {d, m, stride, f, log_w, squares, nullptr, nullptr}, out, rows * columns);
  }

 private:
  using Rows = MixtureRows<Device, double>;
  using Scratch = typename Device::template Scratch<double>;
};

}  // namespace lvm

// A layer of a network on the GPU: cuBLAS's products of patches, which maps bring together or take apart.
#pragma once

#include <algorithm>
#include <cstdint>

#include "device/cuda.hpp"
#include "device/layer_shape.hpp"

namespace lvm {
namespace cuda {

// Where entry (u, v, c) of the patch of a small pixel lies in the large image.
struct PatchShape {
  int64_t large_rows, large_cols, channels, small_rows, small_cols, rows, cols, row_stride, col_stride, top, left;
  LVM_HD int64_t patch() const { return rows * cols * channels; }
};

// patches[p, (u, v, c)] = large[...], p the small pixels of images; zeros outside.
template <class T>
struct TakePatches {
  PatchShape s;
  const T* large;
  T* patches;
  LVM_HD void operator()(int64_t index) const {
    const int64_t c = index % s.channels, tap = index / s.channels % (s.rows * s.cols);
    const int64_t pixel = index / s.patch(), j = pixel % s.small_cols, i = pixel / s.small_cols % s.small_rows;
    const int64_t image = pixel / (s.small_cols * s.small_rows);
    const int64_t row = i * s.row_stride - s.top + tap / s.cols, col = j * s.col_stride - s.left + tap % s.cols;
    const bool inside = row >= 0 && row < s.large_rows && col >= 0 && col < s.large_cols;
    patches[index] = inside ? large[((image * s.large_rows + row) * s.large_cols + col) * s.channels + c] : T(0);
  }
};

// The adjoint: large[p, q, c] = (or +=) the sum over the patches that hold it, in the order of the taps.
template <class T>
struct SumPatches {
  PatchShape s;
  const T* patches;
  T* large;
  int64_t add;
  LVM_HD void operator()(int64_t index) const {
    const int64_t c = index % s.channels, q = index / s.channels % s.large_cols;
    const int64_t p = index / (s.channels * s.large_cols) % s.large_rows;
    const int64_t image = index / (s.channels * s.large_cols * s.large_rows);
    T sum = T(0);
    for (int64_t u = 0; u < s.rows; ++u) {
      const int64_t row = p + s.top - u, i = row / s.row_stride;
      if (row < 0 || row % s.row_stride || i >= s.small_rows) continue;
      for (int64_t v = 0; v < s.cols; ++v) {
        const int64_t col = q + s.left - v, j = col / s.col_stride;
        if (col < 0 || col % s.col_stride || j >= s.small_cols) continue;
        sum += patches[((image * s.small_rows + i) * s.small_cols + j) * s.patch() + (u * s.cols + v) * s.channels + c];
      }
    }
    large[index] = add ? large[index] + sum : sum;
  }
};

template <class T, Activation kind>
struct BiasActivation {
  T *y, *pre;
  const T* bias;
  int64_t columns;
  LVM_HD void operator()(int64_t i) const {
    const T x = y[i] + bias[i % columns];
    if (pre) pre[i] = x;
    y[i] = activated<kind>(x);
  }
};

template <class T, Activation kind>
struct ActivationPull {
  const T *d, *y;
  T* g;
  LVM_HD void operator()(int64_t i) const { g[i] = activation_pull<kind>(d[i], y[i]); }
};

template <class T>
struct ColumnEntry {
  const T* g;
  int64_t columns;
  LVM_HD double operator()(int64_t j, int64_t i) const { return static_cast<double>(g[i * columns + j]); }
};
template <class T>
struct Rounded {
  const double* from;
  T* to;
  LVM_HD void operator()(int64_t i) const { to[i] = static_cast<T>(from[i]); }
};
template <class T>
struct SquareEntry {
  const T* x;
  LVM_HD double operator()(int64_t, int64_t i) const { return static_cast<double>(x[i]) * static_cast<double>(x[i]); }
};

}  // namespace cuda

template <class T>
class NetworkLayer<Cuda, T> {
 public:
  explicit NetworkLayer(const LayerShape& s)
      : shape_(s), patch_{s.large_rows, s.large_cols, s.large_channels, s.small_rows, s.small_cols, s.rows,
                          s.cols,       s.row_stride, s.col_stride,     s.top,        s.left} {}

  void forward(int64_t n, const T* w, const T* b, const T* x, T* y, T* pre) {
    shape_.transposed ? large(n, w, x, y, false) : small(n, w, x, y, false);
    with_activation(shape_.activation, [&](auto known) {
      constexpr Activation kind = decltype(known)::value;
      Cuda::map(n * shape_.outputs(), cuda::BiasActivation<T, kind>{y, kind == Activation::gelu ? pre : nullptr, b, shape_.channels()});
    });
  }
  void pull_input(int64_t n, const T* w, const T* g, T* d_x, bool add) {
    shape_.transposed ? small(n, w, g, d_x, add) : large(n, w, g, d_x, add);
  }
  const T* pull_activation(int64_t n, const T* d, const T* y, T* g, T* d_bias) {
    const bool linear = shape_.activation == Activation::linear;
    if (!linear) {
      with_activation(shape_.activation, [&](auto known) {
        Cuda::map(n * shape_.outputs(), cuda::ActivationPull<T, decltype(known)::value>{d, y, g});
      });
    }
    const T* pulled = linear ? d : g;
    const int64_t columns = shape_.channels();
    double* sums = sums_.reserve(columns);
    Cuda::sums(columns, n * shape_.pixels(), cuda::ColumnEntry<T>{pulled, columns}, sums);
    Cuda::map(columns, cuda::Rounded<T>{sums, d_bias});
    return pulled;
  }
  void pull_weights(int64_t n, const T* x, const T* g, T* d_w) {
    const T *large = shape_.transposed ? g : x, *small = shape_.transposed ? x : g;
    const int64_t f = shape_.small_channels, k = patch_.patch();
    bool add = false;
    for_tiles(n, [&](int64_t first, int64_t count) {
      const T* patches = patches_of(large + first * shape_.large_size(), count);
      Cuda::Blas<T>::gemm('N', 'T', f, k, count * shape_.small_pixels(), T(1), small + first * shape_.small_size(), f, patches, k,
                          T(add), d_w, f);
      add = true;
    });
  }

 private:
  // f(first, count): images whose patches take at most 256 MB.
  template <class F>
  void for_tiles(int64_t n, const F& f) const {
    const int64_t bytes = shape_.small_pixels() * patch_.patch() * static_cast<int64_t>(sizeof(T));
    const int64_t tile = shape_.dense() ? n : std::clamp<int64_t>((int64_t(1) << 28) / bytes, 1, n);
    for (int64_t first = 0; first < n; first += tile) f(first, std::min(tile, n - first));
  }
  const T* patches_of(const T* large, int64_t count) {
    if (shape_.dense()) return large;
    const int64_t size = count * shape_.small_pixels() * patch_.patch();
    T* patches = patches_.reserve(size);
    Cuda::map(size, cuda::TakePatches<T>{patch_, large, patches});
    return patches;
  }
  void small(int64_t n, const T* w, const T* in, T* out, bool add) {
    const int64_t f = shape_.small_channels, k = patch_.patch();
    for_tiles(n, [&](int64_t first, int64_t count) {
      const T* patches = patches_of(in + first * shape_.large_size(), count);
      Cuda::Blas<T>::gemm('N', 'N', f, count * shape_.small_pixels(), k, T(1), w, f, patches, k, T(add),
                          out + first * shape_.small_size(), f);
    });
  }
  void large(int64_t n, const T* w, const T* in, T* out, bool add) {
    const int64_t f = shape_.small_channels, k = patch_.patch();
    for_tiles(n, [&](int64_t first, int64_t count) {
      const int64_t rows = count * shape_.small_pixels();
      T* to = out + first * shape_.large_size();
      T* patches = shape_.dense() ? to : patches_.reserve(rows * k);
      Cuda::Blas<T>::gemm('T', 'N', k, rows, f, T(1), w, f, in + first * shape_.small_size(), f, T(shape_.dense() && add), patches, k);
      if (!shape_.dense()) Cuda::map(count * shape_.large_size(), cuda::SumPatches<T>{patch_, patches, to, add});
    });
  }

  LayerShape shape_;
  cuda::PatchShape patch_;
  CudaBuffer<T> patches_;
  CudaBuffer<double> sums_;
};

template <class T>
struct NetworkSteps<Cuda, T> {
  template <class Step>
  static void run(int64_t n, const Step& step) {
    Cuda::map(n, step);
  }
  static void square_sum(int64_t n, const T* x, double* out) { Cuda::sums(1, n, cuda::SquareEntry<T>{x}, out); }
};

}  // namespace lvm

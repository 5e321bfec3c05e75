// A layer of a network on the GPU: cuBLAS's products for dense layers, implicit ones for convolutions (csrc/cuda/taps.cuh).
#pragma once

#include <algorithm>
#include <cstdint>

#include "device/cuda.hpp"
#include "device/cuda_taps.hpp"
#include "device/layer_shape.hpp"

namespace lvm {
namespace cuda {

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

template <class T>
struct SquareEntry {
  const T* x;
  LVM_HD double operator()(int64_t, int64_t i) const { return static_cast<double>(x[i]) * static_cast<double>(x[i]); }
};

inline TapGeometry tap_geometry(const LayerShape& s, bool to_small) {
  constexpr int64_t kMost = int64_t(1) << 30;  // what the kernels count in 32 bits
  if (!s.dense() && (std::max({s.large_size(), s.small_size(), s.weights()}) > kMost || s.row_stride * s.col_stride > 65535)) {
    throw CudaError("a convolution has more than 2^30 weights or numbers in an image, or strides whose product is above 65535");
  }
  const auto number = [](int64_t n) { return static_cast<int>(n); };
  return {number(s.large_rows), number(s.large_cols), number(s.small_rows), number(s.small_cols), number(s.rows), number(s.cols),
          number(s.row_stride), number(s.col_stride), number(s.top),        number(s.left),       to_small,       0};
}

}  // namespace cuda

template <class T>
class NetworkLayer<Cuda, T> {
 public:
  explicit NetworkLayer(const LayerShape& s)
      : shape_(s), to_small_(cuda::tap_geometry(s, true)), to_large_(cuda::tap_geometry(s, false)) {}

  void forward(int64_t n, const T* w, const T* b, const T* x, T* y, T* pre) {
    if (!shape_.dense()) return product(n, !shape_.transposed, w, b, x, y, pre, false);
    dense(n, !shape_.transposed, w, x, y, false);
    with_activation(shape_.activation, [&](auto known) {
      constexpr Activation kind = decltype(known)::value;
      Cuda::map(n * shape_.outputs(), cuda::BiasActivation<T, kind>{y, pre, b, shape_.channels()});
    });
  }
  void pull_input(int64_t n, const T* w, const T* g, T* d_x, bool add) {
    shape_.dense() ? dense(n, shape_.transposed, w, g, d_x, add)
                   : product(n, shape_.transposed, w, nullptr, g, d_x, nullptr, add);
  }
  const T* pull_activation(int64_t n, const T* d, const T* y, T* g, T* d_bias) {
    const int64_t columns = shape_.channels(), rows = n * shape_.pixels();
    double* partial = sums_.reserve(cuda::tap_pull_size<T>(rows, columns));
    cuda::tap_pull(cuda::TapPull<T>{rows, columns, d, y, g, d_bias, partial, shape_.activation});
    return shape_.activation == Activation::linear ? d : g;
  }
  void pull_weights(int64_t n, const T* x, const T* g, T* d_w) {
    const T *large = shape_.transposed ? g : x, *small = shape_.transposed ? x : g;
    const int64_t c = shape_.large_channels, f = shape_.small_channels;
    if (shape_.dense()) return Cuda::Blas<T>::gemm('N', 'T', f, c, n, T(1), small, f, large, c, T(0), d_w, f);
    // The side that is not gathered should have channels to fill a tile.
    const bool turned = f < kNarrow && f < c;
    cuda::TapOuter<T> task = turned ? outer(n, to_large_, f, c, small, large, d_w) : outer(n, to_small_, c, f, large, small, d_w);
    const int64_t splits = cuda::tap_outer_splits(task);
    if (splits > 1) task.partial = partial_.reserve(splits * shape_.weights());
    cuda::tap_outer(task);
  }

 private:
  static constexpr int64_t kNarrow = 16;

  static cuda::TapOuter<T> outer(int64_t n, const TapGeometry& shape, int64_t depth, int64_t columns, const T* in, const T* target,
                                 T* d_w) {
    return {shape, static_cast<int>(depth), static_cast<int>(columns), n, in, target, nullptr, d_w};
  }
  // The small image from the large one, or the other way round.
  void product(int64_t n, bool to_small, const T* w, const T* bias, const T* in, T* out, T* pre, bool add) {
    const int64_t depth = to_small ? shape_.large_channels : shape_.small_channels;
    const int64_t columns = to_small ? shape_.small_channels : shape_.large_channels;
    if (!cuda::tap_aligned(w) && cuda::tap_vectors<T>(depth)) {  // a layer before has an odd number of parameters
      T* copy = weights_.reserve(shape_.weights());
      Cuda::copy(w, copy, shape_.weights());
      w = copy;
    }
    const TapGeometry& shape = to_small ? to_small_ : to_large_;
    cuda::tap_product(cuda::TapProduct<T>{shape, static_cast<int>(depth), static_cast<int>(columns), n, in, w, bias, out, pre,
                                          shape_.activation, add});
  }
  void dense(int64_t n, bool to_small, const T* w, const T* in, T* out, bool add) {
    const int64_t c = shape_.large_channels, f = shape_.small_channels;
    to_small ? Cuda::Blas<T>::gemm('N', 'N', f, n, c, T(1), w, f, in, c, T(add), out, f)
             : Cuda::Blas<T>::gemm('T', 'N', c, n, f, T(1), w, f, in, f, T(add), out, c);
  }

  LayerShape shape_;
  TapGeometry to_small_, to_large_;
  CudaBuffer<T> partial_, weights_;
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

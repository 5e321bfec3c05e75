// Convolutions on the GPU (csrc/cuda/taps_*.cu): products over taps, their outer products, and what stands around them. All is
// enqueued on the present stream; nothing is allocated here, and no result depends on how blocks are scheduled.
#pragma once

#include <cstdint>

#include "core/activation.hpp"
#include "device/tap_axis.hpp"

namespace lvm::cuda {

// out[pixel, j] = sigma(bias[j] + sum over taps and k of in[source, k] w[tap, k, j]) of n images; w is (taps, depth, columns), or
// (taps, columns, depth) where `in` is the small image. Without a bias: no activation either.
template <class T>
struct TapProduct {
  TapGeometry shape;
  int depth, columns;
  int64_t n;
  const T *in, *weights, *bias;
  T *out, *pre;  // pre: what goes into the activation, or null
  Activation activation;
  int64_t add;  // to out, without a bias
};

// d_w[tap, k, j] = the sum over n images' pixels of in[source, k] target[pixel, j], in the layout that TapProduct has for w.
template <class T>
struct TapOuter {
  TapGeometry shape;
  int depth, columns;
  int64_t n;
  const T *in, *target;
  T* partial;  // (tap_outer_splits, taps, depth, columns); not used for one split
  T* d_w;
};

// g = d sigma'(y), of a gelu y is what went into it; d_bias[j] = the sum of column j of g. linear: g is not written.
template <class T>
struct TapPull {
  int64_t rows, columns;
  const T *d, *y;
  T *g, *d_bias;
  double* partial;  // tap_pull_size numbers
  Activation activation;
};

// What may be asked for in tests; else the sizes choose.
enum class TapKernel : int { any, wide, tall, small, few_inputs, few_outputs };

template <class T>
void tap_product(const TapProduct<T>& task, TapKernel kernel = TapKernel::any);
template <class T>
int64_t tap_outer_splits(const TapOuter<T>& task);  // of the sizes alone
template <class T>
void tap_outer(const TapOuter<T>& task);
template <class T>
int64_t tap_pull_size(int64_t rows, int64_t columns);
template <class T>
void tap_pull(const TapPull<T>& task);

// Whether 16 bytes at a time can be read; weights that begin elsewhere are worth a copy where the sizes allow it.
template <class T>
constexpr bool tap_vectors(int64_t channels) { return channels % (16 / static_cast<int64_t>(sizeof(T))) == 0; }
inline bool tap_aligned(const void* at) { return reinterpret_cast<uintptr_t>(at) % 16 == 0; }

}  // namespace lvm::cuda

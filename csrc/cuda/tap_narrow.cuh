// Convolutions from one channel, and to a few: a tile of sums would be mostly zeros. The weights lie in shared memory.
#pragma once

#include "cuda/tap_tile.cuh"
#include "cuda/tap_products.cuh"

namespace lvm::cuda::taps {

constexpr int kNarrowThreads = 256;
constexpr int kNarrowPixels = 256;  // of a block, that follow one another
constexpr int kFewColumns = 4;

LVM_HD int whole_vectors(int columns, int size) { return (columns + size - 1) / size * size; }

// One channel: a thread has the 16 bytes of a pixel's columns that are its lane's, so that a warp writes whole lines.
template <class T>
__global__ void __launch_bounds__(kNarrowThreads) few_inputs_kernel(const TapProduct<T> task) {
  LVM_SHARED(bytes);
  constexpr int kSize = Vec<T>::kSize;
  T* weights = reinterpret_cast<T*>(bytes);  // (taps, pitch)
  const TapAxis rows = task.shape.row_axis(static_cast<int>(blockIdx.z)), cols = task.shape.col_axis(static_cast<int>(blockIdx.z));
  const int64_t all = task.n * rows.count * cols.count, first = int64_t(blockIdx.x) * kNarrowPixels;
  if (first >= all) return;
  const int pitch = whole_vectors(task.columns, kSize), lanes = pitch / kSize, taps = rows.taps * cols.taps;
  for (int e = static_cast<int>(threadIdx.x); e < taps * pitch; e += kNarrowThreads) {
    const Term term{e / pitch / cols.taps, e / pitch % cols.taps, 0};
    const int j = e % pitch;
    weights[e] = j < task.columns ? task.weights[int64_t(term.tap(task.shape, rows, cols)) * task.columns + j] : T(0);
  }
  __syncthreads();
  const int count = static_cast<int>(all - first < kNarrowPixels ? all - first : kNarrowPixels);
  const Pixel start = Pixel::of(first, rows, cols);
  for (int e = static_cast<int>(threadIdx.x); e < count * lanes; e += kNarrowThreads) {
    const int lane = e % lanes;
    const Pixel p = start.plus(e / lanes, rows, cols);
    const T* image = task.in + p.image * task.shape.source_pixels();
    T sum[kSize] = {};
    const T* w = weights + lane * kSize;
    for (int a = 0; a < rows.taps; ++a) {
      const int i = rows.source(p.row, a);
      for (int b = 0; b < cols.taps; ++b, w += pitch) {
        const int j = cols.source(p.col, b);
        const T x = rows.inside(i) && cols.inside(j) ? image[i * cols.extent + j] : T(0);
        const Vec<T> some = load_vector(w);
        LVM_UNROLL for (int v = 0; v < kSize; ++v) sum[v] += x * some.x[v];
      }
    }
    const int64_t to = p.target(task.shape, rows, cols) * task.columns + lane * kSize;
    LVM_UNROLL for (int v = 0; v < kSize; ++v) {
      if (lane * kSize + v < task.columns) finish(task, to + v, lane * kSize + v, sum[v]);
    }
  }
}

// A few columns: 2^shift lanes share a pixel's channels and add their sums at last, always in the same order.
template <class T, int kColumns, bool kVec>
__global__ void __launch_bounds__(kNarrowThreads) few_outputs_kernel(const TapProduct<T> task, const int shift) {
  LVM_SHARED(bytes);
  constexpr int kSize = kVec ? Vec<T>::kSize : 1;
  T* weights = reinterpret_cast<T*>(bytes);  // (kColumns, taps, depth)
  const TapAxis rows = task.shape.row_axis(static_cast<int>(blockIdx.z)), cols = task.shape.col_axis(static_cast<int>(blockIdx.z));
  const int64_t all = task.n * rows.count * cols.count, first = int64_t(blockIdx.x) * kNarrowPixels;
  if (first >= all) return;
  const int terms = rows.taps * cols.taps * task.depth, lanes = 1 << shift;
  for (int e = static_cast<int>(threadIdx.x); e < terms * kColumns; e += kNarrowThreads) {
    const int c = e / terms;
    const Term term = Term::of(e % terms, cols, task.depth);
    const int64_t tap = int64_t(term.tap(task.shape, rows, cols)) * task.depth * task.columns;
    const int64_t at = task.shape.to_small ? int64_t(term.channel) * task.columns + c : int64_t(c) * task.depth + term.channel;
    weights[e] = c < task.columns ? task.weights[tap + at] : T(0);
  }
  __syncthreads();
  const int lane = static_cast<int>(threadIdx.x) & (lanes - 1), group = static_cast<int>(threadIdx.x) >> shift;
  const int count = static_cast<int>(all - first < kNarrowPixels ? all - first : kNarrowPixels);
  const Pixel start = Pixel::of(first, rows, cols);
  for (int pixel = group; pixel < kNarrowPixels; pixel += kNarrowThreads >> shift) {  // as often for all lanes of a warp
    const Pixel p = start.plus(pixel, rows, cols);
    const T* image = task.in + p.image * task.shape.source_pixels() * task.depth;
    T sum[kColumns] = {};
    for (int a = 0; a < rows.taps; ++a) {
      const int i = rows.source(p.row, a);
      for (int b = 0; b < cols.taps; ++b) {
        const int j = cols.source(p.col, b);
        if (pixel >= count || !rows.inside(i) || !cols.inside(j)) continue;
        const T* x = image + (i * cols.extent + j) * task.depth;
        const T* w = weights + (a * cols.taps + b) * task.depth;
        for (int k = lane * kSize; k < task.depth; k += lanes * kSize) {
          if constexpr (kVec) {
            const Vec<T> some = load_vector(x + k);
            LVM_UNROLL for (int c = 0; c < kColumns; ++c) {
              const Vec<T> by = load_vector(w + c * terms + k);
              LVM_UNROLL for (int v = 0; v < kSize; ++v) sum[c] += some.x[v] * by.x[v];
            }
          } else {
            LVM_UNROLL for (int c = 0; c < kColumns; ++c) sum[c] += x[k] * w[c * terms + k];
          }
        }
      }
    }
    LVM_UNROLL for (int c = 0; c < kColumns; ++c) {
      for (int far = lanes / 2; far > 0; far /= 2) sum[c] += __shfl_xor_sync(0xffffffffu, sum[c], far);
    }
    if (lane > 0 || pixel >= count) continue;
    const int64_t to = p.target(task.shape, rows, cols) * task.columns;
    LVM_UNROLL for (int c = 0; c < kColumns; ++c) {
      if (c < task.columns) finish(task, to + c, c, sum[c]);
    }
  }
}

template <class T>
int64_t few_inputs_bytes(const TapProduct<T>& task) {
  return int64_t(task.shape.taps()) * whole_vectors(task.columns, Vec<T>::kSize) * static_cast<int64_t>(sizeof(T));
}
template <class T>
int64_t few_outputs_bytes(const TapProduct<T>& task) {
  return int64_t(task.shape.taps()) * task.depth * (task.columns > 1 ? kFewColumns : 1) * static_cast<int64_t>(sizeof(T));
}

template <class T>
dim3 narrow_grid(const TapProduct<T>& task) {
  const int64_t blocks = (task.n * task.shape.most_pixels() + kNarrowPixels - 1) / kNarrowPixels;
  return dim3(static_cast<unsigned>(blocks), 1, static_cast<unsigned>(task.shape.phases()));
}

template <class T>
void few_inputs(const TapProduct<T>& task) {
  LVM_LAUNCH((few_inputs_kernel<T>), narrow_grid(task), kNarrowThreads, few_inputs_bytes(task), cuda_context().stream, task);
  check_launch("convolution");
}

template <class T, int kColumns, bool kVec>
void few_outputs_of(const TapProduct<T>& task) {
  int shift = 0;
  while (shift < 5 && (Vec<T>::kSize << shift) < task.depth) ++shift;
  LVM_LAUNCH((few_outputs_kernel<T, kColumns, kVec>), narrow_grid(task), kNarrowThreads, few_outputs_bytes(task),
             cuda_context().stream, task, shift);
  check_launch("convolution");
}
template <class T>
void few_outputs(const TapProduct<T>& task) {
  const bool vec = tap_vectors<T>(task.depth) && tap_aligned(task.in);
  if (task.columns > 1) {
    vec ? few_outputs_of<T, kFewColumns, true>(task) : few_outputs_of<T, kFewColumns, false>(task);
  } else {
    vec ? few_outputs_of<T, 1, true>(task) : few_outputs_of<T, 1, false>(task);
  }
}

}  // namespace lvm::cuda::taps

// Loops over functors: a map, sums in a fixed order, the first of many, and small things that an algorithm needs on the way.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cuda/launch.cuh"
#include "device/cuda_context.hpp"
#include "device/leaf_map.hpp"

namespace lvm::cuda {

constexpr int kThreads = 256;

inline int64_t blocks_for(int64_t n, int64_t most) { return std::max<int64_t>(1, std::min((n + kThreads - 1) / kThreads, most)); }

template <class F>
__global__ void __launch_bounds__(kThreads) map_kernel(int64_t n, F f) {
  const int64_t step = int64_t(gridDim.x) * kThreads;
  for (int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x; i < n; i += step) f(i);
}

template <class F>
void map(int64_t n, const F& f) {
  if (n <= 0) return;
  const unsigned blocks = static_cast<unsigned>(blocks_for(n, int64_t(cuda_context().processors) * 32));
  LVM_LAUNCH((map_kernel<F>), blocks, kThreads, 0, cuda_context().stream, n, f);
  check_launch("map");
}

// The sum of the block's values, in thread 0. shared: kThreads numbers.
__device__ inline double block_sum(double value, double* shared) {
  shared[threadIdx.x] = value;
  __syncthreads();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (static_cast<int>(threadIdx.x) < half) shared[threadIdx.x] += shared[threadIdx.x + half];
    __syncthreads();
  }
  const double total = shared[0];
  __syncthreads();
  return total;
}

// Block (b, w): part b of the sum w. One part: straight to its place.
template <class F>
__global__ void __launch_bounds__(kThreads) sums_kernel(int64_t width, int64_t n, F f, double* partial, double* out, bool add) {
  LVM_SHARED(bytes);
  double* shared = reinterpret_cast<double*>(bytes);
  for (int64_t w = blockIdx.y; w < width; w += gridDim.y) {
    double sum = 0;
    for (int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x; i < n; i += int64_t(gridDim.x) * kThreads) sum += f(w, i);
    sum = block_sum(sum, shared);
    if (threadIdx.x > 0) continue;
    if (gridDim.x == 1) {
      out[w] = add ? out[w] + sum : sum;
    } else {
      partial[w * gridDim.x + blockIdx.x] = sum;
    }
  }
}

struct PartialSum {
  const double* partial;
  int64_t parts;
  __device__ double operator()(int64_t w, int64_t i) const { return partial[w * parts + i]; }
};

template <class F, class Buffer>
void sums(int64_t width, int64_t n, const F& f, double* out, bool add, Buffer& partial) {
  if (width <= 0) return;
  const int64_t parts = std::max<int64_t>(1, std::min<int64_t>(n / (4 * kThreads), 256));  // of n alone: so are the bits
  double* to = parts > 1 ? partial.reserve(width * parts) : nullptr;
  const dim3 grid(static_cast<unsigned>(parts), static_cast<unsigned>(std::min<int64_t>(width, 65535)));
  const cudaStream_t stream = cuda_context().stream;
  LVM_LAUNCH((sums_kernel<F>), grid, kThreads, kThreads * sizeof(double), stream, width, n, f, to, out, add);
  check_launch("sums");
  if (parts == 1) return;
  const dim3 last(1, grid.y);
  LVM_LAUNCH((sums_kernel<PartialSum>), last, kThreads, kThreads * sizeof(double), stream, width, parts, PartialSum{to, parts},
             static_cast<double*>(nullptr), out, add);
  check_launch("sums");
}

// One block: the least i with f(i).
template <class F>
__global__ void __launch_bounds__(kThreads) first_kernel(int64_t n, F f, int* failure) {
  LVM_SHARED(bytes);
  int* first = reinterpret_cast<int*>(bytes);
  int own = 0x7fffffff;
  for (int64_t i = threadIdx.x; i < n && own == 0x7fffffff; i += kThreads) {
    if (f(i)) own = static_cast<int>(i);
  }
  first[threadIdx.x] = own;
  __syncthreads();
  if (threadIdx.x > 0 || *failure != 0) return;
  for (int t = 0; t < kThreads; ++t) own = first[t] < own ? first[t] : own;
  if (own != 0x7fffffff) *failure = own + 1;
}

template <class F>
void note_first(int64_t n, const F& f, int* failure) {
  LVM_LAUNCH((first_kernel<F>), 1, kThreads, kThreads * sizeof(int), cuda_context().stream, n, f, failure);
  check_launch("first");
}

// Median of a column of x (n, q), of at most 65 rows that lie evenly: a block per column, and for every value the number of
// those before it.
template <class T>
__global__ void column_centre_kernel(const T* x, int64_t n, int64_t q, double* centre) {
  LVM_SHARED(bytes);
  double* column = reinterpret_cast<double*>(bytes);
  const int count = static_cast<int>(n < 65 ? n : 65), t = static_cast<int>(threadIdx.x);
  for (int64_t k = blockIdx.x; k < q; k += gridDim.x) {
    if (t < count) {
      const double value = static_cast<double>(x[t * n / count * q + k]);
      column[t] = isfinite(value) ? value : 0.0;
    }
    __syncthreads();
    if (t < count) {
      int before = 0;
      for (int s = 0; s < count; ++s) before += column[s] < column[t] || (column[s] == column[t] && s < t);
      if (before == count / 2) centre[k] = column[t];
    }
    __syncthreads();
  }
}

template <class T>
void column_centres(const T* x, int64_t n, int64_t q, double* centre) {
  if (q == 0) return;
  if (n == 0) {
    check_cuda(cudaMemsetAsync(centre, 0, q * sizeof(double), cuda_context().stream), "cudaMemsetAsync");
    return;
  }
  const unsigned blocks = static_cast<unsigned>(std::min<int64_t>(q, 65535));
  LVM_LAUNCH((column_centre_kernel<T>), blocks, 96, 65 * sizeof(double), cuda_context().stream, x, n, q, centre);
  check_launch("column_centres");
}

// What pair kernels read of every leaf: its variance and its shape.
template <class T>
struct LeafNumbers {
  const LeafMap* maps;
  T* numbers;
  LVM_HD void operator()(int64_t l) const {
    numbers[2 * l] = static_cast<T>(maps[l].variance());
    numbers[2 * l + 1] = static_cast<T>(maps[l].shape());
  }
};

// Triangles of row-major square matrices, entry by entry.
template <class T>
struct CopyLower {
  const T* from;
  T* to;
  int64_t n;
  LVM_HD void operator()(int64_t at) const { to[at] = at % n <= at / n ? from[at] : T(0); }
};
template <class F>
struct Entries {
  F f;
  int64_t rows;
  LVM_HD void operator()(int64_t at) const { f(at % rows, at / rows); }
};
template <class T>
struct MirrorLower {
  T* a;
  int64_t n, stride;
  LVM_HD void operator()(int64_t at) const {
    const int64_t i = at / n, j = at % n;
    if (j > i) a[i * stride + j] = a[j * stride + i];
  }
};
template <class T>
struct Symmetrise {
  T* a;
  int64_t n;
  LVM_HD void operator()(int64_t at) const {
    const int64_t i = at / n, j = at % n;
    if (j < i) a[at] = a[j * n + i] = T(0.5) * (a[at] + a[j * n + i]);
  }
};

}  // namespace lvm::cuda

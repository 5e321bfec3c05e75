// Random draws on the GPU: one thread to a Philox block, by the scalar form of csrc/core/draws.hpp.
//
// The same counters and keys as on the CPU, so that draw i is the same there, up to the rounding of the logarithm.
#pragma once

#include "core/draws.hpp"
#include "cuda/launch.cuh"

namespace lvm::cuda {

constexpr int kFillThreads = 256;
constexpr int64_t kMostFillGroups = int64_t(1) << 16;  // more blocks than that are taken in turns

// The draws of a block, stored as one where they are aligned to their 16 bytes.
template <class T>
struct alignas(16) BlockOf {
  T x[kDrawsPerBlock<T>];
};

// out[i] = draw start + i for i in [0, n)
template <Distribution D, class T>
__global__ void fill_random_kernel(T* out, int64_t n, int64_t start, uint64_t seed) {
  constexpr int K = kDrawsPerBlock<T>;
  const int64_t first = start / K, blocks = (start + n - 1) / K - first + 1;
  const int64_t step = int64_t(gridDim.x) * blockDim.x;
  const bool aligned = start % K == 0 && reinterpret_cast<uintptr_t>(out) % 16 == 0;
  for (int64_t b = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; b < blocks; b += step) {
    BlockOf<T> draws;
    draws_of_block<D>(philox_at(seed, uint64_t(first + b), 0, uint32_t(D)), draws.x);
    const int64_t i = (first + b) * K - start;
    if (aligned && i + K <= n) {
      *reinterpret_cast<BlockOf<T>*>(out + i) = draws;
      continue;
    }
    for (int j = 0; j < K; ++j) {
      if (i + j >= 0 && i + j < n) out[i + j] = draws.x[j];
    }
  }
}

// The caller looks at cudaGetLastError.
template <Distribution D, class T>
void fill_random(cudaStream_t stream, T* out, int64_t n, int64_t start, uint64_t seed) {
  if (n == 0) return;
  const int64_t per_group = int64_t(kFillThreads) * kDrawsPerBlock<T>;
  const int64_t groups = n / per_group + 1;
  const dim3 grid(unsigned(groups < kMostFillGroups ? groups : kMostFillGroups)), block(kFillThreads);
  LVM_LAUNCH((fill_random_kernel<D, T>), grid, block, 0, stream, out, n, start, seed);
}

template <class T>
void fill_uniform(cudaStream_t stream, T* out, int64_t n, int64_t start, uint64_t seed) {
  fill_random<Distribution::uniform>(stream, out, n, start, seed);
}
template <class T>
void fill_normal(cudaStream_t stream, T* out, int64_t n, int64_t start, uint64_t seed) {
  fill_random<Distribution::normal>(stream, out, n, start, seed);
}
template <class T>
void fill_exponential(cudaStream_t stream, T* out, int64_t n, int64_t start, uint64_t seed) {
  fill_random<Distribution::exponential>(stream, out, n, start, seed);
}
// T = uint64_t or uint32_t
template <class T>
void fill_bits(cudaStream_t stream, T* out, int64_t n, int64_t start, uint64_t seed) {
  fill_random<Distribution::bits>(stream, out, n, start, seed);
}

}  // namespace lvm::cuda

// Sums of parts in a fixed order, many to a thread where there are many.
#pragma once

#include <cstdint>

#include "cuda/launch.cuh"
#include "device/cuda_context.hpp"

namespace lvm::cuda::taps {

constexpr int kSumWidth = 32, kSumLanes = 16;

// to[i] = the sum over parts of partial[part, i], in double: a lane has every 16th part.
template <class From, class To>
__global__ void __launch_bounds__(kSumWidth* kSumLanes) part_sums_kernel(const From* partial, int64_t parts, int64_t size, To* to) {
  LVM_SHARED(bytes);
  double* sums = reinterpret_cast<double*>(bytes);
  const int t = static_cast<int>(threadIdx.x), lane = t / kSumWidth;
  const int64_t i = int64_t(blockIdx.x) * kSumWidth + t % kSumWidth;
  double sum = 0;
  for (int64_t part = i < size ? lane : parts; part < parts; part += kSumLanes) {
    sum += static_cast<double>(partial[part * size + i]);
  }
  sums[t] = sum;
  __syncthreads();
  if (lane > 0 || i >= size) return;
  for (int l = 1; l < kSumLanes; ++l) sum += sums[l * kSumWidth + t];
  to[i] = static_cast<To>(sum);
}

template <class From, class To>
void part_sums(const From* partial, int64_t parts, int64_t size, To* to) {
  const unsigned blocks = static_cast<unsigned>((size + kSumWidth - 1) / kSumWidth);
  LVM_LAUNCH((part_sums_kernel<From, To>), blocks, kSumWidth * kSumLanes, kSumWidth * kSumLanes * sizeof(double),
             cuda_context().stream, partial, parts, size, to);
  check_launch("sums of parts");
}

}  // namespace lvm::cuda::taps

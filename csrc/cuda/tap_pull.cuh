// The pull-back of a layer's bias and activation in one pass: g = d sigma'(y), and the sums of its columns.
#pragma once

#include <algorithm>

#include "cuda/tap_sums.cuh"
#include "device/cuda_taps.hpp"

namespace lvm::cuda::taps {

constexpr int kPullThreads = 256;

// Parts of the rows: of the sizes alone, so are the bits.
inline int64_t pull_parts(int64_t rows, int64_t columns) { return std::clamp<int64_t>(rows * columns >> 13, 1, 512); }

// Block (part, columns): a thread has every few rows of one column.
template <class T, Activation kind>
__global__ void __launch_bounds__(kPullThreads) pull_kernel(const TapPull<T> task) {
  LVM_SHARED(bytes);
  double* sums = reinterpret_cast<double*>(bytes);
  const int64_t first = int64_t(blockIdx.y) * kPullThreads, parts = gridDim.x, part = blockIdx.x;
  const int width = static_cast<int>(task.columns - first < kPullThreads ? task.columns - first : kPullThreads);
  const int lines = kPullThreads / width, t = static_cast<int>(threadIdx.x), line = t / width, column = t % width;
  const int64_t begin = task.rows * part / parts, end = task.rows * (part + 1) / parts;
  double sum = 0;
  for (int64_t row = line < lines ? begin + line : end; row < end; row += lines) {
    const int64_t at = row * task.columns + first + column;
    T g = task.d[at];
    if constexpr (kind != Activation::linear) task.g[at] = g = activation_pull<kind>(g, task.y[at]);
    sum += static_cast<double>(g);
  }
  sums[t] = sum;
  __syncthreads();
  if (line > 0) return;
  for (int l = 1; l < lines; ++l) sum += sums[l * width + column];
  task.partial[part * task.columns + first + column] = sum;
}

template <class T>
void pull(const TapPull<T>& task) {
  const int64_t parts = pull_parts(task.rows, task.columns);
  const dim3 grid(static_cast<unsigned>(parts), static_cast<unsigned>((task.columns + kPullThreads - 1) / kPullThreads));
  with_activation(task.activation, [&](auto known) {
    constexpr Activation kind = decltype(known)::value;
    LVM_LAUNCH((pull_kernel<T, kind>), grid, kPullThreads, kPullThreads * sizeof(double), cuda_context().stream, task);
  });
  check_launch("pull-back of an activation");
  part_sums(task.partial, parts, task.columns, task.d_bias);
}

}  // namespace lvm::cuda::taps

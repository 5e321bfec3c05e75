// Polya-gamma draws on the GPU: one thread to a draw, by the scalar functions of csrc/core/polya_gamma.hpp.
#pragma once

#include "core/polya_gamma.hpp"
#include "cuda/launch.cuh"

namespace lvm::cuda {

constexpr int kPolyaGammaThreads = 128;
constexpr int64_t kMostPolyaGammaGroups = int64_t(1) << 16;

// out[i] = draw start + i of PG(b[i % b_period], z[i % z_period])
template <class T>
__global__ void polya_gamma_kernel(T* out, int64_t n, int64_t start, uint64_t seed, const T* b, int64_t b_period,
                                   const T* z, int64_t z_period, const PolyaGammaTables* tables) {
  const int64_t step = int64_t(gridDim.x) * blockDim.x;
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    const int64_t b_at = b_period == 1 ? 0 : i % b_period, z_at = z_period >= n ? i : i % z_period;
    out[i] = T(polya_gamma_draw(*tables, double(b[b_at]), double(z[z_at]), seed, uint64_t(start + i)));
  }
}

// The caller looks at cudaGetLastError.
template <class T>
void fill_polya_gamma(cudaStream_t stream, T* out, int64_t n, int64_t start, uint64_t seed, const T* b, int64_t b_period,
                      const T* z, int64_t z_period, const PolyaGammaTables* tables) {
  if (n == 0) return;
  const int64_t groups = (n + kPolyaGammaThreads - 1) / kPolyaGammaThreads;
  const dim3 grid(unsigned(groups < kMostPolyaGammaGroups ? groups : kMostPolyaGammaGroups)), block(kPolyaGammaThreads);
  LVM_LAUNCH((polya_gamma_kernel<T>), grid, block, 0, stream, out, n, start, seed, b, b_period, z, z_period, tables);
}

}  // namespace lvm::cuda

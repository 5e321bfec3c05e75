// Polya-gamma draws on the GPU, compiled once in csrc/cuda/polya_gamma.cu.
#pragma once

#include <cstdint>

namespace lvm {

template <class T>
void cuda_fill_polya_gamma(T* out, int64_t n, int64_t start, uint64_t seed, const T* b, int64_t b_period, const T* z,
                           int64_t z_period);

}  // namespace lvm

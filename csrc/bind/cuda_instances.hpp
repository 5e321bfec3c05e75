// What csrc/cuda/*.cu has compiled already, for the files that bind it.
#pragma once

#include "algo/cuda_linalg.hpp"
#include "bind/view_cuda.hpp"
#include "device/cuda.hpp"

namespace lvm {

extern template class CudaGram<double>;
extern template class CudaGram<float>;
extern template void cuda_cholesky_update_batched<double>(const CudaUpdate<double>&, int64_t, const int64_t*, const int64_t*,
                                                          const int64_t*, int64_t*);
extern template void cuda_cholesky_update_batched<float>(const CudaUpdate<float>&, int64_t, const int64_t*, const int64_t*,
                                                         const int64_t*, int64_t*);

}  // namespace lvm

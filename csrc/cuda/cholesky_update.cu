// Cholesky updates on the GPU, compiled once.
#include "cuda/cholesky_update.cuh"

namespace lvm {

template void cuda_cholesky_update_batched<double>(const CudaUpdate<double>&, int64_t, const int64_t*, const int64_t*,
                                                   const int64_t*, int64_t*);
template void cuda_cholesky_update_batched<float>(const CudaUpdate<float>&, int64_t, const int64_t*, const int64_t*,
                                                  const int64_t*, int64_t*);

}  // namespace lvm

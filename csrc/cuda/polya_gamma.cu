// The tables on every GPU that asks for them, and the draws.
#include <map>
#include <mutex>

#include "cuda/polya_gamma.cuh"
#include "device/cuda_context.hpp"
#include "device/cuda_polya_gamma.hpp"
#include "device/polya_gamma_tables.hpp"

namespace lvm {
namespace {

// Copied at the first use on a device, and kept to the end of the process: the memory is not the pool's.
const PolyaGammaTables* tables_on(int device) {
  static std::mutex mutex;
  static std::map<int, PolyaGammaTables*> tables;
  const std::lock_guard<std::mutex> lock(mutex);
  PolyaGammaTables*& there = tables[device];
  if (!there) {
    PolyaGammaTables* fresh = nullptr;
    check_cuda(cudaMalloc(&fresh, sizeof(PolyaGammaTables)), "cudaMalloc");
    const cudaError_t error = cudaMemcpy(fresh, &polya_gamma_tables(), sizeof(PolyaGammaTables), cudaMemcpyHostToDevice);
    if (error != cudaSuccess) cudaFree(fresh);
    check_cuda(error, "cudaMemcpy");
    there = fresh;
  }
  return there;
}

}  // namespace

template <class T>
void cuda_fill_polya_gamma(T* out, int64_t n, int64_t start, uint64_t seed, const T* b, int64_t b_period, const T* z,
                           int64_t z_period) {
  const CudaContext& context = cuda_context();
  cuda::fill_polya_gamma(context.stream, out, n, start, seed, b, b_period, z, z_period, tables_on(context.device));
  check_launch("fill_polya_gamma");
}

template void cuda_fill_polya_gamma<double>(double*, int64_t, int64_t, uint64_t, const double*, int64_t, const double*,
                                            int64_t);
template void cuda_fill_polya_gamma<float>(float*, int64_t, int64_t, uint64_t, const float*, int64_t, const float*,
                                           int64_t);

}  // namespace lvm

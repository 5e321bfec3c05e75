// Convolutions on the GPU, compiled once: float64.
#include "cuda/taps.cuh"

namespace lvm::cuda {

template void tap_product<double>(const TapProduct<double>&, TapKernel);
template int64_t tap_outer_splits<double>(const TapOuter<double>&);
template void tap_outer<double>(const TapOuter<double>&);
template int64_t tap_pull_size<double>(int64_t, int64_t);
template void tap_pull<double>(const TapPull<double>&);

}  // namespace lvm::cuda

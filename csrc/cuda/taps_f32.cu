// Convolutions on the GPU, compiled once: float32.
#include "cuda/taps.cuh"

namespace lvm::cuda {

template void tap_product<float>(const TapProduct<float>&, TapKernel);
template int64_t tap_outer_splits<float>(const TapOuter<float>&);
template void tap_outer<float>(const TapOuter<float>&);
template int64_t tap_pull_size<float>(int64_t, int64_t);
template void tap_pull<float>(const TapPull<float>&);

}  // namespace lvm::cuda

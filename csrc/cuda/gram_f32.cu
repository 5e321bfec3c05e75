// Kernel matrices on the GPU, compiled once: float32.
#include "device/cuda_gram.hpp"

template class lvm::CudaGram<float>;

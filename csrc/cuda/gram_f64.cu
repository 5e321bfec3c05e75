// Kernel matrices on the GPU, compiled once: float64.
#include "device/cuda_gram.hpp"

template class lvm::CudaGram<double>;

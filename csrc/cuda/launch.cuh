// The CUDA language as the kernels here use it, so that tests/shim can run the same sources on the host: launches and
// shared memory have names of their own, and all shared memory is dynamic.
#pragma once

#include "core/config.hpp"

#if defined(LVM_SHIM)
#include "shim.hpp"
#else
#include <cuda_runtime.h>

// kernel<<<grid, block, shared bytes, stream>>>(arguments); a template's name stands in parentheses.
#define LVM_LAUNCH(kernel, grid, block, shared, stream, ...) kernel<<<grid, block, shared, stream>>>(__VA_ARGS__)
// The block's shared memory as `unsigned char* name`, aligned to 16 bytes.
#define LVM_SHARED(name) extern __shared__ __align__(16) unsigned char name[]
// What a thread does between two looks at memory that another block is to write.
#define LVM_SPIN() __nanosleep(20)
#endif

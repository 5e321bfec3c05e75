// Kernels with and without mistakes, to test the shim itself.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <utility>
#include <vector>

#include "bind/bind_runtime.hpp"
#include "bind_shim.hpp"
#include "cuda/launch.cuh"
#include "device/cuda_libraries.hpp"
#include "test_calls.hpp"

namespace lvm {

CudaLibraries& cuda_libraries() {
  static CudaLibraries libraries{};
  return libraries;
}

}  // namespace lvm

namespace {

// The sum of each block's values, by way of shared memory; without the barrier if Careless.
template <class T, bool Careless>
__global__ void __launch_bounds__(1024) sum_kernel(int64_t n, const T* __restrict__ x, T* __restrict__ sums) {
  LVM_SHARED(raw);
  T* part = reinterpret_cast<T*>(raw);
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  part[threadIdx.x] = i < n ? __ldg(x + i) : T(0);
  __syncthreads();
  for (unsigned half = blockDim.x / 2; half; half /= 2) {
    if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
    if (!Careless) __syncthreads();
  }
  if (threadIdx.x == 0) sums[blockIdx.x] = part[0];
}

// The sum of a warp in every lane, by each kind of shuffle.
template <class T>
__global__ void shuffle_kernel(const T* x, T* out) {
  const unsigned all = 0xFFFFFFFFu;
  const int lane = threadIdx.x % 32;
  T by_xor = x[threadIdx.x], by_down = by_xor, by_up = by_xor;
  for (int step = 16; step; step /= 2) by_xor += __shfl_xor_sync(all, by_xor, step);
  for (int step = 16; step; step /= 2) by_down += __shfl_down_sync(all, by_down, step);
  for (int step = 1; step < 32; step *= 2) {
    const T other = __shfl_up_sync(all, by_up, step);
    if (lane >= step) by_up += other;
  }
  out[threadIdx.x] = by_xor;
  out[blockDim.x + threadIdx.x] = __shfl_sync(all, by_down, 0);
  out[2 * blockDim.x + threadIdx.x] = by_up;
  out[3 * blockDim.x + threadIdx.x] = __shfl_sync(all, x[threadIdx.x], lane + 1, 8);
}

__global__ void atomics_kernel(int* counts, double* total, unsigned long long* most) {
  atomicAdd(counts, 1);
  atomicMax(counts + 1, static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x));
  atomicAdd(total, 0.5);
  for (unsigned long long seen = *most; seen < threadIdx.x;) {  // a maximum by compare and swap
    const unsigned long long before = atomicCAS(most, seen, threadIdx.x);
    if (before == seen) break;
    seen = before;
  }
}

__global__ void ballot_kernel(unsigned* out) {
  const unsigned mask = threadIdx.x % 2 ? 0xAAAAAAAAu : 0x55555555u;
  out[threadIdx.x] = __ballot_sync(mask, threadIdx.x % 3 == 0);
}

// Blocks in the order of a ticket; each adds to what its predecessor left.
__global__ void chain_kernel(int* ticket, volatile int* flags, double* running) {
  LVM_SHARED(raw);
  int* mine = reinterpret_cast<int*>(raw);
  if (threadIdx.x == 0) *mine = atomicAdd(ticket, 1);
  __syncthreads();
  const int number = *mine;
  if (threadIdx.x == 0) {
    while (number && !flags[number - 1]) LVM_SPIN();
    __threadfence();
    running[number] = number ? __ldcg(running + number - 1) + number : 0;
    __threadfence();
    flags[number] = 1;
  }
}

__global__ void scale_kernel(int n, float factor, float* x) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) x[i] *= factor;
}

__global__ void write_kernel(int64_t at, double* x) { x[at] = 1; }

__global__ void shared_kernel(int at, double* out) {
  LVM_SHARED(raw);
  out[0] = reinterpret_cast<double*>(raw)[at];
}

__global__ void half_barrier_kernel(int* out) {
  if (threadIdx.x % 2) {
    while (!*static_cast<volatile int*>(out)) LVM_SPIN();
  }
  __syncthreads();
}

__global__ void two_barriers_kernel(int*) {
  if (threadIdx.x % 2) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

__global__ void empty_lanes_kernel(int* out) { out[threadIdx.x] = __shfl_sync(0xFFFFFFFFu, 7, 9); }

__global__ void barriers_kernel(double* out) {
  double x = threadIdx.x;
  for (int i = 0; i < 4; ++i) {
    x = x * 0.5 + 1;
    __syncthreads();
  }
  if (threadIdx.x == 0) out[blockIdx.x] = x;
}

struct View {
  int rows;
  const double* data;
};
__global__ void view_kernel(View view, double* out) { out[0] = view.data[0]; }

template <class T>
T* at(uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

std::string last_error() { return cudaGetErrorName(cudaGetLastError()); }

}  // namespace

PYBIND11_MODULE(_shim_kernels, m) {
  namespace py = pybind11;
  bind_shim(m);
  bind_calls(m);
  m.def("install_blas", [](const py::dict& blas, const py::dict& lapack) {
    lvm::bind::install_blas_of<double>(blas, lapack, "d");
    lvm::bind::install_blas_of<float>(blas, lapack, "s");
  });
  m.def("sums", [](int64_t n, uintptr_t x, uintptr_t sums, unsigned block, bool careless) {
    const unsigned grid = static_cast<unsigned>((n + block - 1) / block);
    if (careless) {
      LVM_LAUNCH((sum_kernel<double, true>), grid, block, block * sizeof(double), nullptr, n, at<double>(x),
                 at<double>(sums));
    } else {
      LVM_LAUNCH((sum_kernel<double, false>), grid, block, block * sizeof(double), nullptr, n, at<double>(x),
                 at<double>(sums));
    }
    return last_error();
  });
  m.def("shuffles", [](uintptr_t x, uintptr_t out, int threads, bool is_double) {
    if (is_double) {
      LVM_LAUNCH(shuffle_kernel<double>, 1, threads, 0, nullptr, at<double>(x), at<double>(out));
    } else {
      LVM_LAUNCH(shuffle_kernel<int>, 1, threads, 0, nullptr, at<int>(x), at<int>(out));
    }
    return last_error();
  });
  m.def("atomics", [](uintptr_t counts, uintptr_t total, uintptr_t most) {
    LVM_LAUNCH(atomics_kernel, 5, dim3(8, 4, 2), 0, nullptr, at<int>(counts), at<double>(total),
               at<unsigned long long>(most));
    return last_error();
  });
  m.def("ballot", [](uintptr_t out) {
    LVM_LAUNCH(ballot_kernel, 1, 32, 0, nullptr, at<unsigned>(out));
    return last_error();
  });
  m.def("chain", [](int blocks, uintptr_t ticket, uintptr_t flags, uintptr_t running) {
    LVM_LAUNCH(chain_kernel, blocks, 32, 16, nullptr, at<int>(ticket), at<int>(flags), at<double>(running));
    return last_error();
  });
  m.def("scale", [](int n, float factor, uintptr_t x, uintptr_t stream, unsigned threads, size_t shared) {
    LVM_LAUNCH(scale_kernel, (n + 31) / 32, threads, shared, at<CUstream_st>(stream), n, factor, at<float>(x));
    return last_error();
  }, py::arg("n"), py::arg("factor"), py::arg("x"), py::arg("stream") = 0, py::arg("threads") = 32,
        py::arg("shared") = 0);
  m.def("allow_shared", [](int bytes) {
    cudaFuncSetAttribute(scale_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    return last_error();
  });
  m.def("write", [](int64_t index, uintptr_t x) { LVM_LAUNCH(write_kernel, 1, 1, 0, nullptr, index, at<double>(x)); });
  m.def("read_shared", [](int index, size_t bytes, uintptr_t out) {
    LVM_LAUNCH(shared_kernel, 1, 1, bytes, nullptr, index, at<double>(out));
  });
  m.def("half_barrier", [](uintptr_t out) { LVM_LAUNCH(half_barrier_kernel, 1, 64, 0, nullptr, at<int>(out)); });
  m.def("two_barriers", [](uintptr_t out) { LVM_LAUNCH(two_barriers_kernel, 1, 64, 0, nullptr, at<int>(out)); });
  m.def("empty_lanes", [](uintptr_t out) { LVM_LAUNCH(empty_lanes_kernel, 1, 8, 0, nullptr, at<int>(out)); });
  m.def("barriers", [](unsigned blocks, unsigned threads, uintptr_t out) {
    LVM_LAUNCH(barriers_kernel, blocks, threads, 0, nullptr, at<double>(out));
  });
  m.def("view_of_host", [](uintptr_t out) {
    const double host = 1;
    LVM_LAUNCH(view_kernel, 1, 1, 0, nullptr, View{3, &host}, at<double>(out));
  });
  m.def("dereference", [](uintptr_t address) { return *at<volatile double>(address); });
}

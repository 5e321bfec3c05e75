// What the CUDA module says of itself, and what Python tells it: stream, library handles, memory pool, libraries.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include "bind/view_cuda.hpp"
#include "device/cuda_graph.hpp"
#include "device/cuda_libraries.hpp"

#ifndef LVM_CUDA_ARCHITECTURES
#define LVM_CUDA_ARCHITECTURES "the host"
#endif
#ifndef LVM_CUDA_COMPILER
#define LVM_CUDA_COMPILER "the host's compiler"
#endif

namespace lvm::bind {

// find(name) is the address of a function of the library.
template <class T, class Find>
void install_cuda_functions(CudaLibraryFunctions<T>& functions, const std::string& letter, Find&& find) {
  const auto take = [&](auto& target, const char* prefix, const char* name) {
    target = reinterpret_cast<std::decay_t<decltype(target)>>(find(prefix + letter + name));
  };
  take(functions.gemm, "cublas", "gemm_v2");
  take(functions.syrk, "cublas", "syrk_v2");
  take(functions.trsm, "cublas", "trsm_v2");
  take(functions.trmm, "cublas", "trmm_v2");
  take(functions.trsm_batched, "cublas", "trsmBatched");
  take(functions.potrf_size, "cusolverDn", "potrf_bufferSize");
  take(functions.potrf, "cusolverDn", "potrf");
  take(functions.potri_size, "cusolverDn", "potri_bufferSize");
  take(functions.potri, "cusolverDn", "potri");
  take(functions.potrf_batched, "cusolverDn", "potrfBatched");
}

inline void bind_cuda_runtime(py::module_& m) {
  py::register_local_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const CudaError& error) {
      py::set_error(py::module_::import("lvmfast.exceptions").attr("DeviceError"), error.what());
    }
  });
  m.def(
      "install_libraries",
      [](const py::function& address) {
        const auto find = [&](const std::string& name) {
          const auto found = py::cast<uintptr_t>(address(name));
          if (!found) throw py::import_error("the CUDA libraries that CuPy has loaded offer no " + name);
          return reinterpret_cast<void*>(found);
        };
        CudaLibraries libraries{};
        const auto take = [&](auto& target, const char* name) {
          target = reinterpret_cast<std::decay_t<decltype(target)>>(find(name));
        };
        take(libraries.cublas_set_stream, "cublasSetStream_v2");
        take(libraries.cusolver_set_stream, "cusolverDnSetStream");
        install_cuda_functions(libraries.f64, "D", find);
        install_cuda_functions(libraries.f32, "S", find);
        cuda_libraries() = libraries;
      },
      py::arg("address"), "Take cuBLAS and cuSOLVER; address(name) is that of a function, 0 if there is none.");
  m.def(
      "install_hooks",
      [](py::object empty, py::object allocate) {
        CudaHooks::instance() = {std::move(empty), std::move(allocate)};
      },
      py::arg("empty"), py::arg("allocate"),
      "empty(shape, dtype): a new array; allocate(bytes): memory with an attribute ptr that lives as long as the object.");
  m.def(
      "enter",
      [](uintptr_t stream, uintptr_t cublas, uintptr_t cusolver, int device) {
        CudaContext& context = cuda_context();
        context.stream = reinterpret_cast<cudaStream_t>(stream);
        context.cublas = reinterpret_cast<void*>(cublas);
        context.cusolver = reinterpret_cast<void*>(cusolver);
        if (context.take == nullptr || context.device != device) {
          check_cuda(cudaDeviceGetAttribute(&context.processors, cudaDevAttrMultiProcessorCount, device),
                     "cudaDeviceGetAttribute");
        }
        check_cuda(cudaSetDevice(device), "cudaSetDevice");  // of this copy of the runtime; CuPy has its own
        context.device = device;
        context.take = &take_device_memory;
        context.give_back = &give_back_device_memory;
      },
      py::arg("stream"), py::arg("cublas"), py::arg("cusolver"), py::arg("device"),
      "Where the calls of this thread work from now on.");
  m.def(
      "use_graphs", [](bool on) { CudaGraph::enabled() = on; }, py::arg("on"),
      "Whether evaluations that come again are captured as CUDA graphs.");
  m.attr("architectures") = LVM_CUDA_ARCHITECTURES;
  m.attr("compiler") = LVM_CUDA_COMPILER;
}

}  // namespace lvm::bind

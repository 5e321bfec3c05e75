// What Python needs of the shim: device memory, the order of threads, the stand-ins for the libraries.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <new>

#include "shim_fibers.hpp"
#include "shim_libraries.hpp"
#include "shim_memory.hpp"
#include "shim_runtime.hpp"
#include "shim_streams.hpp"

inline void bind_shim(pybind11::module_& m) {
  namespace py = pybind11;
  const auto at = [](uintptr_t address) { return reinterpret_cast<void*>(address); };
  m.def("shim_malloc", [](size_t bytes) {
    if (!bytes) return uintptr_t(0);
    void* pointer = nullptr;
    const cudaError_t error = cudaMalloc(&pointer, bytes);
    cudaGetLastError();
    if (error == cudaErrorMemoryAllocation) throw std::bad_alloc();
    if (error != cudaSuccess) throw py::value_error(cudaGetErrorString(error));
    return reinterpret_cast<uintptr_t>(pointer);
  });
  // Even while a stream is captured: CuPy's pool gives nothing back to CUDA.
  m.def("shim_free", [at](uintptr_t address) {
    if (address && !shim::device_free(at(address))) throw py::value_error("not the start of device memory");
  });
  m.def("shim_read", [at](uintptr_t address, size_t bytes) {
    py::array_t<uint8_t> result(static_cast<py::ssize_t>(bytes));
    const cudaError_t error = cudaMemcpy(result.mutable_data(), at(address), bytes, cudaMemcpyDeviceToHost);
    if (error != cudaSuccess) throw py::value_error(cudaGetErrorString(cudaGetLastError()));
    return result;
  });
  m.def("shim_write", [at](uintptr_t address, const py::array& values) {
    const py::array plain = py::module_::import("numpy").attr("ascontiguousarray")(values);
    const cudaError_t error =
        cudaMemcpy(at(address), plain.data(), static_cast<size_t>(plain.nbytes()), cudaMemcpyHostToDevice);
    if (error != cudaSuccess) throw py::value_error(cudaGetErrorString(cudaGetLastError()));
  });
  m.def("shim_open", &shim::open_arena, "The host may touch device memory until shim_close; calls nest.");
  m.def("shim_close", &shim::close_arena);
  m.def("shim_seed", &shim::seed, "Of the order in which threads and blocks run.");
  m.def("shim_live_bytes", &shim::live_bytes);
  m.def("shim_limit", &shim::limit_bytes);
  m.def("shim_set_limit", &shim::set_limit, "shim_malloc beyond it raises MemoryError.");
  m.def("shim_is_device", [at](uintptr_t address) { return shim::is_device(at(address)); });
  m.def("shim_capturing", &shim::capturing, "Whether any stream is being captured.");
  m.def("shim_replays", [] { return shim::replays(); }, "Graphs that were replayed.");
  m.def("shim_check_margins", &shim::check_margins, "Abort if bytes beside a block of device memory were written.");
  m.def("shim_synchronize", [] {
    if (cudaDeviceSynchronize() != cudaSuccess) throw py::value_error(cudaGetErrorString(cudaGetLastError()));
  });
  m.def("shim_stream_create", [](bool non_blocking) {
    cudaStream_t stream;
    cudaStreamCreateWithFlags(&stream, non_blocking ? cudaStreamNonBlocking : cudaStreamDefault);
    return reinterpret_cast<uintptr_t>(stream);
  });
  m.def("shim_stream_destroy", [at](uintptr_t stream) { cudaStreamDestroy(static_cast<cudaStream_t>(at(stream))); });
  m.def("install_shim_libraries", &lvm::install_shim_libraries);
}

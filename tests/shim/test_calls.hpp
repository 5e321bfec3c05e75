// Calls of the runtime and of the libraries' stand-ins, for the shim's own tests.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>

#include "device/cuda_libraries.hpp"
#include "shim_runtime.hpp"

inline void bind_calls(pybind11::module_& m) {
  namespace py = pybind11;
  using Address = uintptr_t;
  const auto stream_of = [](Address stream) { return reinterpret_cast<cudaStream_t>(stream); };

  m.def("begin_capture", [=](Address stream) {
    return std::string(cudaGetErrorName(cudaStreamBeginCapture(stream_of(stream), cudaStreamCaptureModeThreadLocal)));
  });
  m.def("end_capture", [=](Address stream) {  // the executable graph, or the error's name
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    if (const cudaError_t error = cudaStreamEndCapture(stream_of(stream), &graph)) {
      cudaGetLastError();
      return py::object(py::str(cudaGetErrorName(error)));
    }
    cudaGraphInstantiate(&exec, graph);
    cudaGraphDestroy(graph);
    return py::object(py::int_(reinterpret_cast<Address>(exec)));
  });
  m.def("replay", [=](Address exec, Address stream) {
    cudaGraphLaunch(reinterpret_cast<cudaGraphExec_t>(exec), stream_of(stream));
    return std::string(cudaGetErrorName(cudaGetLastError()));
  });
  m.def("destroy_graph", [](Address exec) { cudaGraphExecDestroy(reinterpret_cast<cudaGraphExec_t>(exec)); });
  m.def("synchronize", [=](Address stream) {
    cudaStreamSynchronize(stream_of(stream));
    return std::string(cudaGetErrorName(cudaGetLastError()));
  });
  m.def("copy", [=](Address to, Address from, size_t bytes, int kind, Address stream) {
    cudaMemcpyAsync(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), bytes,
                    static_cast<cudaMemcpyKind>(kind), stream_of(stream));
    return std::string(cudaGetErrorName(cudaGetLastError()));
  });
  m.def("pinned", [](size_t bytes) {
    void* pointer = nullptr;
    cudaMallocHost(&pointer, bytes);
    return reinterpret_cast<Address>(pointer);
  });
  m.def("free_pinned", [](Address address) { cudaFreeHost(reinterpret_cast<void*>(address)); });

  const auto handle = [](Address stream) {
    static int place = 0;
    lvm::cuda_libraries().cublas_set_stream(&place, reinterpret_cast<void*>(stream));
    lvm::cuda_libraries().cusolver_set_stream(&place, reinterpret_cast<void*>(stream));
    return static_cast<void*>(&place);
  };
  const auto real = [](Address address) { return reinterpret_cast<double*>(address); };
  const auto many = [](Address address) { return reinterpret_cast<double**>(address); };
  const auto ints = [](Address address) { return reinterpret_cast<int*>(address); };
  static const auto& f = lvm::library_functions<double>();

  m.def("gemm", [=](int ta, int tb, int rows, int n, int k, double alpha, Address a, int lda, Address b, int ldb,
                    double beta, Address c, int ldc, Address stream) {
    return f.gemm(handle(stream), ta, tb, rows, n, k, &alpha, real(a), lda, real(b), ldb, &beta, real(c), ldc);
  });
  m.def("syrk", [=](int uplo, int trans, int n, int k, double alpha, Address a, int lda, double beta, Address c,
                    int ldc) {
    return f.syrk(handle(0), uplo, trans, n, k, &alpha, real(a), lda, &beta, real(c), ldc);
  });
  m.def("trsm", [=](int side, int uplo, int trans, int rows, int n, double alpha, Address a, int lda, Address b,
                    int ldb) {
    return f.trsm(handle(0), side, uplo, trans, 0, rows, n, &alpha, real(a), lda, real(b), ldb);
  });
  m.def("trmm", [=](int side, int uplo, int trans, int rows, int n, double alpha, Address a, int lda, Address b,
                    int ldb, Address c, int ldc) {
    return f.trmm(handle(0), side, uplo, trans, 0, rows, n, &alpha, real(a), lda, real(b), ldb, real(c), ldc);
  });
  m.def("potrf_size", [=](int uplo, int n, Address a, int lda) {
    int size = -1;
    const int status = f.potrf_size(handle(0), uplo, n, real(a), lda, &size);
    return status ? -status : size;
  });
  m.def("potrf", [=](int uplo, int n, Address a, int lda, Address work, int size, Address info) {
    return f.potrf(handle(0), uplo, n, real(a), lda, real(work), size, ints(info));
  });
  m.def("potri", [=](int uplo, int n, Address a, int lda, Address work, int size, Address info) {
    return f.potri(handle(0), uplo, n, real(a), lda, real(work), size, ints(info));
  });
  m.def("potrf_batched", [=](int uplo, int n, Address a, int lda, Address info, int batch) {
    return f.potrf_batched(handle(0), uplo, n, many(a), lda, ints(info), batch);
  });
  m.def("trsm_batched", [=](int side, int uplo, int trans, int rows, int n, double alpha, Address a, int lda,
                            Address b, int ldb, int batch) {
    return f.trsm_batched(handle(0), side, uplo, trans, 0, rows, n, &alpha, many(a), lda, many(b), ldb, batch);
  });
}

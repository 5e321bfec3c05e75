// BLAS and LAPACK on the GPU with the interface of device/blas.hpp: column-major, by value, enqueued on the stream.
#pragma once

#include <cstdint>
#include <string>

#include "device/cuda_context.hpp"
#include "device/cuda_libraries.hpp"

namespace lvm {

template <class T>
class CudaBlas {
 public:
  static void gemm(char ta, char tb, int64_t m, int64_t n, int64_t k, T alpha, const T* a, int64_t lda, const T* b,
                   int64_t ldb, T beta, T* c, int64_t ldc) {
    if (m == 0 || n == 0) return;
    check(functions().gemm(blas(), flag(ta), flag(tb), size(m), size(n), size(k), &alpha, a, size(lda), b, size(ldb), &beta, c,
                           size(ldc)),
          "gemm");
  }
  static void syrk(char uplo, char trans, int64_t n, int64_t k, T alpha, const T* a, int64_t lda, T beta, T* c, int64_t ldc) {
    if (n == 0) return;
    check(functions().syrk(blas(), triangle(uplo), flag(trans), size(n), size(k), &alpha, a, size(lda), &beta, c, size(ldc)),
          "syrk");
  }
  static void trsm(char side, char uplo, char trans, int64_t m, int64_t n, T alpha, const T* a, int64_t lda, T* b, int64_t ldb) {
    if (m == 0 || n == 0) return;
    check(functions().trsm(blas(), side_of(side), triangle(uplo), flag(trans), CublasFlags::kNonUnit, size(m), size(n), &alpha,
                           a, size(lda), b, size(ldb)),
          "trsm");
  }
  static void trmm(char side, char uplo, char trans, int64_t m, int64_t n, T alpha, const T* a, int64_t lda, T* b, int64_t ldb) {
    if (m == 0 || n == 0) return;
    check(functions().trmm(blas(), side_of(side), triangle(uplo), flag(trans), CublasFlags::kNonUnit, size(m), size(n), &alpha,
                           a, size(lda), b, size(ldb), b, size(ldb)),
          "trmm");
  }
  // *failure, on the device: 0, or the 1-based pivot that was lost.
  static void potrf(char uplo, int64_t n, T* a, int64_t lda, int* failure) {
    factorise(functions().potrf_size, functions().potrf, "potrf", uplo, n, a, lda, failure);
  }
  static void potri(char uplo, int64_t n, T* a, int64_t lda) {
    CudaBuffer<int> unused(1);
    factorise(functions().potri_size, functions().potri, "potri", uplo, n, a, lda, unused.data());
  }
  // The same for a batch: a and b hold pointers, on the device.
  static void potrf_batched(char uplo, int64_t n, T** a, int64_t lda, int* failure, int64_t batch) {
    if (n == 0 || batch == 0) return;
    check(functions().potrf_batched(solver(), triangle(uplo), size(n), a, size(lda), failure, size(batch)), "potrfBatched");
  }
  static void trsm_batched(char side, char uplo, char trans, int64_t m, int64_t n, T alpha, const T* const* a, int64_t lda,
                           T* const* b, int64_t ldb, int64_t batch) {
    if (m == 0 || n == 0 || batch == 0) return;
    check(functions().trsm_batched(blas(), side_of(side), triangle(uplo), flag(trans), CublasFlags::kNonUnit, size(m), size(n),
                                   &alpha, a, size(lda), b, size(ldb), size(batch)),
          "trsmBatched");
  }

 private:
  using Functions = CudaLibraryFunctions<T>;
  static const Functions& functions() { return library_functions<T>(); }

  static void* blas() {
    const CudaContext& context = cuda_context();
    check(cuda_libraries().cublas_set_stream(context.cublas, context.stream), "cublasSetStream");
    return context.cublas;
  }
  static void* solver() {
    const CudaContext& context = cuda_context();
    check(cuda_libraries().cusolver_set_stream(context.cusolver, context.stream), "cusolverDnSetStream");
    return context.cusolver;
  }
  template <class SizeFunction, class Function>
  static void factorise(SizeFunction size_of, Function function, const char* name, char uplo, int64_t n, T* a, int64_t lda,
                        int* failure) {
    if (n == 0) {
      check_cuda(cudaMemsetAsync(failure, 0, sizeof(int), cuda_context().stream), "cudaMemsetAsync");
      return;
    }
    int work = 0;
    check(size_of(solver(), triangle(uplo), size(n), a, size(lda), &work), name);
    CudaBuffer<T> scratch(work > 0 ? work : 1);
    check(function(solver(), triangle(uplo), size(n), a, size(lda), scratch.data(), work, failure), name);
  }

  static int flag(char trans) { return trans == 'N' ? CublasFlags::kNoTranspose : CublasFlags::kTranspose; }
  static int triangle(char uplo) { return uplo == 'L' ? CublasFlags::kLower : CublasFlags::kUpper; }
  static int side_of(char side) { return side == 'L' ? CublasFlags::kLeft : CublasFlags::kRight; }
  static int size(int64_t n) {
    if (n > 0x7fffffff) throw CudaError("a matrix has more than 2^31 - 1 rows or columns, beyond cuBLAS; split it");
    return static_cast<int>(n);
  }
  static void check(int status, const char* what) {
    if (status != 0) throw CudaError(std::string("the library call ") + what + " failed with status " + std::to_string(status));
  }
};

}  // namespace lvm

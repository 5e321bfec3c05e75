// cuBLAS and cuSOLVER on the host, for lvm::cuda_libraries(): SciPy's BLAS on device memory, recorded where the stream
// is being captured.
#include "shim_libraries.hpp"

#include <string.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <vector>

#include "device/blas.hpp"
#include "device/cuda_libraries.hpp"
#include "shim_launch.hpp"
#include "shim_memory.hpp"

namespace lvm {
namespace {

constexpr int kFailed = 13, kInvalid = 7, kInvalidSolver = 3;  // CUBLAS_STATUS_*, CUSOLVER_STATUS_*

std::map<void*, cudaStream_t>& handle_streams() {
  static auto* it = new std::map<void*, cudaStream_t>;
  return *it;
}

int set_stream(void* handle, void* stream) {
  const std::lock_guard<std::recursive_mutex> lock(shim::mutex());
  if (!handle) return 1;  // not initialised
  handle_streams()[handle] = static_cast<cudaStream_t>(stream);
  return 0;
}

template <class F>
int enqueue(void* handle, F work) {
  const std::lock_guard<std::recursive_mutex> lock(shim::mutex());
  if (!handle) return 1;
  const cudaError_t error = shim::enqueue(handle_streams()[handle], [work] {
    const shim::Open open;
    work();
  });
  return error == cudaSuccess ? 0 : kFailed;
}

template <class T>
void check_matrix(const char* what, const T* a, int rows, int columns, int ld) {
  if (rows > 0 && columns > 0) shim::check_device(a, (size_t(columns - 1) * ld + rows) * sizeof(T), what);
}

char op(int trans) { return trans == CublasFlags::kNoTranspose ? 'N' : 'T'; }
char triangle(int uplo) { return uplo == CublasFlags::kLower ? 'L' : 'U'; }
char hand(int side) { return side == CublasFlags::kLeft ? 'L' : 'R'; }
bool fits(int ld, int rows) { return ld >= std::max(1, rows); }

template <class T>
struct Shim {
  static int gemm(void* handle, int ta, int tb, int m, int n, int k, const T* alpha, const T* a, int lda, const T* b,
                  int ldb, const T* beta, T* c, int ldc) {
    if (m < 0 || n < 0 || k < 0 || !fits(lda, ta ? k : m) || !fits(ldb, tb ? n : k) || !fits(ldc, m)) return kInvalid;
    return enqueue(handle, [=, alpha = *alpha, beta = *beta] {
      check_matrix("gemm's A", a, ta ? k : m, ta ? m : k, lda);
      check_matrix("gemm's B", b, tb ? n : k, tb ? k : n, ldb);
      check_matrix("gemm's C", c, m, n, ldc);
      Blas<T>::gemm(op(ta), op(tb), m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    });
  }

  static int syrk(void* handle, int uplo, int trans, int n, int k, const T* alpha, const T* a, int lda, const T* beta,
                  T* c, int ldc) {
    if (n < 0 || k < 0 || !fits(lda, trans ? k : n) || !fits(ldc, n)) return kInvalid;
    return enqueue(handle, [=, alpha = *alpha, beta = *beta] {
      check_matrix("syrk's A", a, trans ? k : n, trans ? n : k, lda);
      check_matrix("syrk's C", c, n, n, ldc);
      Blas<T>::syrk(triangle(uplo), op(trans), n, k, alpha, a, lda, beta, c, ldc);
    });
  }

  static int trsm(void* handle, int side, int uplo, int trans, int diag, int m, int n, const T* alpha, const T* a,
                  int lda, T* b, int ldb) {
    const int order = side == CublasFlags::kLeft ? m : n;
    if (diag != CublasFlags::kNonUnit || m < 0 || n < 0 || !fits(lda, order) || !fits(ldb, m)) return kInvalid;
    return enqueue(handle, [=, alpha = *alpha] {
      check_matrix("trsm's A", a, order, order, lda);
      check_matrix("trsm's B", b, m, n, ldb);
      Blas<T>::trsm(hand(side), triangle(uplo), op(trans), m, n, alpha, a, lda, b, ldb);
    });
  }

  // Unlike in BLAS, the product has a place of its own.
  static int trmm(void* handle, int side, int uplo, int trans, int diag, int m, int n, const T* alpha, const T* a,
                  int lda, const T* b, int ldb, T* c, int ldc) {
    const int order = side == CublasFlags::kLeft ? m : n;
    const bool fit = fits(lda, order) && fits(ldb, m) && fits(ldc, m) && (b != c || ldb == ldc);
    if (diag != CublasFlags::kNonUnit || m < 0 || n < 0 || !fit) return kInvalid;
    return enqueue(handle, [=, alpha = *alpha] {
      check_matrix("trmm's A", a, order, order, lda);
      check_matrix("trmm's B", b, m, n, ldb);
      check_matrix("trmm's C", c, m, n, ldc);
      if (b != c && b < c + int64_t(n) * ldc && c < b + int64_t(n) * ldb) shim::fail("trmm: B and C overlap");
      for (int j = 0; b != c && j < n; ++j) memcpy(c + int64_t(j) * ldc, b + int64_t(j) * ldb, m * sizeof(T));
      Blas<T>::trmm(hand(side), triangle(uplo), op(trans), m, n, alpha, a, lda, c, ldc);
    });
  }

  static int trsm_batched(void* handle, int side, int uplo, int trans, int diag, int m, int n, const T* alpha,
                          const T* const* a, int lda, T* const* b, int ldb, int batch) {
    const int order = side == CublasFlags::kLeft ? m : n;
    const bool fit = fits(lda, order) && fits(ldb, m);
    if (diag != CublasFlags::kNonUnit || m < 0 || n < 0 || batch < 0 || !fit) return kInvalid;
    return enqueue(handle, [=, alpha = *alpha] {
      shim::check_device(a, batch * sizeof(T*), "trsm_batched's pointers to A");
      shim::check_device(b, batch * sizeof(T*), "trsm_batched's pointers to B");
      for (int i = 0; i < batch; ++i) {
        check_matrix("trsm_batched's A", a[i], order, order, lda);
        check_matrix("trsm_batched's B", b[i], m, n, ldb);
        Blas<T>::trsm(hand(side), triangle(uplo), op(trans), m, n, alpha, a[i], lda, b[i], ldb);
      }
    });
  }

  static int work_size(void*, int, int n, T*, int lda, int* size) {
    if (n < 0 || !fits(lda, n)) return kInvalidSolver;
    *size = n * n / 2 + 1;
    return 0;
  }

  // The workspace is as a library leaves it: full of what nobody should read.
  template <class F>
  static int solver(void* handle, const char* what, int n, T* a, int lda, T* work, int size, int* info, F function) {
    int least = 0;
    if (work_size(handle, 0, n, a, lda, &least) || size < least) return kInvalidSolver;
    return enqueue(handle, [=] {
      check_matrix(what, a, n, n, lda);
      shim::check_device(work, size * sizeof(T), what);
      shim::check_device(info, sizeof(int), what);
      memset(static_cast<void*>(work), 0xFF, size * sizeof(T));
      *info = n ? static_cast<int>(function()) : 0;
    });
  }

  static int potrf(void* handle, int uplo, int n, T* a, int lda, T* work, int size, int* info) {
    return solver(handle, "potrf", n, a, lda, work, size, info,
                  [=] { return Blas<T>::potrf(triangle(uplo), n, a, lda); });
  }

  static int potri(void* handle, int uplo, int n, T* a, int lda, T* work, int size, int* info) {
    return solver(handle, "potri", n, a, lda, work, size, info,
                  [=] { return Blas<T>::potri(triangle(uplo), n, a, lda); });
  }

  static int potrf_batched(void* handle, int uplo, int n, T** a, int lda, int* info, int batch) {
    if (n < 0 || batch < 0 || !fits(lda, n)) return kInvalidSolver;
    return enqueue(handle, [=] {
      shim::check_device(a, batch * sizeof(T*), "potrf_batched's pointers");
      shim::check_device(info, batch * sizeof(int), "potrf_batched's info");
      for (int i = 0; i < batch; ++i) {
        check_matrix("potrf_batched's A", a[i], n, n, lda);
        info[i] = n ? static_cast<int>(Blas<T>::potrf(triangle(uplo), n, a[i], lda)) : 0;
      }
    });
  }

  static CudaLibraryFunctions<T> table() {
    return {gemm, syrk, trsm, trmm, trsm_batched, work_size, potrf, work_size, potri, potrf_batched};
  }
};

}  // namespace

void install_shim_libraries() {
  cuda_libraries() = {set_stream, set_stream, Shim<double>::table(), Shim<float>::table()};
}

}  // namespace lvm

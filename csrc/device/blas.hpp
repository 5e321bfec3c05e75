// BLAS and LAPACK through function pointers that Python takes from SciPy at import: no BLAS at link time, and
// one BLAS (with one thread pool) in the process.
//
// Everything is Fortran: column-major, arguments by pointer. Integers are passed as pointers to 64-bit
// variables that hold small non-negative numbers; on a little-endian machine a BLAS with 32-bit integers reads
// the low half of the same variable, so that one binary serves both kinds (LP64 and ILP64).
#pragma once

#include <cstdint>

namespace lvm {

template <class T>
struct BlasFunctions {
  using Int = const int64_t*;
  using Flag = const char*;
  void (*gemm)(Flag, Flag, Int, Int, Int, const T*, const T*, Int, const T*, Int, const T*, T*, Int);
  void (*syrk)(Flag, Flag, Int, Int, const T*, const T*, Int, const T*, T*, Int);
  void (*trsm)(Flag, Flag, Flag, Flag, Int, Int, const T*, const T*, Int, T*, Int);
  void (*trsv)(Flag, Flag, Flag, Int, const T*, Int, T*, Int);
  void (*trmm)(Flag, Flag, Flag, Flag, Int, Int, const T*, const T*, Int, T*, Int);
  void (*potrf)(Flag, Int, T*, Int, int64_t*);
  void (*potri)(Flag, Int, T*, Int, int64_t*);
};

// The table that install_blas filled; all null before.
template <class T>
BlasFunctions<T>& blas();

// Column-major calls by value. `info` results are the low 32 bits, whichever integer the BLAS writes.
template <class T>
struct Blas {
  static void gemm(char ta, char tb, int64_t m, int64_t n, int64_t k, T alpha, const T* a, int64_t lda,
                   const T* b, int64_t ldb, T beta, T* c, int64_t ldc) {
    blas<T>().gemm(&ta, &tb, &m, &n, &k, &alpha, a, &lda, b, &ldb, &beta, c, &ldc);
  }
  static void syrk(char uplo, char trans, int64_t n, int64_t k, T alpha, const T* a, int64_t lda, T beta, T* c,
                   int64_t ldc) {
    blas<T>().syrk(&uplo, &trans, &n, &k, &alpha, a, &lda, &beta, c, &ldc);
  }
  static void trsm(char side, char uplo, char trans, int64_t m, int64_t n, T alpha, const T* a, int64_t lda,
                   T* b, int64_t ldb) {
    const char diag = 'N';
    if (alpha == T(1) && (side == 'L' ? n : m) == 1) {  // one right-hand side: trsm takes three times as long
      const bool flip = side == 'R';
      const char turned = (trans == 'N') == flip ? 'T' : 'N';
      const int64_t step = flip ? ldb : 1;
      blas<T>().trsv(&uplo, &turned, &diag, flip ? &n : &m, a, &lda, b, &step);
      return;
    }
    blas<T>().trsm(&side, &uplo, &trans, &diag, &m, &n, &alpha, a, &lda, b, &ldb);
  }
  static void trmm(char side, char uplo, char trans, int64_t m, int64_t n, T alpha, const T* a, int64_t lda,
                   T* b, int64_t ldb) {
    const char diag = 'N';
    blas<T>().trmm(&side, &uplo, &trans, &diag, &m, &n, &alpha, a, &lda, b, &ldb);
  }
  static int64_t potrf(char uplo, int64_t n, T* a, int64_t lda) {
    int64_t info = 0;
    blas<T>().potrf(&uplo, &n, a, &lda, &info);
    return static_cast<int32_t>(info);
  }
  static int64_t potri(char uplo, int64_t n, T* a, int64_t lda) {
    int64_t info = 0;
    blas<T>().potri(&uplo, &n, a, &lda, &info);
    return static_cast<int32_t>(info);
  }
};

}  // namespace lvm

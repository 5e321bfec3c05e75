// cuBLAS and cuSOLVER through function pointers, taken at run time from the libraries that CuPy has loaded: nothing of
// CUDA is linked or bundled but its runtime. Types and enumerations are as in their C interfaces (all int or pointers).
#pragma once

namespace lvm {

struct CublasFlags {
  static constexpr int kNoTranspose = 0, kTranspose = 1;  // cublasOperation_t
  static constexpr int kLower = 0, kUpper = 1;            // cublasFillMode_t
  static constexpr int kLeft = 0, kRight = 1;             // cublasSideMode_t
  static constexpr int kNonUnit = 0;                      // cublasDiagType_t
};

// Status 0 is success everywhere. In the order of the C prototypes, handles as void*.
template <class T>
struct CudaLibraryFunctions {
  int (*gemm)(void*, int, int, int, int, int, const T*, const T*, int, const T*, int, const T*, T*, int);
  int (*syrk)(void*, int, int, int, int, const T*, const T*, int, const T*, T*, int);
  int (*trsm)(void*, int, int, int, int, int, int, const T*, const T*, int, T*, int);
  int (*trmm)(void*, int, int, int, int, int, int, const T*, const T*, int, const T*, int, T*, int);
  int (*trsm_batched)(void*, int, int, int, int, int, int, const T*, const T* const*, int, T* const*, int, int);
  int (*potrf_size)(void*, int, int, T*, int, int*);
  int (*potrf)(void*, int, int, T*, int, T*, int, int*);
  int (*potri_size)(void*, int, int, T*, int, int*);
  int (*potri)(void*, int, int, T*, int, T*, int, int*);
  int (*potrf_batched)(void*, int, int, T**, int, int*, int);
};

struct CudaLibraries {
  int (*cublas_set_stream)(void*, void*);
  int (*cusolver_set_stream)(void*, void*);
  CudaLibraryFunctions<double> f64;
  CudaLibraryFunctions<float> f32;
};

CudaLibraries& cuda_libraries();  // all null until they are installed

template <class T>
const CudaLibraryFunctions<T>& library_functions();
template <>
inline const CudaLibraryFunctions<double>& library_functions<double>() {
  return cuda_libraries().f64;
}
template <>
inline const CudaLibraryFunctions<float>& library_functions<float>() {
  return cuda_libraries().f32;
}

}  // namespace lvm

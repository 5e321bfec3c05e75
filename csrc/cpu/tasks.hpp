// Plain descriptions of the work that the tuned kernels do, and the table through which they are called.
//
// The kernels are compiled once per instruction set; this header is seen by all of those builds and by the
// rest of the library, so it holds data and declarations only.
#pragma once

#include <stdint.h>

#include "core/stationary.hpp"
#include "device/cotangent.hpp"

namespace lvm::cpu {

// Inputs of a kernel matrix in the layout that the kernels want: point p, dimension q at
// data[q * stride + p], divided by the lengthscale, centred, zero beyond the last point up to `stride`
// (a multiple of kPad, with at least one point of padding room for a block of rows).
template <class T>
struct ScaledPoints {
  const T* data;
  int64_t stride;
  int64_t count;
};

constexpr int64_t kPad = 16;
constexpr int64_t kPullbackRows = 16;   // rows of one pull-back chunk
constexpr int64_t kPullbackTile = 64;   // columns that one pull-back tile keeps in cache
constexpr int64_t kPanelDepth = 512;    // depth of one packed panel of row_gemm

// out[i, j] = variance * value(|rows_i - cols_j|^2)
template <class T>
struct GramTask {
  StationaryKind kind;
  int64_t q;
  ScaledPoints<T> rows, cols;
  T variance;
  T* out;
  int64_t out_stride;
  bool lower;  // rows are cols; only j <= i is needed (the rest of a row may be overwritten)
};

// With w[i, j] = S[i, j] slope(s_ij) and d = rows_i - cols_j (scaled):
//   d_rows[i, q]       += sum_j w d_q
//   d_lengthscale[q]   += sum_ij w d_q^2
//   d_variance         += sum_ij S value
template <class T>
struct PullbackTask {
  StationaryKind kind;
  int64_t q;
  ScaledPoints<T> rows, cols;
  const T* c;
  int64_t c_stride;
  Cotangent layout;
  double* d_rows;  // (rows, q), row-major
};

// out[b, j] = sum_i in[b, i] m[i, j], every output summed over i in ascending order by the same
// instructions, so that a row's result does not depend on the rows that came with it.
template <class T>
struct RowGemmTask {
  int64_t rows, depth, cols;
  const T* in;
  int64_t in_stride;
  const T* m;
  int64_t m_stride;
  T* out;
  int64_t out_stride;
};

template <class T>
struct KernelFunctions {
  void (*gram_rows)(const GramTask<T>&, int64_t begin, int64_t end);
  void (*pullback_rows)(const PullbackTask<T>&, int64_t begin, int64_t end, double* d_lengthscale,
                        double* d_variance);
  void (*row_gemm_columns)(const RowGemmTask<T>&, int64_t begin, int64_t end);  // begin: multiple of kPad
  void (*exp)(const T* x, T* y, int64_t n);
};

struct KernelTable {
  const char* name;  // "x86-64-v4", "x86-64-v3", "x86-64" or, on other processors, "baseline"
  KernelFunctions<double> f64;
  KernelFunctions<float> f32;
};

}  // namespace lvm::cpu

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

constexpr int64_t kUpdateColumns = 128;  // the most columns of U that one pass of a Cholesky update takes
constexpr int64_t kNarrowColumns = 4;    // up to here it may use one recurrence per column of U
// One recurrence after the other loses digits where several take away nearly all there is; alone, or adding, none does.
constexpr bool narrow_update(int64_t m, int64_t plus) { return m == 1 || (m <= kNarrowColumns && plus == m); }

// out out^T = l l^T + u S u^T, lower triangles: u's columns in the given order, signs S = +1 for the first `plus` of them.
// Rows are cut into groups of tiles. Groups may run on many threads; group k waits for those before it, which must have
// been begun.
template <class T>
struct CholeskyUpdateTask {
  int64_t n, m, plus;
  bool by_rows;      // l and out row-major, else column-major
  bool clear_upper;  // put zeros above the diagonal of out; else what is there stays
  const T* l;
  int64_t l_stride;
  T* out;  // may be l
  int64_t out_stride;
  const T* u;  // entry (i, q) at u[i * u_row + order[q] * u_col]
  int64_t u_row, u_col;
  const int64_t* order;
  int64_t tiles;   // in a group
  int64_t span;    // blocks of columns that a group of column-major tiles takes at a time
  T* a;            // scratch: m numbers for every row of every tile
  T* reflections;  // scratch: cholesky_update_size numbers
  double* t;       // narrow updates: m numbers, at first 1
  int64_t* ready;  // at first 0; columns whose reflections are known
  int64_t* lost;   // at first -1; the column that was lost
  bool* finite;    // false if it was lost to a number that is not finite
};

template <class T>
struct KernelFunctions {
  void (*gram_rows)(const GramTask<T>&, int64_t begin, int64_t end);
  void (*pullback_rows)(const PullbackTask<T>&, int64_t begin, int64_t end, double* d_lengthscale,
                        double* d_variance);
  void (*row_gemm_columns)(const RowGemmTask<T>&, int64_t begin, int64_t end);  // begin: multiple of kPad
  void (*exp)(const T* x, T* y, int64_t n);
  int64_t (*cholesky_update_rows)();                      // rows of a tile
  int64_t (*cholesky_update_size)(int64_t n, int64_t m);  // numbers of all reflections
  void (*cholesky_update_group)(const CholeskyUpdateTask<T>&, int64_t group);
};

struct KernelTable {
  const char* name;  // "x86-64-v4", "x86-64-v3", "x86-64" or, on other processors, "baseline"
  KernelFunctions<double> f64;
  KernelFunctions<float> f32;
};

}  // namespace lvm::cpu

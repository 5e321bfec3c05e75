// Plain descriptions of the work that the tuned kernels do, and the table through which they are called.
//
// The kernels are compiled once per instruction set; this header is seen by all of those builds and by the
// rest of the library, so it holds data and declarations only.
#pragma once

#include <stdint.h>

#include "core/covariance.hpp"
#include "core/draws.hpp"
#include "core/polya_gamma_tables.hpp"
#include "cpu/network_tasks.hpp"
#include "device/cotangent.hpp"
#include "device/pair_task.hpp"

namespace lvm {
template <class T>
struct ExpectationsOfPoints;  // core/expectation.hpp
}

namespace lvm::cpu {

// Kernel matrices are made in tiles of one block of points by another; a tile is row-major with kBlock numbers to a row.
constexpr int64_t kPad = 16;          // row_gemm takes columns in multiples of it
constexpr int64_t kBlock = 64;        // points that lie together
constexpr int64_t kTile = kBlock * kBlock;
constexpr int64_t kDirect = 3;        // up to so many features gradients are taken from differences, one by one
constexpr int64_t kPanelDepth = 512;  // depth of one packed panel of row_gemm

// A block of points holds kBlock numbers per feature, feature after feature: feature f of point p at
// block[f * kBlock + p]. After the `features` follow a feature of ones and one of squared norms; points beyond the last
// are zero throughout.
using lvm::PairTask;

enum class TileMode : int { set, add, multiply };

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

// Draw i of PG(b, z) with b[i % b_period] and z[i % z_period] is that of element start + i of the seed.
template <class T>
struct PolyaGammaTask {
  const PolyaGammaTables* tables;
  uint64_t seed;
  int64_t start;
  const T* b;
  int64_t b_period;
  const T* z;
  int64_t z_period;
};

template <class T>
struct KernelFunctions {
  // tile (mode)= variance * value of the first `count` of a block of rows and a block of columns
  void (*pair_values)(const PairTask<T>&, const T* rows, const T* cols, int64_t count, TileMode mode, T* tile);
  // tile: cotangent -> cotangent * slope (both without the variance); sums[0] += sum cotangent * value, and
  // sums[1] += sum cotangent * d value / d shape. Distances of more than kDirect features: the slopes of points that are
  // near one another for their distance from the centre go to `near` instead; true if there are any (else `near` is
  // left as it is).
  bool (*pair_pullback)(const PairTask<T>&, const T* rows, const T* cols, int64_t count, T* tile, T* near,
                        double* sums);
  // d_rows[f * kBlock + i] += sum_j tile[i, j] cols[f * kBlock + j], d_cols[f * kBlock + j] += sum_i tile[i, j]
  // rows[f * kBlock + i]; either may be null
  void (*tile_products)(const T* tile, int64_t count, int64_t features, const T* rows, const T* cols, double* d_rows,
                        double* d_cols);
  // d_rows[f * kBlock + i] += sum_j tile[i, j] d, d_cols[f * kBlock + j] -= sum_i tile[i, j] d (if not null) and
  // squares[f] += sum tile d^2 with d = rows[f * kBlock + i] - cols[f * kBlock + j]
  void (*tile_differences)(const T* tile, int64_t count, int64_t features, const T* rows, const T* cols,
                           double* d_rows, double* d_cols, double* squares);
  // tile to out[i * stride + j] for the first `cols` columns, or transposed to out[j * stride + i]; past the cache
  void (*store_tile)(const T* tile, int64_t rows, int64_t cols, bool transposed, bool past_cache, T* out,
                     int64_t stride);
  // tile = (or +=) scale * c[i * stride + j], or scale * c[j * stride + i]
  void (*load_tile)(const T* c, int64_t stride, int64_t rows, int64_t cols, bool transposed, bool add, T scale,
                    T* tile);
  void (*combine_tiles)(const T* a, int64_t n, TileMode mode, T* b);  // b (mode)= a
  void (*row_gemm_columns)(const RowGemmTask<T>&, int64_t begin, int64_t end);  // begin: multiple of kPad
  void (*exp)(const T* x, T* y, int64_t n);
  int64_t (*cholesky_update_rows)();                      // rows of a tile
  int64_t (*cholesky_update_size)(int64_t n, int64_t m);  // numbers of all reflections
  void (*cholesky_update_group)(const CholeskyUpdateTask<T>&, int64_t group);
  // out[i - begin] = draw i of a distribution, for i in [begin, end); of bits the whole numbers of T's size
  void (*fill_random)(Distribution, uint64_t seed, int64_t begin, int64_t end, T* out);
  // the draws of blocks whose four words each are given: what fill_random does after Philox
  void (*draws_of_words)(Distribution, const uint32_t* words, int64_t blocks, T* out);
  // out[i - begin] = draw i, for i in [begin, end)
  void (*fill_polya_gamma)(const PolyaGammaTask<T>&, int64_t begin, int64_t end, T* out);
  // points [begin, end)
  void (*expectations)(const ExpectationsOfPoints<T>&, int64_t begin, int64_t end);
};

template <class T>
struct ChainFunctions;  // chain_tasks.hpp
template <class T>
struct NarrowFunctions;  // narrow_tasks.hpp
template <class T>
struct MixtureFunctions;  // mixture_tasks.hpp

struct KernelTable {
  const char* name;  // "x86-64-v4", "x86-64-v3", "x86-64" or, on other processors, "baseline"
  KernelFunctions<double> f64;
  KernelFunctions<float> f32;
  const NetworkFunctions<double>* network_f64;
  const NetworkFunctions<float>* network_f32;
  const ChainFunctions<double>* chain_f64;
  const ChainFunctions<float>* chain_f32;
  const NarrowFunctions<double>* narrow_f64;
  const NarrowFunctions<float>* narrow_f32;
  const MixtureFunctions<double>* mixture_f64;
  const MixtureFunctions<float>* mixture_f32;
};

}  // namespace lvm::cpu

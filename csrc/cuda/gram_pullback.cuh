// Pull-backs of kernel matrices, leaf by leaf: gradients of sum_ij S[i, j] k(x_i, z_j) by the features of the rows, and
// the sums that the parameters need. The columns' gradients are the rows' with the roles exchanged.
//
// Per pair of points: a number of S read, 2 operations a feature for its distance, some 30 for value and slope, 2 a
// feature for the sums by differences and 2 more for the squares. With the same points twice, every block of rows goes
// through all columns, and values and squares come from the lower triangle alone.
#pragma once

#include "cuda/gram_cotangent.cuh"
#include "cuda/gram_sums.cuh"
#include "cuda/gram_tree.cuh"

namespace lvm::cuda::pairs {

// What stands beside a leaf in products: a TreeTile, or
struct NoContext {
  static constexpr bool kAny = false;
};

// rows: sums per split, feature and point, whose lines have `stride` numbers; scalars: [value, shape, squares (features)]
// per unit, a line of `units` numbers each, or null: not wanted.
template <class T>
struct PullTask {
  Sides sides;
  int64_t splits, units;
  Leaf<T> leaf;
  CotangentTiles<T> cotangent;
  double *rows, *scalars;
  int64_t stride;
};

template <class T>
struct PullShared {
  SumShared<T> sums;
  UnitSums totals;  // of few features
  double* memory;   // for sums over the block; where S is turned, and the parts of sums
  static constexpr int64_t kBuffer = std::max<int64_t>(kTile * kPitch<T>, kChunk * kParts * kTile);
  static int64_t bytes(int features) {
    const int64_t doubles = std::min(features, kChunk) * kTile + kChunk;
    return doubles * int64_t(sizeof(double)) + (2 * kChunk * kTile + kBuffer + kChunk * kWarps) * int64_t(sizeof(T));
  }
  __device__ explicit PullShared(unsigned char* bytes) {
    sums.staged = reinterpret_cast<T*>(bytes);
    sums.parts = sums.staged + 2 * kChunk * kTile;
    sums.squares = sums.parts + kBuffer;
    memory = reinterpret_cast<double*>(sums.parts);
    double* squares = reinterpret_cast<double*>(sums.squares + kChunk * kWarps);
    totals = {squares + kChunk, kTile, squares, 1};
  }
};

// Every pair of points counts once in sums over pairs.
__device__ inline double pair_weight(bool wanted, const Sides& sides, int64_t i, int64_t j) {
  if (!wanted || (sides.same && i < j)) return 0;
  return sides.same && i == j ? 0.5 : 1;
}

template <class T>
struct PairSums {
  T value, shape;
};

// w: cotangent -> cotangent * slope. Pairs beyond the last points count nothing, whatever their value.
template <class F, class T>
__device__ PairSums<T> pull_pairs(const Leaf<T>& leaf, const Sides& sides, int64_t i, int64_t j, At at,
                                  Micro<T>& s, Micro<T>& w) {
  const Shape<T> number{leaf.numbers[1], leaf.degree};
  const bool edge = i + kTile > sides.n || j + kTile > sides.m;
  const bool flat = sides.same && i == j && leaf.stationary;  // leave no rounding of the size of the slope
  PairSums<T> sums{T(0), T(0)};
  constexpr int kTurns = sizeof(T) == 8 ? kMicro : 1, kRows = kMicro / kTurns;  // double: see turn_rows
  LVM_NO_UNROLL for (int turn = 0; turn < kTurns; ++turn) {
    LVM_UNROLL for (int r = 0; r < kRows; ++r) {
      LVM_UNROLL for (int c = 0; c < kMicro; ++c) {
        const int row = at.row<T>(turn * kRows + r), col = at.col<T>(c);
        T value, slope, by_shape = T(0);
        F::pull(s[r][c], number, value, slope, by_shape);
        const bool inside = !edge || (i + row < sides.n && j + col < sides.m);
        sums.value += inside ? w[r][c] * value : T(0);
        if (F::kShape) sums.shape += inside ? w[r][c] * by_shape : T(0);
        w[r][c] = inside && !(flat && row == col) ? w[r][c] * slope : T(0);
      }
    }
    if (kTurns == 1) continue;
    turn_rows(s);
    turn_rows(w);
  }
  return sums;
}

template <class Context, class T>
__device__ void load_cotangent(const PullTask<T>& task, const Context& context, int64_t i, int64_t j,
                               const PullShared<T>& shared, Micro<T>& w) {
  const At at = At::squares(fresh_thread_index());
  if constexpr (Context::kAny) {
    context.values(task.sides, i, j, at, shared.sums.staged, w);
    task.cotangent.template multiply<false>(task.sides, i, j, at, shared.sums.parts, w);
  } else {
    task.cotangent.template multiply<true>(task.sides, i, j, at, shared.sums.parts, w);
  }
}

// Where a unit's sums are while it runs: few features in shared memory, many where they are left.
template <class T>
__device__ UnitSums sums_of(const PullTask<T>& task, const PullShared<T>& shared, const UnitSums& out) {
  const UnitSums sums = task.leaf.features <= kChunk ? shared.totals : out;
  each_own(0, task.leaf.features, ZeroSums{sums});
  for (int f = thread_index(); f < task.leaf.features && threadIdx.x < kChunk; f += kChunk) {
    if (task.scalars) sums.squares[f * sums.squares_pitch] = 0;
  }
  return sums;
}
template <class T>
__device__ void store_sums(const PullTask<T>& task, const UnitSums& sums, const UnitSums& out) {
  if (task.leaf.features > kChunk) return;
  each_own(0, task.leaf.features, CopySums{sums, out});
  if (task.scalars && thread_index() < task.leaf.features) {
    out.squares[threadIdx.x * out.squares_pitch] = sums.squares[threadIdx.x];
  }
}
template <class T>
__device__ void store_scalars(const PullTask<T>& task, int64_t unit, double value, double shape, double* memory) {
  value = block_sum(value, memory);
  shape = block_sum(shape, memory);
  if (threadIdx.x > 0) return;
  task.scalars[unit] = value;
  task.scalars[task.units + unit] = shape;
}

template <class F, class Context, class T>
__global__ void __launch_bounds__(kThreads, 2) pull_kernel(const __grid_constant__ PullTask<T> task,
                                                           const __grid_constant__ Context context) {
  LVM_SHARED(bytes);
  const Leaf<T>& leaf = task.leaf;
  const Sides& sides = task.sides;
  const PullShared<T> shared(bytes);
  const At at = At::squares(thread_index());
  for (int64_t u = blockIdx.x; u < task.units; u += gridDim.x) {
    const Unit unit = Unit::of(u, sides, task.splits);
    const int64_t i = unit.row_block * kTile;
    double* scalars = task.scalars ? task.scalars + 2 * task.units + u : nullptr;
    const UnitSums out{task.rows + unit.split * leaf.features * task.stride + i, task.stride, scalars, task.units};
    const UnitSums sums = sums_of(task, shared, out);
    double value = 0, shape = 0;
    for (int64_t block = unit.first; block < unit.last; ++block) {
      const int64_t j = block * kTile;
      Micro<T> w, s;
      load_cotangent(task, context, i, j, shared, w);
      fill(s, T(0));
      add_numbers<F::kDistance>(leaf.rows, leaf.cols, i, j, leaf.features, at, shared.sums.staged, s);
      const PairSums<T> pairs = pull_pairs<F>(leaf, sides, i, j, at, s, w);
      const double weight = pair_weight(scalars, sides, i, j);
      if (weight > 0) {
        value += weight * static_cast<double>(pairs.value);
        shape += weight * static_cast<double>(pairs.shape);
      }
      __syncthreads();  // S that was turned has been read
      add_sums<F::kDistance>(leaf, i, j, at, shared.sums, weight, w, sums);
    }
    store_sums(task, sums, out);
    if (scalars) store_scalars(task, u, value, shape, shared.memory);
  }
}

// Of a constant or white: only the sum of S times the context, of white over the diagonal.
template <class Context, class T>
__global__ void __launch_bounds__(kThreads, 2) plain_pull_kernel(const __grid_constant__ PullTask<T> task,
                                                                 const __grid_constant__ Context context) {
  LVM_SHARED(bytes);
  const Sides& sides = task.sides;
  const PullShared<T> shared(bytes);
  const At at = At::squares(thread_index());
  const bool white = task.leaf.function == PairFunction::white;
  for (int64_t u = blockIdx.x; u < task.units; u += gridDim.x) {
    const Unit unit = Unit::of(u, sides, task.splits);
    const int64_t i = unit.row_block * kTile;
    double value = 0;
    for (int64_t block = unit.first; block < unit.last; ++block) {
      const int64_t j = block * kTile;
      const double weight = pair_weight(true, sides, i, j);
      if (weight == 0 || (white && (!sides.same || i != j))) continue;
      Micro<T> w;
      load_cotangent(task, context, i, j, shared, w);
      T sum = T(0);
      LVM_UNROLL for (int r = 0; r < kMicro; ++r) {
        LVM_UNROLL for (int c = 0; c < kMicro; ++c) {
          const int row = at.row<T>(r), col = at.col<T>(c);
          const bool inside = i + row < sides.n && j + col < sides.m && (!white || row == col);
          sum += inside ? w[r][c] : T(0);
        }
      }
      value += weight * static_cast<double>(sum);
    }
    __syncthreads();
    store_scalars(task, u, value, 0.0, shared.memory);
  }
}

}  // namespace lvm::cuda::pairs

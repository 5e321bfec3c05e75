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

// rows: sums per split, feature and point, whose lines have `stride` numbers; scalars: [value, shape, squares
// (features)] per unit, a line of `units` numbers each, or null: not wanted.
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
  double* scalars;  // two of each thread: the sums of values and by shape
  UnitSums totals;  // of few features
  double* memory;   // for sums over the block; where S is turned, and the parts of sums
  static constexpr int64_t kBuffer = std::max<int64_t>(kTile * kPitch<T>, kChunk * kParts * kTile);
  static int64_t bytes(int features) {
    const int64_t doubles = 2 * kThreads + std::min(features, kChunk) * kTile + kChunk;
    return doubles * int64_t(sizeof(double)) + (2 * kChunk * kTile + kBuffer + kChunk * kWarps) * int64_t(sizeof(T));
  }
  __device__ explicit PullShared(unsigned char* bytes) {
    sums.staged = reinterpret_cast<T*>(bytes);
    sums.parts = sums.staged + 2 * kChunk * kTile;
    sums.squares = sums.parts + kBuffer;
    memory = reinterpret_cast<double*>(sums.parts);
    scalars = reinterpret_cast<double*>(sums.squares + kChunk * kWarps);
    double* squares = scalars + 2 * kThreads;
    totals = {squares + kChunk, kTile, squares, 1};
  }
};

// Every pair of points counts once in sums over pairs.
__device__ inline double pair_weight(bool wanted, const Sides& sides, int64_t i, int64_t j) {
  if (!wanted || (sides.same && i < j)) return 0;
  return sides.same && i == j ? 0.5 : 1;
}

// w: cotangent -> cotangent * slope; value and shape: sums of weight times cotangent * value and by shape. Pairs
// beyond the last points count nothing, whatever their value.
template <class F, class T>
__device__ void pull_pairs(const Leaf<T>& leaf, const Sides& sides, int64_t i, int64_t j, At at, double weight,
                           double* scalars, Micro<T>& s, Micro<T>& w) {
  const Shape<T> number{leaf.numbers[1], leaf.degree};
  const bool edge = i + kTile > sides.n || j + kTile > sides.m;
  const bool flat = sides.same && i == j && leaf.stationary;  // leave no rounding of the size of the slope
  T values = T(0), shapes = T(0);
  constexpr int kTurns = sizeof(T) == 8 ? kMicro : 1, kRows = kMicro / kTurns;  // double: see turn_rows
  LVM_NO_UNROLL for (int turn = 0; turn < kTurns; ++turn) {
    LVM_UNROLL for (int r = 0; r < kRows; ++r) {
      LVM_UNROLL for (int c = 0; c < kMicro; ++c) {
        const int row = at.row<T>(turn * kRows + r), col = at.col<T>(c);
        T value, slope, by_shape = T(0);
        F::pull(s[r][c], number, value, slope, by_shape);
        const bool inside = !edge || (i + row < sides.n && j + col < sides.m);
        values += inside ? w[r][c] * value : T(0);
        if (F::kShape) shapes += inside ? w[r][c] * by_shape : T(0);
        w[r][c] = inside && !(flat && row == col) ? w[r][c] * slope : T(0);
      }
    }
    if (kTurns == 1) continue;
    turn_rows(s);
    turn_rows(w);
  }
  if (weight > 0) {
    const int thread = fresh_thread_index();
    scalars[thread] += weight * static_cast<double>(values);
    if (F::kShape) scalars[kThreads + thread] += weight * static_cast<double>(shapes);
  }
}

template <class Context, class T>
__device__ void load_cotangent(const PullTask<T>& task, const Context& context, int64_t i, int64_t j, At at,
                               const PullShared<T>& shared, Micro<T>& w) {
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
__device__ void store_scalars(const PullTask<T>& task, int64_t unit, const PullShared<T>& shared) {
  const double value = block_sum(shared.scalars[threadIdx.x], shared.memory);
  const double shape = block_sum(shared.scalars[kThreads + threadIdx.x], shared.memory);
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
  for (int64_t u = blockIdx.x; u < task.units; u += gridDim.x) {
    const Unit unit = Unit::of(u, sides, task.splits);
    const int64_t i = int64_t(unit.row_block) * kTile;
    double* scalars = task.scalars ? task.scalars + 2 * task.units + u : nullptr;
    double* lines = task.rows + int64_t(unit.split) * leaf.features * task.stride + i;
    const UnitSums out{lines, task.stride, scalars, task.units};
    const UnitSums sums = sums_of(task, shared, out);
    shared.scalars[threadIdx.x] = shared.scalars[kThreads + threadIdx.x] = 0;
    for (int block = unit.first; block < unit.last; ++block) {
      const int64_t j = int64_t(block) * kTile;
      Micro<T> w, s;
      const At at = At::squares(fresh_thread_index());
      load_cotangent(task, context, i, j, at, shared, w);
      fill(s, T(0));
      add_numbers<F::kDistance>(leaf.rows, leaf.cols, i, j, leaf.features, at, shared.sums.staged, s);
      const double weight = pair_weight(scalars, sides, i, j);
      pull_pairs<F>(leaf, sides, i, j, at, weight, shared.scalars, s, w);
      __syncthreads();  // S that was turned has been read
      add_sums<F::kDistance>(leaf, i, j, at, shared.sums, weight, w, sums);
    }
    store_sums(task, sums, out);
    if (scalars) store_scalars(task, u, shared);
  }
}

// Of a constant or white: only the sum of S times the context, of white over the diagonal.
template <class Context, class T>
__global__ void __launch_bounds__(kThreads, 2) plain_pull_kernel(const __grid_constant__ PullTask<T> task,
                                                                 const __grid_constant__ Context context) {
  LVM_SHARED(bytes);
  const Sides& sides = task.sides;
  const PullShared<T> shared(bytes);
  const bool white = task.leaf.function == PairFunction::white;
  for (int64_t u = blockIdx.x; u < task.units; u += gridDim.x) {
    const Unit unit = Unit::of(u, sides, task.splits);
    const int64_t i = int64_t(unit.row_block) * kTile;
    shared.scalars[threadIdx.x] = shared.scalars[kThreads + threadIdx.x] = 0;
    for (int block = unit.first; block < unit.last; ++block) {
      const int64_t j = int64_t(block) * kTile;
      const double weight = pair_weight(true, sides, i, j);
      if (weight == 0 || (white && (!sides.same || i != j))) continue;
      Micro<T> w;
      const At at = At::squares(fresh_thread_index());
      load_cotangent(task, context, i, j, at, shared, w);
      T sum = T(0);
      LVM_UNROLL for (int r = 0; r < kMicro; ++r) {
        LVM_UNROLL for (int c = 0; c < kMicro; ++c) {
          const int row = at.row<T>(r), col = at.col<T>(c);
          const bool inside = i + row < sides.n && j + col < sides.m && (!white || row == col);
          sum += inside ? w[r][c] : T(0);
        }
      }
      shared.scalars[threadIdx.x] += weight * static_cast<double>(sum);
    }
    __syncthreads();
    store_scalars(task, u, shared);
  }
}

}  // namespace lvm::cuda::pairs

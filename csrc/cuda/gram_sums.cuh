// Sums over the columns of a tile: of w times the differences of features, or times the features of the columns.
//
// A thread adds up its own four columns, the four lanes of a warp that have the same rows exchange what they have, and
// the four warps with the same rows leave their parts in shared memory; up to there in T, then in double.
#pragma once

#include "cuda/gram_tile.cuh"

namespace lvm::cuda::pairs {

constexpr int kWarps = kThreads / 32;
constexpr int kParts = 4;  // warps that have the same rows

// What lane_sum gives this lane.
__device__ inline int lane_member() { return thread_index() % 2 * 2 + thread_index() / 2 % 2; }

// x[lane_member()] summed over groups of four lanes: three exchanges for four sums.
template <class T>
__device__ T lane_sum(const T (&x)[kMicro]) {
  const bool odd = threadIdx.x & 1, upper = threadIdx.x & 2;
  const T first = (odd ? x[2] : x[0]) + __shfl_xor_sync(0xffffffffu, odd ? x[0] : x[2], 1);
  const T second = (odd ? x[3] : x[1]) + __shfl_xor_sync(0xffffffffu, odd ? x[1] : x[3], 1);
  return (upper ? second : first) + __shfl_xor_sync(0xffffffffu, upper ? first : second, 2);
}

template <class T>
struct SumShared {
  T* staged;   // features, as stage_both leaves them
  T* parts;    // per feature of a chunk kParts lines of 64 rows
  T* squares;  // per feature of a chunk a number of each warp
};

// The four rows' sums of one feature; square: of w d^2, if wanted.
template <bool kDistance, bool kSquares, class T>
__device__ void sum_feature(const T* row_line, const T* col_line, At at, const Micro<T>& w, T (&sum)[kMicro],
                            T& square) {
  T x[kMicro], z[kMicro];
  if (kDistance) load_members(row_line, at.row_group, x);
  load_members(col_line, at.col_group, z);
  square = T(0);
  LVM_UNROLL for (int r = 0; r < kMicro; ++r) {
    sum[r] = T(0);
    LVM_UNROLL for (int c = 0; c < kMicro; ++c) {
      const T d = kDistance ? x[r] - z[c] : z[c];
      if (kSquares) {
        const T wd = w[r][c] * d;
        sum[r] += wd;
        square += wd * d;
      } else {
        sum[r] += w[r][c] * d;
      }
    }
  }
}

// Parts of the sums of the `count` features that are staged.
template <bool kDistance, bool kSquares, class T>
__device__ void sum_chunk(const SumShared<T>& shared, int count, At at, const Micro<T>& w) {
  const int thread = fresh_thread_index(), warp = thread / 32, lane = thread % 32;
  const int row = At::member<T>(at.row_group, lane_member());
  T square[kMicro] = {};  // of this feature and the three before it
  LVM_NO_UNROLL for (int f = 0; f < count; ++f) {
    LVM_UNROLL for (int k = 0; k + 1 < kMicro; ++k) square[k] = square[k + 1];
    T sum[kMicro];
    const T* line = shared.staged + f * kTile;
    sum_feature<kDistance, kSquares>(line, line + kChunk * kTile, at, w, sum, square[kMicro - 1]);
    shared.parts[(f * kParts + warp % kParts) * kTile + row] = lane_sum(sum);
    if (!kSquares || (f % kMicro + 1 < kMicro && f + 1 < count)) continue;
    T total = lane_sum(square);
    LVM_UNROLL for (int step = kMicro; step < 32; step *= 2) total += __shfl_xor_sync(0xffffffffu, total, step);
    const int feature = f + 1 - kMicro + lane_member();
    if (lane < kMicro && feature >= 0) shared.squares[feature * kWarps + warp] = total;
  }
}

// Where a unit's sums of all tiles are: lines of 64 rows per feature, and the squares.
struct UnitSums {
  double* rows;
  int64_t pitch;
  double* squares;
  int64_t squares_pitch;
};

// f(place in a line of rows, feature) for those of features [first, first + count) that are this thread's.
template <class F>
__device__ void each_own(int first, int count, const F& f) {
  for (int e = fresh_thread_index(); e < count * kTile; e += kThreads) f(e % kTile, first + e / kTile);
}

struct ZeroSums {
  UnitSums to;
  __device__ void operator()(int row, int f) const { to.rows[f * to.pitch + row] = 0; }
};
struct CopySums {
  UnitSums from, to;
  __device__ void operator()(int row, int f) const { to.rows[f * to.pitch + row] = from.rows[f * from.pitch + row]; }
};
template <class T>
struct AddParts {
  const T* parts;
  int first;
  UnitSums to;
  __device__ void operator()(int row, int f) const {
    const T* part = parts + (f - first) * kParts * kTile + row;
    double sum = 0;
    LVM_UNROLL for (int k = 0; k < kParts; ++k) sum += static_cast<double>(part[k * kTile]);
    to.rows[f * to.pitch + row] += sum;
  }
};

// The sums of one tile to those of the unit; weight of the squares, which count once per pair: 0 for none.
template <bool kDistance, class T>
__device__ void add_sums(const Leaf<T>& leaf, int64_t i, int64_t j, At at, const SumShared<T>& shared, double weight,
                         const Micro<T>& w, const UnitSums& sums) {
  for (int f = 0; f < leaf.features; f += kChunk) {
    const int count = chunk_of(leaf.features, f);
    if (leaf.features > kChunk) stage_both(leaf.rows, leaf.cols, i, j, f, count, shared.staged);
    const bool squares = kDistance && weight > 0;
    if (squares) {
      sum_chunk<kDistance, true>(shared, count, at, w);
    } else {
      sum_chunk<kDistance, false>(shared, count, at, w);
    }
    __syncthreads();
    each_own(f, count, AddParts<T>{shared.parts, f, sums});
    if (squares && thread_index() < count) {
      double sum = 0;
      for (int k = 0; k < kWarps; ++k) sum += static_cast<double>(shared.squares[thread_index() * kWarps + k]);
      sums.squares[(f + thread_index()) * sums.squares_pitch] += weight * sum;
    }
    __syncthreads();
  }
}

}  // namespace lvm::cuda::pairs

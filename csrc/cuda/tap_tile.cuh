// Tiles of products whose factors a block brings to shared memory piece by piece: 128 threads, each with a few rows and columns
// in registers. The next piece is fetched into registers while the present one is multiplied, and there are two of them in
// shared memory, so that the threads meet once a piece.
#pragma once

#include <cstdint>

#include "cuda/gram_tile.cuh"
#include "device/cuda_taps.hpp"

namespace lvm::cuda::taps {

using pairs::Vec;

constexpr int kThreads = 128;
constexpr int kMostShared = 48 * 1024;

// kRows x kColumns sums of kDepth products at a time. Slices of the threads share out a piece's depth where the sums are too few
// for all of them. kBlocks: so many on a multiprocessor, a bound for the registers.
template <class T, int kRows_, int kColumns_, int kMicroRows_, int kMicroColumns_, int kDepth_, int kBlocks_>
struct Tile {
  static constexpr int kRows = kRows_, kColumns = kColumns_, kMicroRows = kMicroRows_, kMicroColumns = kMicroColumns_;
  static constexpr int kDepth = kDepth_, kBlocks = kBlocks_, kSize = Vec<T>::kSize;
  static constexpr int kGroupRows = kRows / kMicroRows, kGroupColumns = kColumns / kMicroColumns;
  static constexpr int kSlice = kGroupRows * kGroupColumns, kSlices = kThreads / kSlice, kOwn = kDepth / kSlices;
  static constexpr int kPitch = kColumns + kSize;  // of the sums in shared memory
  static constexpr int64_t kStage = kDepth * (kRows + kColumns);
  static constexpr int64_t kNumbers = 2 * kStage > kRows * kPitch ? 2 * kStage : kRows * kPitch;
  static constexpr int64_t kBytes = kRows * sizeof(int64_t) + kNumbers * sizeof(T);
  using Sums = T[kMicroRows][kMicroColumns];
  static_assert(kSlice % 32 == 0 && kThreads % kSlice == 0 && kDepth % (kSlices * kSize) == 0, "whole warps, equal slices");
  static_assert(kMicroRows % kSize == 0 && kMicroColumns % kSize == 0, "16 bytes at a time");
  static_assert(kBytes <= kMostShared, "more shared memory is to be asked for");
};

// What is written across, four lanes a line and a line a row, goes to row ^ turned(k): the four lanes of a row meet four banks.
template <class T>
__device__ inline int turned(int k) {
  return k / Vec<T>::kSize % 4 * (32 / static_cast<int>(sizeof(T)));
}

// Where a thread's sums are: a warp has 8 x 4 groups where it can.
template <class Tile>
struct Place {
  int slice, row_group, column_group;

  __device__ static Place of(int thread) {
    constexpr int kHigh = Tile::kGroupRows < 8 ? Tile::kGroupRows : 8, kWide = 32 / kHigh, kWarps = Tile::kGroupRows / kHigh;
    static_assert(Tile::kGroupColumns % kWide == 0, "whole warps");
    const int own = thread % Tile::kSlice, warp = own / 32, lane = own % 32;
    return {thread / Tile::kSlice, warp % kWarps * kHigh + lane / kWide, warp / kWarps * kWide + lane % kWide};
  }
  __device__ static int member(int group, int groups, int k) {
    return k / Tile::kSize * groups * Tile::kSize + group * Tile::kSize + k % Tile::kSize;
  }
  __device__ int row(int r) const { return member(row_group, Tile::kGroupRows, r); }
  __device__ int column(int c) const { return member(column_group, Tile::kGroupColumns, c); }
};

template <class T, int kMicro>
__device__ inline void load_line(const T* line, int group, int groups, int turn, T (&x)[kMicro]) {
  constexpr int kSize = Vec<T>::kSize;
  LVM_UNROLL for (int k = 0; k < kMicro; k += kSize) {
    const Vec<T> some = *reinterpret_cast<const Vec<T>*>(line + (((k / kSize * groups + group) * kSize) ^ turn));
    LVM_UNROLL for (int v = 0; v < kSize; ++v) x[k + v] = some.x[v];
  }
}

// sum += a^T b of the slice's part of a piece; a (kDepth, kRows), b (kDepth, kColumns).
template <class Tile, bool kTurnRows, bool kTurnColumns, class T>
__device__ inline void multiply(const T* a, const T* b, const Place<Tile>& place, typename Tile::Sums& sum) {
  // Whole vectors of lines, which are turned alike: with all of them the compiler keeps an address for each.
  LVM_NO_UNROLL for (int first = 0; first < Tile::kOwn; first += Tile::kSize) {
    const int turn = turned<T>(place.slice * Tile::kOwn + first);
    LVM_UNROLL for (int i = 0; i < Tile::kSize; ++i) {
      const int k = place.slice * Tile::kOwn + first + i;
      T x[Tile::kMicroRows], y[Tile::kMicroColumns];
      load_line(a + k * Tile::kRows, place.row_group, Tile::kGroupRows, kTurnRows ? turn : 0, x);
      load_line(b + k * Tile::kColumns, place.column_group, Tile::kGroupColumns, kTurnColumns ? turn : 0, y);
      LVM_UNROLL for (int r = 0; r < Tile::kMicroRows; ++r) {
        LVM_UNROLL for (int c = 0; c < Tile::kMicroColumns; ++c) sum[r][c] += x[r] * y[c];
      }
    }
  }
}

// The sums of all slices, added in order, to shared memory, rows of kPitch; the pieces there are lost.
template <class Tile, class T>
__device__ inline void gather_sums(const Place<Tile>& place, const typename Tile::Sums& sum, T* to) {
  LVM_NO_UNROLL for (int slice = 0; slice < Tile::kSlices; ++slice) {
    __syncthreads();
    if (place.slice != slice) continue;
    LVM_UNROLL for (int r = 0; r < Tile::kMicroRows; ++r) {
      T* line = to + place.row(r) * Tile::kPitch;
      LVM_UNROLL for (int c = 0; c < Tile::kMicroColumns; ++c) {
        T& at = line[place.column(c)];
        at = slice ? at + sum[r][c] : sum[r][c];
      }
    }
  }
  __syncthreads();
}

template <class T>
__device__ inline Vec<T> load_vector(const T* from) {
  return *reinterpret_cast<const Vec<T>*>(from);
}
template <class T>
__device__ inline Vec<T> no_vector() {
  Vec<T> none;
  LVM_UNROLL for (int v = 0; v < Vec<T>::kSize; ++v) none.x[v] = T(0);
  return none;
}

// Pixel `at` of the pixels of n images that a phase has.
struct Pixel {
  int64_t image;
  int row, col;

  __device__ static Pixel of(int64_t at, const TapAxis& rows, const TapAxis& cols) {
    const int64_t pixels = int64_t(rows.count) * cols.count;
    const int64_t image = at / pixels;
    const int rest = static_cast<int>(at - image * pixels);
    return {image, rest / cols.count, rest % cols.count};
  }
  // The pixel that lies `step` further, anywhere; by a few: advance.
  __device__ Pixel plus(int step, const TapAxis& rows, const TapAxis& cols) const {
    const int pixels = rows.count * cols.count, at = row * cols.count + col + step, rest = at % pixels;
    return {image + at / pixels, rest / cols.count, rest % cols.count};
  }
  __device__ void advance(int step, const TapAxis& rows, const TapAxis& cols) {
    col += step;
    while (col >= cols.count) {
      col -= cols.count;
      if (++row == rows.count) row = 0, ++image;
    }
  }
  __device__ int64_t target(const TapGeometry& shape, const TapAxis& rows, const TapAxis& cols) const {
    return image * shape.target_pixels() + int64_t(rows.target(row)) * shape.target_cols() + cols.target(col);
  }
};

// Product k of a sum: tap (a, b) of the phase's, channel c.
struct Term {
  int a, b, channel;

  __device__ static Term of(int k, const TapAxis& cols, int depth) {
    const int tap = k / depth;
    return {tap / cols.taps, tap % cols.taps, k % depth};
  }
  __device__ void advance(int step, const TapAxis& cols, int depth) {
    channel += step;
    while (channel >= depth) {
      channel -= depth;
      if (++b == cols.taps) b = 0, ++a;
    }
  }
  __device__ int tap(const TapGeometry& shape, const TapAxis& rows, const TapAxis& cols) const {
    return rows.tap(a) * shape.cols + cols.tap(b);
  }
};

// Where a term's product with a column lies in d_w.
template <class T>
__device__ inline int64_t outer_place(const TapOuter<T>& task, const TapAxis& rows, const TapAxis& cols, const Term& term,
                                      int column) {
  const int64_t tap = int64_t(term.tap(task.shape, rows, cols)) * task.depth * task.columns;
  return tap + (task.shape.to_small ? int64_t(term.channel) * task.columns + column : int64_t(column) * task.depth + term.channel);
}

}  // namespace lvm::cuda::taps

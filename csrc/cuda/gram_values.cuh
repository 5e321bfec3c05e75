// Kernel matrices in memory.
//
// Per pair of points: 2 operations a feature and about 20 for the exponential, against one number written; with the
// same points twice half the pairs are worked out and written twice, the second time through shared memory, so that
// both times are whole lines.
#pragma once

#include <cmath>

#include "cuda/gram_tile.cuh"

namespace lvm::cuda::pairs {

template <class T>
struct Matrix {
  T* data;
  int64_t stride;
  int64_t aligned;  // rows begin at multiples of 16 bytes
};

template <class T>
Matrix<T> matrix_of(T* data, int64_t stride) {
  return {data, stride, reinterpret_cast<uintptr_t>(data) % 16 == 0 && stride % Vec<T>::kSize == 0};
}

// Place t of the tiles on and below the diagonal, row by row.
__device__ inline void triangle_place(int64_t t, int64_t& row, int64_t& col) {
  row = static_cast<int64_t>((sqrt(8.0 * static_cast<double>(t) + 1.0) - 1.0) / 2.0);
  while (row * (row + 1) / 2 > t) --row;
  while ((row + 1) * (row + 2) / 2 <= t) ++row;
  col = t - row * (row + 1) / 2;
}

template <class T>
__device__ void store_vec(const Vec<T>& x, T* to, int64_t room, bool aligned) {
  if (aligned && room >= Vec<T>::kSize) {
    *reinterpret_cast<Vec<T>*>(to) = x;
  } else {
    LVM_UNROLL for (int v = 0; v < Vec<T>::kSize; ++v) {
      if (v < room) to[v] = x.x[v];
    }
  }
}

template <class T>
__device__ void store_tile(const Micro<T>& k, const Sides& sides, int64_t i, int64_t j, At at, const Matrix<T>& out) {
  constexpr int kSize = Vec<T>::kSize;
  LVM_UNROLL for (int r = 0; r < kMicro; ++r) {
    const int64_t row = i + at.row<T>(r);
    if (row >= sides.n) continue;
    LVM_UNROLL for (int c = 0; c < kMicro; c += kSize) {
      const int64_t col = j + at.col<T>(c);
      Vec<T> some;
      LVM_UNROLL for (int v = 0; v < kSize; ++v) some.x[v] = k[r][c + v];
      store_vec(some, out.data + row * out.stride + col, sides.m - col, out.aligned);
    }
  }
}

// The tile of columns i and rows j of the same points.
template <class T>
__device__ void store_turned(const Micro<T>& k, const Sides& sides, int64_t i, int64_t j, At at, T* memory,
                             const Matrix<T>& out) {
  constexpr int kSize = Vec<T>::kSize, kLine = kTile / kSize;
  __syncthreads();  // the features that were there have been read
  LVM_UNROLL for (int c = 0; c < kMicro; ++c) {
    T line[kMicro];
    LVM_UNROLL for (int r = 0; r < kMicro; ++r) line[r] = k[r][c];
    store_members(line, at.row_group, memory + at.col<T>(c) * kPitch<T>);
  }
  __syncthreads();
  for (int e = thread_index(); e < kTile * kLine; e += kThreads) {
    const int line = e / kLine, first = e % kLine * kSize;
    if (j + line >= sides.n || i + first >= sides.n) continue;
    const Vec<T> some = *reinterpret_cast<const Vec<T>*>(memory + line * kPitch<T> + first);
    store_vec(some, out.data + (j + line) * out.stride + i + first, sides.n - i - first, out.aligned);
  }
}

template <class Tile, class T>
__global__ void __launch_bounds__(kThreads, 2) values_kernel(const __grid_constant__ Tile tile, Sides sides,
                                                             int64_t tiles, Matrix<T> out, bool lower,
                                                             const T* diagonal) {
  LVM_SHARED(bytes);
  T* memory = reinterpret_cast<T*>(bytes);
  const At at = At::lines(thread_index());
  for (int64_t t = blockIdx.x; t < tiles; t += gridDim.x) {
    int64_t row, col;
    if (sides.same) {
      triangle_place(t, row, col);
    } else {
      row = t / sides.col_blocks();
      col = t % sides.col_blocks();
    }
    const int64_t i = row * kTile, j = col * kTile;
    Micro<T> k;
    tile.values(sides, i, j, at, memory, k);
    if (sides.same && row == col && diagonal) {
      LVM_UNROLL for (int r = 0; r < kMicro; ++r) {
        LVM_UNROLL for (int c = 0; c < kMicro; ++c) {
          const int64_t point = i + at.row<T>(r);
          if (at.row<T>(r) == at.col<T>(c) && point < sides.n) k[r][c] = diagonal[point];
        }
      }
    }
    store_tile(k, sides, i, j, at, out);
    if (sides.same && row != col && !lower) store_turned(k, sides, i, j, at, memory, out);
  }
}

// blocks: the most there may be, of a program whose stack is per block; else 0.
template <class Tile, class T>
void values(const Tile& tile, const Sides& sides, int64_t blocks, T* out, int64_t stride, bool lower,
            const T* diagonal) {
  const int64_t rows = sides.row_blocks(), tiles = sides.same ? rows * (rows + 1) / 2 : rows * sides.col_blocks();
  const int64_t shared = std::max<int64_t>(kStagedBytes<T>, kTile * kPitch<T> * sizeof(T));
  LVM_LAUNCH((values_kernel<Tile, T>), grid_of(tiles, blocks), kThreads, shared, cuda_context().stream, tile, sides,
             tiles, matrix_of(out, stride), lower, diagonal);
  check_launch("values");
}

}  // namespace lvm::cuda::pairs

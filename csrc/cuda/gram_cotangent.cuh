// Tiles of the cotangent S of a kernel matrix: read from a matrix, or made as a product of columns. With the same
// points twice a tile holds S[i, j] + S[j, i].
#pragma once

#include "cuda/gram_values.cuh"
#include "device/cotangent.hpp"

namespace lvm::cuda::pairs {

// scale * (c[i, j] if direct + c[j, i] if turned); lower: of either only what lies on or below the diagonal of c, and
// the diagonal once. Or, with c null: a_i . b_j, and b_i . a_j too if both.
template <class T>
struct CotangentTiles {
  Matrix<const T> c;
  int direct, turned, lower, both, scale;
  int columns;  // of a and b
  Points<T> a, b;

  CotangentTiles exchanged() const {  // of the columns with the rows
    CotangentTiles other = *this;
    std::swap(other.direct, other.turned);
    std::swap(other.a, other.b);
    return other;
  }

  // x *= tile, or x = tile where x is not filled yet. memory: kTile lines of kPitch.
  template <bool kFirst>
  __device__ void multiply(const Sides& sides, int64_t i, int64_t j, At at, T* memory, Micro<T>& x) const {
    if (!c.data) {
      Micro<T> s;
      fill(s, T(0));
      LVM_NO_UNROLL for (int turn = 0; turn <= both; ++turn) {
        add_numbers<false>(turn ? b : a, turn ? a : b, i, j, columns, at, memory, s);
      }
      LVM_UNROLL for (int r = 0; r < kMicro; ++r) {
        LVM_UNROLL for (int k = 0; k < kMicro; ++k) x[r][k] = kFirst ? s[r][k] : x[r][k] * s[r][k];
      }
      return;
    }
    const bool turn = turned && !(lower && i > j);
    if (turn) turn_tile(sides, i, j, memory);
    LVM_UNROLL for (int r = 0; r < kMicro; ++r) {
      T line[kMicro];
      read_line(sides, i + at.row<T>(r), j, at, line);
      LVM_UNROLL for (int k = 0; k < kMicro; ++k) {
        if (turn) line[k] += memory[at.col<T>(k) * kPitch<T> + at.row<T>(r)];
        x[r][k] = kFirst ? T(scale) * line[k] : x[r][k] * (T(scale) * line[k]);
      }
    }
  }

 private:
  // Numbers at to x, as far as there are `room`.
  __device__ Vec<T> load_vec(const T* from, int64_t room) const {
    Vec<T> some;
    if (c.aligned && room >= Vec<T>::kSize) return load_constant(from);
    LVM_UNROLL for (int v = 0; v < Vec<T>::kSize; ++v) some.x[v] = v < room ? from[v] : T(0);
    return some;
  }

  __device__ void read_line(const Sides& sides, int64_t row, int64_t j, At at, T (&line)[kMicro]) const {
    LVM_UNROLL for (int k = 0; k < kMicro; k += Vec<T>::kSize) {
      const int64_t col = j + at.col<T>(k);
      int64_t room = direct && row < sides.n ? sides.m - col : 0;
      if (lower && room > row + 1 - col) room = row + 1 - col;
      const Vec<T> some = load_vec(c.data + row * c.stride + col, room);
      LVM_UNROLL for (int v = 0; v < Vec<T>::kSize; ++v) line[k + v] = some.x[v];
    }
  }

  // c[j, i] to memory[j * kPitch + i]: lines of c as they lie.
  __device__ void turn_tile(const Sides& sides, int64_t i, int64_t j, T* memory) const {
    constexpr int kSize = Vec<T>::kSize, kLine = kTile / kSize;
    const int thread = fresh_thread_index();
    __syncthreads();
    LVM_UNROLL for (int k = 0; k < kTile * kLine / kThreads; ++k) {
      const int e = thread + k * kThreads;
      const int line = e / kLine, first = e % kLine * kSize;
      const int64_t row = j + line, col = i + first;
      int64_t room = row < sides.m ? sides.n - col : 0;
      if (lower && room > row - col) room = row - col;  // without the diagonal, which is read directly
      *reinterpret_cast<Vec<T>*>(memory + line * kPitch<T> + first) = load_vec(c.data + row * c.stride + col, room);
    }
    __syncthreads();
  }
};

template <class T>
CotangentTiles<T> cotangent_tiles(const T* c, int64_t stride, Cotangent layout) {
  const bool lower = layout == Cotangent::symmetric_lower, part = layout == Cotangent::symmetric_part;
  const bool turned = layout != Cotangent::direct, direct = layout != Cotangent::transposed;
  return {matrix_of(c, stride), direct, turned, lower, part, lower ? 2 : 1, 0, {}, {}};
}

template <class T>
CotangentTiles<T> product_tiles(const Points<T>& a, const Points<T>& b, int64_t columns, bool both) {
  return {{nullptr, 0, false}, true, false, false, both, 1, static_cast<int>(columns), a, b};
}

}  // namespace lvm::cuda::pairs

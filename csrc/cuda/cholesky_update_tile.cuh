// What both ways of updating a Cholesky factor on the GPU share: the task, a tile of 32 rows on its way between memory
// and a warp or a block, and words that say themselves whether they have been written.
#pragma once

#include <string.h>

#include "cuda/launch.cuh"
#include "device/matrix.hpp"
#include "device/status.hpp"

namespace lvm {

// out out^T = l l^T + u S u^T, lower triangles, S = +1 for the first `plus` columns and -1 for the others.
template <class T>
struct CudaUpdate {
  int64_t n, m, plus;
  Factor<const T> l;
  Factor<T> out;          // of the order of l; may be l
  Strided<const T> u;     // entry (i, q) at u.data[i * u.row + order[q] * u.col]
  const int64_t* order;   // on the device
  bool clear_upper;       // zeros above the diagonal of out; else what is there stays
};

namespace cuda_update {

constexpr int kRows = 32;       // of a tile, one to a lane; also the columns of a panel
constexpr int kStride = kRows + 1;  // of a column of a slab: rows and columns are both met without bank conflicts
constexpr int kWarps = 4;       // of a block: one to each of a multiprocessor's schedulers
constexpr unsigned kAll = 0xffffffffu;

// A kernel's argument: plain numbers without gaps, in which a host's addresses might be left over.
template <class T>
struct Task {
  int64_t n, m, plus;
  const T* l;
  int64_t l_stride;
  T* out;
  int64_t out_stride;
  const T* u;
  int64_t u_row, u_col;
  const int64_t* order;
  int by_rows, clear_upper;
  int64_t batch, tiles;  // tiles of a member
  const int64_t *l_offset, *out_offset, *u_offset;  // of the members, or null
  int64_t* status;       // code and index of each member
  T* panels;             // the reflections of a batch's tiles, at first all bits 1
  int* ticket;           // at first 0

  // Row i of a member's U.
  __device__ const T* row_of_u(int64_t member, int64_t i) const {
    return u + (u_offset ? u_offset[member] : 0) + i * u_row;
  }
};

// Words between tiles. A word whose bits are all 1 has not been written yet: so a reader needs no flag, and a writer no
// fence, which would cost more than a column of the update.
__device__ inline bool missing(double x) {
  unsigned long long bits;
  memcpy(&bits, &x, sizeof(bits));
  return bits == ~0ull;
}
__device__ inline bool missing(float x) {
  unsigned bits;
  memcpy(&bits, &x, sizeof(bits));
  return bits == ~0u;
}
template <class T>
__device__ inline T look(const T* at) {
  return *static_cast<const volatile T*>(at);
}
template <class T>
__device__ inline void write(T* at, T x) {
  *static_cast<volatile T*>(at) = missing(x) ? T(NAN) : x;
}
template <class T>
__device__ inline void forget(T* words, int count, int lane) {
  for (int k = lane; k < count; k += kRows) memset(words + k, 0xff, sizeof(T));
}
// This lane's word, once all lanes have theirs.
template <class T>
__device__ inline T wait_for(const T* at) {
  for (;;) {
    const T x = look(at);
    if (__ballot_sync(kAll, missing(x)) == 0) return x;
    LVM_SPIN();
  }
}

// G warps at one tile: a slab of W of its columns, column-major in shared memory.
template <class T, int G, int W>
struct Tile {
  int64_t n, row;  // the first row
  const T* l;
  T* out;
  int64_t l_stride, out_stride;
  bool by_rows;
  int lane, part;  // of the G warps
  int rows, r, c, down, along;

  __device__ Tile(const Task<T>& t, int64_t member, int64_t tile, int lane_, int part_)
      : n(t.n),
        row(tile * kRows),
        l(t.l + (t.l_offset ? t.l_offset[member] : 0)),
        out(t.out + (t.out_offset ? t.out_offset[member] : 0)),
        l_stride(t.l_stride),
        out_stride(t.out_stride),
        by_rows(t.by_rows != 0),
        lane(lane_),
        part(part_),
        rows(n - row < kRows ? static_cast<int>(n - row) : kRows),
        r(by_rows ? (lane_ + kRows * part_) / W : lane_),
        c(by_rows ? lane_ % W : part_),
        down(by_rows ? kRows * G / W : 0),
        along(by_rows ? 0 : G) {}

  __device__ void sync() const {
    if (G == 1) {
      __syncwarp(kAll);
    } else {
      __syncthreads();
    }
  }
  // Number k of a lane stands at row r + k down and column c + k along: neighbours in a warp are neighbours in memory.
  __device__ bool inside(int k, int left) const {
    const int i = r + k * down;
    return i < rows && c + k * along - left <= i;
  }
  // How far column `first` stands left of the diagonal.
  __device__ int left_of(int64_t first) const { return row - first < W ? static_cast<int>(row - first) : W; }

  // The slab from column `first` on into registers, zeros where there is no matrix; then from there.
  __device__ void fetch(int64_t first, T (&x)[W / G]) const {
    const int64_t step = by_rows ? down * l_stride : along * l_stride;
    const T* from = l + (by_rows ? (row + r) * l_stride + first + c : row + r + (first + c) * l_stride);
    const int left = left_of(first);
#pragma unroll
    for (int k = 0; k < W / G; ++k, from += step) x[k] = inside(k, left) ? *from : T(0);
  }
  __device__ void put(const T (&x)[W / G], T* slab) const {
    slab += c * kStride + r;
#pragma unroll
    for (int k = 0; k < W / G; ++k) slab[k * (along * kStride + down)] = x[k];
  }
  __device__ void store(int64_t first, const T* slab) const {
    const int64_t step = by_rows ? down * out_stride : along * out_stride;
    T* to = out + (by_rows ? (row + r) * out_stride + first + c : row + r + (first + c) * out_stride);
    const int left = left_of(first);
    slab += c * kStride + r;
#pragma unroll
    for (int k = 0; k < W / G; ++k, to += step) {
      const T x = slab[k * (along * kStride + down)];
      if (inside(k, left)) *to = x;
    }
  }
  __device__ void clear_upper() const {
    if (by_rows) {
      for (int64_t i = row + part; i < n && i < row + kRows; i += G) {
        for (int64_t j = i + 1 + lane; j < n; j += kRows) out[i * out_stride + j] = T(0);
      }
    } else {
      const int64_t i = row + lane;
      for (int64_t j = row + 1 + part; j < n; j += G) {
        if (i < j && i < n) out[i + j * out_stride] = T(0);
      }
    }
  }
};

// The first column that was lost. Every tile finds those of the tiles above it among their reflections.
struct Lost {
  int64_t code = 0, index = -1;
  __device__ void add(int64_t new_code, int64_t column) {
    if (code != 0 && index < column) return;
    code = new_code;
    index = column;
  }
};
constexpr int64_t kIndefinite = static_cast<int64_t>(Code::not_positive_definite);
constexpr int64_t kNonFinite = static_cast<int64_t>(Code::non_finite);

template <class T>
__device__ inline void report(const Task<T>& t, int64_t member, const Lost& lost) {
  t.status[2 * member] = lost.code;
  t.status[2 * member + 1] = lost.index;
}

}  // namespace cuda_update
}  // namespace lvm

// Tiles of 64 by 64 pairs of points: 256 threads, each with 4 by 4 pairs in registers.
//
// Features lie feature-major in device memory, so that the 64 points of a tile are one line per feature; 16 features of
// both sides at a time are brought to shared memory. A thread reads 16 bytes at a time there, and neighbouring threads
// neighbouring ones.
#pragma once

#include <cstdint>

#include "core/covariance.hpp"
#include "cuda/loops.cuh"

#if defined(LVM_SHIM)
#define LVM_UNROLL
#define LVM_NO_UNROLL
#define LVM_UNROLL_BY(n)
#else
#define LVM_UNROLL _Pragma("unroll")
#define LVM_NO_UNROLL _Pragma("unroll 1")
#define LVM_PRAGMA(text) _Pragma(#text)
#define LVM_UNROLL_BY(n) LVM_PRAGMA(unroll n)
#endif

namespace lvm::cuda::pairs {

constexpr int kTile = 64;   // points to a side of a tile
constexpr int kMicro = 4;   // points to a side of what a thread has
constexpr int kSide = kTile / kMicro;
constexpr int kChunk = 16;  // features that are in shared memory at a time
static_assert(kThreads == kSide * kSide, "a thread has 4 by 4 pairs");

template <class T>
using Micro = T[kMicro][kMicro];

__device__ inline int thread_index() { return static_cast<int>(threadIdx.x); }
// The same, but what follows from it is worked out here each time: the compiler would rather keep dozens of addresses
// in registers from tile to tile.
__device__ inline int fresh_thread_index() {
  int index = thread_index();
  asm volatile("" : "+r"(index));
  return index;
}

// 16 bytes.
template <class T>
struct alignas(16) Vec {
  static constexpr int kSize = 16 / static_cast<int>(sizeof(T));
  T x[kSize];
};

// A line of a tile in shared memory that is written or read across: 16 bytes more, against bank conflicts.
template <class T>
constexpr int kPitch = kTile + Vec<T>::kSize;

// Numbers per point: feature f of point i at data[f * stride + i], zero from the last point to a multiple of 64.
template <class T>
struct Points {
  const T* data;
  int64_t stride;
};

// Two sets of points, or the same one twice.
struct Sides {
  int64_t n, m;
  int64_t same;  // as a whole word, like all that follows: the arguments of a kernel have no bytes without a meaning
  LVM_HD int64_t row_blocks() const { return (n + kTile - 1) / kTile; }
  LVM_HD int64_t col_blocks() const { return (m + kTile - 1) / kTile; }
};

// A covariance function; numbers: its variance and its shape, in device memory.
template <class T>
struct Leaf {
  Points<T> rows, cols;
  const T* numbers;
  int features, degree;
  PairFunction function;
  int stationary;
};

// Where a thread is: member k of its rows is row(k) of the tile.
struct At {
  int row_group, col_group;

  // A warp has 2 by 16 threads: whole lines for what is written.
  __device__ static At lines(int thread) { return {thread / kSide, thread % kSide}; }
  // A warp has 8 by 4 threads: sums over columns take two steps between lanes.
  __device__ static At squares(int thread) {
    const int lane = thread % 32, warp = thread / 32;
    return {warp / 4 * 8 + lane / 4, warp % 4 * 4 + lane % 4};
  }
  template <class T>
  __device__ static int member(int group, int k) {
    constexpr int kSize = Vec<T>::kSize;
    return k / kSize * (kSide * kSize) + group * kSize + k % kSize;
  }
  template <class T>
  __device__ int row(int k) const { return member<T>(row_group, k); }
  template <class T>
  __device__ int col(int k) const { return member<T>(col_group, k); }
};

// A group's four numbers of a line.
template <class T>
__device__ void load_members(const T* line, int group, T (&x)[kMicro]) {
  constexpr int kSize = Vec<T>::kSize;
  LVM_UNROLL for (int k = 0; k < kMicro; k += kSize) {
    const Vec<T> some = *reinterpret_cast<const Vec<T>*>(line + At::member<T>(group, k));
    LVM_UNROLL for (int v = 0; v < kSize; ++v) x[k + v] = some.x[v];
  }
}
template <class T>
__device__ void store_members(const T (&x)[kMicro], int group, T* line) {
  constexpr int kSize = Vec<T>::kSize;
  LVM_UNROLL for (int k = 0; k < kMicro; k += kSize) {
    Vec<T> some;
    LVM_UNROLL for (int v = 0; v < kSize; ++v) some.x[v] = x[k + v];
    *reinterpret_cast<Vec<T>*>(line + At::member<T>(group, k)) = some;
  }
}

template <class T>
__device__ void fill(Micro<T>& x, T value) {
  LVM_UNROLL for (int r = 0; r < kMicro; ++r) {
    LVM_UNROLL for (int c = 0; c < kMicro; ++c) x[r][c] = value;
  }
}

// Row 0 to the end, the others up. A loop that works on row 0 and turns the rows, four times, has code for a quarter of
// the pairs, no indices into registers, and fewer intermediate results at a time.
template <class T>
__device__ void turn_rows(Micro<T>& x) {
  LVM_UNROLL for (int c = 0; c < kMicro; ++c) {
    const T first = x[0][c];
    LVM_UNROLL for (int r = 0; r + 1 < kMicro; ++r) x[r][c] = x[r + 1][c];
    x[kMicro - 1][c] = first;
  }
}

// 16 bytes that no kernel writes while this one runs: such loads may pass stores.
template <class T>
__device__ Vec<T> load_constant(const T* from) {
  if constexpr (sizeof(T) == 8) {
    const double2 x = __ldg(reinterpret_cast<const double2*>(from));
    return {{x.x, x.y}};
  } else {
    const float4 x = __ldg(reinterpret_cast<const float4*>(from));
    return {{x.x, x.y, x.z, x.w}};
  }
}

// Both sides' features [f, f + count) of a tile's points, to lines of 64: rows at staged, columns kChunk lines later.
template <class T>
__device__ void stage_both(const Points<T>& rows, const Points<T>& cols, int64_t i, int64_t j, int f, int count,
                           T* staged) {
  constexpr int kSize = Vec<T>::kSize, kLine = kTile / kSize, kLines = kThreads / kLine, kEach = kChunk / kLines;
  const int thread = fresh_thread_index(), line = thread / kLine, at = thread % kLine * kSize;
  const T* row = rows.data + (f + line) * rows.stride + i + at;
  const T* col = cols.data + (f + line) * cols.stride + j + at;
  __syncthreads();  // others may still read what was there
  LVM_UNROLL for (int k = 0; k < kEach; ++k) {
    if (line + k * kLines >= count) continue;
    const Vec<T> x = load_constant(row + k * kLines * rows.stride), z = load_constant(col + k * kLines * cols.stride);
    T* to = staged + (line + k * kLines) * kTile + at;
    *reinterpret_cast<Vec<T>*>(to) = x;
    *reinterpret_cast<Vec<T>*>(to + kChunk * kTile) = z;
  }
  __syncthreads();
}

LVM_HD int chunk_of(int features, int f) { return features - f < kChunk ? features - f : kChunk; }

// s += the squared distance, or the dot product, of every pair of the tile that begins at points i and j.
template <bool kDistance, class T>
__device__ void add_numbers(const Points<T>& rows, const Points<T>& cols, int64_t i, int64_t j, int features, At at,
                            T* staged, Micro<T>& s) {
  LVM_NO_UNROLL for (int f = 0; f < features; f += kChunk) {
    const int count = chunk_of(features, f);
    stage_both(rows, cols, i, j, f, count, staged);
    [[maybe_unused]] constexpr int kUnroll = sizeof(T) == 8 ? 1 : 2;  // registers
    LVM_UNROLL_BY(kUnroll) for (int k = 0; k < count; ++k) {
      T x[kMicro], z[kMicro];
      load_members(staged + k * kTile, at.row_group, x);
      load_members(staged + (kChunk + k) * kTile, at.col_group, z);
      LVM_UNROLL for (int r = 0; r < kMicro; ++r) {
        LVM_UNROLL for (int c = 0; c < kMicro; ++c) {
          if (kDistance) {
            const T d = x[r] - z[c];
            s[r][c] += d * d;
          } else {
            s[r][c] += x[r] * z[c];
          }
        }
      }
    }
  }
}

// Bytes of shared memory that add_numbers takes.
template <class T>
constexpr int kStagedBytes = 2 * kChunk * kTile * static_cast<int>(sizeof(T));

// One covariance function, known when the kernel is compiled.
template <class F, class T>
struct LeafTile {
  Leaf<T> leaf;

  __device__ void values(const Sides&, int64_t i, int64_t j, At at, T* staged, Micro<T>& k) const {
    fill(k, T(0));
    add_numbers<F::kDistance>(leaf.rows, leaf.cols, i, j, leaf.features, at, staged, k);
    const T variance = leaf.numbers[0];
    const Shape<T> shape{leaf.numbers[1], leaf.degree};
    LVM_UNROLL for (int r = 0; r < kMicro; ++r) {
      LVM_UNROLL for (int c = 0; c < kMicro; ++c) k[r][c] = variance * F::value(k[r][c], shape);
    }
  }
};

// More than 48 KiB of shared memory are to be asked for.
template <class Kernel>
void allow_shared(Kernel* kernel, int64_t bytes) {
  if (bytes <= 48 * 1024) return;
  check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
             "cudaFuncSetAttribute");
}

// The split of `parts` parts of the columns that a block does, and of which block of rows.
struct Unit {
  int row_block, first, last, split;
  __device__ static Unit of(int64_t unit, const Sides& sides, int64_t splits) {
    const int64_t split = unit % splits, blocks = sides.col_blocks();
    return {static_cast<int>(unit / splits), static_cast<int>(split * blocks / splits),
            static_cast<int>((split + 1) * blocks / splits), static_cast<int>(split)};
  }
};

// How many parts the columns are cut into: so many blocks that the last to finish cost little, each with a few tiles.
// chunks: how often each row block comes anyway.
inline int64_t column_splits(const Sides& sides, int64_t chunks = 1) {
  const int64_t rows = sides.row_blocks() * chunks, cols = sides.col_blocks(), processors = cuda_context().processors;
  if (rows == 0 || cols == 0) return 1;
  const auto each = [rows](int64_t blocks) { return (blocks + rows - 1) / rows; };
  const int64_t some = std::min(each(16 * processors), std::max(cols / 4, each(2 * processors)));
  return std::max<int64_t>(1, std::min(some, cols));
}

// A block for each unit of work; most: the most blocks there may be, or 0.
inline unsigned grid_of(int64_t units, int64_t most) {
  return static_cast<unsigned>(std::min(units, most ? most : (int64_t(1) << 31) - 1));
}

}  // namespace lvm::cuda::pairs

// Products of kernel matrices with columns, without the matrix: K v for up to 4 columns from registers, for up to 32 at
// a time through tiles of K in shared memory.
//
// Per pair of points: its value, and one operation a column. Sums run over a tile's columns in T and over tiles in
// double; where the columns of K are split among blocks, the parts are added in order.
#pragma once

#include "cuda/gram_tile.cuh"

namespace lvm::cuda::pairs {

constexpr int kFew = 4;        // columns of v that registers hold the sums of
constexpr int kColumns = 32;   // columns of v at a time else
constexpr int kHalves = 2;     // parts of a tile's columns that the threads share out
template <class T>
constexpr int kColumnPitch = kColumns + Vec<T>::kSize;

// v: columns as features; partial: sums per split, column and point, whose lines have `stride` numbers.
template <class T>
struct ProductTask {
  Sides sides;
  int64_t splits, chunks, units;  // chunks of columns of v; one unit of work for each block of rows, split and chunk
  Points<T> v;
  int64_t columns;
  double* partial;
  int64_t stride;
};

// Pairs with points beyond the last count nothing, whatever their value.
template <class T>
__device__ void clear_beyond(const Sides& sides, int64_t j, At at, Micro<T>& k) {
  if (j + kTile <= sides.m) return;
  LVM_UNROLL for (int c = 0; c < kMicro; ++c) {
    if (j + at.col<T>(c) < sides.m) continue;
    LVM_UNROLL for (int r = 0; r < kMicro; ++r) k[r][c] = T(0);
  }
}

template <class Tile, class T>
__global__ void __launch_bounds__(kThreads, 2) few_products_kernel(const __grid_constant__ Tile tile,
                                                                   const ProductTask<T> task) {
  LVM_SHARED(bytes);
  const At at = At::lines(thread_index());
  for (int64_t u = blockIdx.x; u < task.units; u += gridDim.x) {
    const Unit unit = Unit::of(u, task.sides, task.splits);
    const int64_t i = int64_t(unit.row_block) * kTile;
    double sum[kFew][kMicro] = {};
    for (int block = unit.first; block < unit.last; ++block) {
      Micro<T> k;
      tile.values(task.sides, i, int64_t(block) * kTile, at, reinterpret_cast<T*>(bytes), k);
      clear_beyond(task.sides, int64_t(block) * kTile, at, k);
      LVM_UNROLL for (int column = 0; column < kFew; ++column) {
        if (column >= task.columns) continue;
        T v[kMicro];
        load_members(task.v.data + column * task.v.stride + int64_t(block) * kTile, at.col_group, v);
        LVM_UNROLL for (int r = 0; r < kMicro; ++r) {
          T s = k[r][0] * v[0];
          LVM_UNROLL for (int c = 1; c < kMicro; ++c) s += k[r][c] * v[c];
          sum[column][r] += static_cast<double>(s);
        }
      }
    }
    double* memory = reinterpret_cast<double*>(bytes);  // a line of 64 rows per thread of a row
    LVM_UNROLL for (int column = 0; column < kFew; ++column) {
      if (column >= task.columns) continue;
      __syncthreads();
      LVM_UNROLL for (int r = 0; r < kMicro; ++r) memory[at.col_group * kTile + at.row<T>(r)] = sum[column][r];
      __syncthreads();
      if (threadIdx.x < kTile) {
        double total = 0;
        for (int part = 0; part < kSide; ++part) total += memory[part * kTile + threadIdx.x];
        task.partial[(int64_t(unit.split) * task.columns + column) * task.stride + i + threadIdx.x] = total;
      }
    }
    __syncthreads();
  }
}

// The tile of K and that of v lie with a line per column of K: what a thread needs of a line is a few vectors.
template <class T>
struct ProductShared {
  T* k;  // kTile lines of kPitch
  T* v;  // kTile lines of kColumnPitch; before that, features
  static constexpr int64_t kValues = int64_t(kTile) * kPitch<T>;
  static constexpr int64_t kOther = std::max(kTile * kColumnPitch<T>, 2 * kChunk * kTile);
  static constexpr int64_t kBytes = (kValues + kOther) * static_cast<int64_t>(sizeof(T));
  __device__ explicit ProductShared(unsigned char* bytes) : k(reinterpret_cast<T*>(bytes)), v(k + kValues) {}
};

template <class T>
__device__ void stage_columns(const Points<T>& points, int64_t first, int column, int64_t columns, T* to) {
  const int thread = fresh_thread_index();
  LVM_UNROLL for (int k = 0; k < kColumns * kTile / kThreads; ++k) {
    const int e = thread + k * kThreads;
    const int line = e % kTile, c = e / kTile;
    const T* from = points.data + (column + c) * points.stride + first + line;
    to[line * kColumnPitch<T> + c] = column + c < columns ? *from : T(0);
  }
}

// What a thread multiplies: half of the tile's columns, for a group of rows and 4 columns of v.
struct ProductPlace {
  static constexpr int kHalf = kThreads / kHalves;
  int half, own, row_group, column;
  __device__ static ProductPlace of(int thread) {
    const int own = thread % kHalf, groups = kColumns / kMicro;
    return {thread / kHalf, own, own / groups, own % groups * kMicro};
  }
};

template <class T>
__device__ void multiply_tiles(const ProductShared<T>& shared, double (&total)[kMicro * kMicro]) {
  const ProductPlace place = ProductPlace::of(fresh_thread_index());
  constexpr bool kDirect = sizeof(T) == sizeof(double);  // sums of their own only cost registers
  Micro<T> sum;
  fill(sum, T(0));
  for (int line = place.half * (kTile / kHalves); line < (place.half + 1) * (kTile / kHalves); ++line) {
    T k[kMicro], v[kMicro];
    load_members(shared.k + line * kPitch<T>, place.row_group, k);
    LVM_UNROLL for (int c = 0; c < kMicro; c += Vec<T>::kSize) {
      const Vec<T> some = *reinterpret_cast<const Vec<T>*>(shared.v + line * kColumnPitch<T> + place.column + c);
      LVM_UNROLL for (int w = 0; w < Vec<T>::kSize; ++w) v[c + w] = some.x[w];
    }
    LVM_UNROLL for (int r = 0; r < kMicro; ++r) {
      LVM_UNROLL for (int c = 0; c < kMicro; ++c) {
        if constexpr (kDirect) {
          total[r * kMicro + c] += k[r] * v[c];
        } else {
          sum[r][c] += k[r] * v[c];
        }
      }
    }
  }
  if constexpr (!kDirect) {
    LVM_UNROLL for (int r = 0; r < kMicro; ++r) {
      LVM_UNROLL for (int c = 0; c < kMicro; ++c) total[r * kMicro + c] += static_cast<double>(sum[r][c]);
    }
  }
}

template <class Tile, class T>
__global__ void __launch_bounds__(kThreads, 2) many_products_kernel(const __grid_constant__ Tile tile,
                                                                    const ProductTask<T> task) {
  LVM_SHARED(bytes);
  const ProductShared<T> shared(bytes);
  for (int64_t u = blockIdx.x; u < task.units; u += gridDim.x) {
    const Unit unit = Unit::of(u / task.chunks, task.sides, task.splits);
    const int first = static_cast<int>(u % task.chunks) * kColumns;
    const int64_t i = int64_t(unit.row_block) * kTile;
    double total[kMicro * kMicro] = {};
    for (int block = unit.first; block < unit.last; ++block) {
      const At at = At::squares(fresh_thread_index());
      Micro<T> k;
      tile.values(task.sides, i, int64_t(block) * kTile, at, shared.v, k);
      clear_beyond(task.sides, int64_t(block) * kTile, at, k);
      __syncthreads();  // the tile before has been multiplied, the features have been read
      LVM_UNROLL for (int c = 0; c < kMicro; ++c) {
        T line[kMicro];
        LVM_UNROLL for (int r = 0; r < kMicro; ++r) line[r] = k[r][c];
        store_members(line, at.row_group, shared.k + at.col<T>(c) * kPitch<T>);
      }
      stage_columns(task.v, int64_t(block) * kTile, first, task.columns, shared.v);
      __syncthreads();
      multiply_tiles(shared, total);
      __syncthreads();
    }
    const ProductPlace place = ProductPlace::of(fresh_thread_index());
    double* lines = reinterpret_cast<double*>(bytes);  // the second half's sums
    LVM_UNROLL for (int k = 0; k < kMicro * kMicro; ++k) {
      if (place.half == 1) lines[k * ProductPlace::kHalf + place.own] = total[k];
    }
    __syncthreads();
    LVM_UNROLL for (int k = 0; k < kMicro * kMicro; ++k) {
      const int c = first + place.column + k % kMicro;
      if (place.half == 1 || c >= task.columns) continue;
      double* line = task.partial + (int64_t(unit.split) * task.columns + c) * task.stride + i;
      line[At::member<T>(place.row_group, k / kMicro)] = total[k] + lines[k * ProductPlace::kHalf + place.own];
    }
    __syncthreads();
  }
}

// out[line, i] (+)= the sum over splits of partial[split, line, i].
struct PartialLines {
  const double* partial;
  int64_t splits, lines, stride, count;
  double* out;
  int64_t out_stride;
  int64_t add;
  LVM_HD void operator()(int64_t at) const {
    const int64_t line = at / count, i = at % count;
    double sum = 0;
    for (int64_t split = 0; split < splits; ++split) sum += partial[(split * lines + line) * stride + i];
    double& to = out[line * out_stride + i];
    to = add ? to + sum : sum;
  }
};

// Numbers of scratch.
inline int64_t product_chunks(int64_t columns) { return columns > kFew ? (columns + kColumns - 1) / kColumns : 1; }
inline int64_t product_scratch(const Sides& sides, int64_t columns) {
  return column_splits(sides, product_chunks(columns)) * columns * sides.row_blocks() * kTile;
}

// out(i, c) += sum_j k_ij v(j, c). blocks: as for values.
template <class Tile, class T>
void products(const Tile& tile, const Sides& sides, int64_t blocks, const Points<T>& v, int64_t columns,
              double* partial, double* out, int64_t out_stride) {
  const int64_t chunks = product_chunks(columns), splits = column_splits(sides, chunks);
  const int64_t units = sides.row_blocks() * splits * chunks, stride = sides.row_blocks() * kTile;
  const ProductTask<T> task{sides, splits, chunks, units, v, columns, partial, stride};
  const cudaStream_t stream = cuda_context().stream;
  const unsigned grid = grid_of(units, blocks);
  if (columns <= kFew) {
    const int64_t bytes = std::max<int64_t>(kStagedBytes<T>, kSide * kTile * sizeof(double));
    LVM_LAUNCH((few_products_kernel<Tile, T>), grid, kThreads, bytes, stream, tile, task);
  } else {
    constexpr int64_t bytes = ProductShared<T>::kBytes;
    allow_shared(many_products_kernel<Tile, T>, bytes);
    LVM_LAUNCH((many_products_kernel<Tile, T>), grid, kThreads, bytes, stream, tile, task);
  }
  check_launch("products");
  map(columns * sides.n, PartialLines{partial, splits, columns, stride, sides.n, out, out_stride, true});
}

}  // namespace lvm::cuda::pairs

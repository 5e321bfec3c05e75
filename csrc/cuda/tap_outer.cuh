// Gradients of a convolution's weights: products of what a tap sees with the other side's cotangents, summed over pixels. The
// pixels are cut into splits by the sizes alone, and the splits' sums are added in order.
#pragma once

#include <algorithm>
#include <type_traits>

#include "cuda/tap_few_terms.cuh"
#include "cuda/tap_sums.cuh"
#include "cuda/tap_tile.cuh"

namespace lvm::cuda::taps {

// A piece of kDepth pixels: of the gathered side kRows numbers (tap, channel) from `row`, of the other side kColumns columns. A
// thread has its lane's numbers of every few pixels.
template <class T, class Tile, bool kVec>
struct Outer {
  static_assert(Tile::kRows == Tile::kColumns, "both sides in the same steps");
  static constexpr int kSize = kVec ? Tile::kSize : 1, kLanes = Tile::kRows / kSize, kLines = kThreads / kLanes;
  static constexpr int kEach = Tile::kDepth / kLines;
  static_assert(kEach > 0, "no thread is idle");

  int lane, line, column;
  bool known;  // the lane has a row
  Term term;
  int row_first, col_first;  // source of the term in pixel 0
  int64_t left;              // pixels from the thread's next on
  Pixel pixel;
  const T *image, *other;  // of pixel.image
  T in[kEach * kSize], target[kEach * kSize];

  __device__ Outer(const TapOuter<T>& task, const TapAxis& rows, const TapAxis& cols, int row, int first_column, int64_t begin,
                   int64_t end)
      : lane(static_cast<int>(threadIdx.x) % kLanes), line(static_cast<int>(threadIdx.x) / kLanes),
        column(first_column + lane * kSize), known(row + lane * kSize < rows.taps * cols.taps * task.depth),
        term(known ? Term::of(row + lane * kSize, cols, task.depth) : Term{}), row_first(rows.source(0, term.a)),
        col_first(cols.source(0, term.b)), left(end - begin - line), pixel(Pixel::of(begin, rows, cols).plus(line, rows, cols)),
        image(task.in + pixel.image * task.shape.source_pixels() * task.depth),
        other(task.target + pixel.image * task.shape.target_pixels() * task.columns) {}

  __device__ void fetch(const TapOuter<T>& task, const TapAxis& rows, const TapAxis& cols) {
    LVM_UNROLL for (int e = 0; e < kEach; ++e) {
      const int i = row_first + rows.source_step * pixel.row, j = col_first + cols.source_step * pixel.col;
      const int to = rows.target(pixel.row) * task.shape.target_cols() + cols.target(pixel.col);
      take(left > 0 && known && rows.inside(i) && cols.inside(j), image + ((i * cols.extent + j) * task.depth + term.channel),
           in + e * kSize);
      take(left > 0 && column < task.columns, other + (to * task.columns + column), target + e * kSize);
      left -= kLines;
      const int64_t before = pixel.image;
      pixel.advance(kLines, rows, cols);
      if (pixel.image != before) {
        image += (pixel.image - before) * task.shape.source_pixels() * task.depth;
        other += (pixel.image - before) * task.shape.target_pixels() * task.columns;
      }
    }
  }
  __device__ void store(T* a, T* b) const {
    LVM_UNROLL for (int e = 0; e < kEach; ++e) {
      const int at = (line + e * kLines) * Tile::kRows + lane * kSize;
      put(in + e * kSize, a + at);
      put(target + e * kSize, b + at);
    }
  }

 private:
  __device__ static void take(bool inside, const T* from, T* to) {
    if constexpr (kVec) {
      const Vec<T> some = inside ? load_vector(from) : no_vector<T>();
      LVM_UNROLL for (int v = 0; v < kSize; ++v) to[v] = some.x[v];
    } else {
      *to = inside ? *from : T(0);
    }
  }
  __device__ static void put(const T* from, T* to) {
    if constexpr (kVec) {
      Vec<T> some;
      LVM_UNROLL for (int v = 0; v < kSize; ++v) some.x[v] = from[v];
      *reinterpret_cast<Vec<T>*>(to) = some;
    } else {
      *to = *from;
    }
  }
};

// Block (rows and columns, split, phase).
template <class T, class Tile, bool kVec>
__global__ void __launch_bounds__(kThreads, Tile::kBlocks) outer_kernel(const TapOuter<T> task, T* const to) {
  LVM_SHARED(bytes);
  T* stage = reinterpret_cast<T*>(bytes);
  const TapAxis rows = task.shape.row_axis(static_cast<int>(blockIdx.z)), cols = task.shape.col_axis(static_cast<int>(blockIdx.z));
  const int terms = rows.taps * cols.taps * task.depth, column_tiles = (task.columns + Tile::kColumns - 1) / Tile::kColumns;
  const int row = static_cast<int>(blockIdx.x) / column_tiles * Tile::kRows;
  const int column = static_cast<int>(blockIdx.x) % column_tiles * Tile::kColumns;
  if (row >= terms) return;
  const int64_t all = task.n * rows.count * cols.count, splits = gridDim.y, split = blockIdx.y;
  const int64_t begin = all * split / splits, end = all * (split + 1) / splits;
  const Place<Tile> place = Place<Tile>::of(static_cast<int>(threadIdx.x));
  typename Tile::Sums sum = {};
  const int64_t pieces = (end - begin + Tile::kDepth - 1) / Tile::kDepth;
  if (pieces > 0) {
    Outer<T, Tile, kVec> outer(task, rows, cols, row, column, begin, end);
    outer.fetch(task, rows, cols);
    LVM_NO_UNROLL for (int64_t piece = 0; piece < pieces; ++piece) {
      T *a = stage + piece % 2 * Tile::kStage, *b = a + Tile::kDepth * Tile::kRows;
      outer.store(a, b);
      __syncthreads();
      if (piece + 1 < pieces) outer.fetch(task, rows, cols);
      multiply<Tile, false, false>(a, b, place, sum);
    }
  }
  gather_sums(place, sum, stage);
  T* const part = to + split * task.shape.taps() * task.depth * task.columns;
  LVM_NO_UNROLL for (int e = static_cast<int>(threadIdx.x); e < Tile::kRows * Tile::kColumns; e += kThreads) {
    const int r = e / Tile::kColumns, c = e % Tile::kColumns;
    if (row + r >= terms || column + c >= task.columns) continue;
    part[outer_place(task, rows, cols, Term::of(row + r, cols, task.depth), column + c)] = stage[r * Tile::kPitch + c];
  }
}

template <class T>
struct OuterTiles {
  static constexpr bool kDouble = sizeof(T) == sizeof(double);
  // In double half the depth, and sums for all threads: registers.
  using Square = std::conditional_t<kDouble, Tile<T, 64, 64, 8, 4, 8, 3>, Tile<T, 64, 64, 8, 8, 16, 3>>;
  using Corner = std::conditional_t<kDouble, Tile<T, 32, 32, 4, 4, 16, 4>, Tile<T, 32, 32, 8, 4, 32, 4>>;

  static bool few(const TapOuter<T>& task) { return int64_t(task.shape.taps()) * task.depth <= kFewTerms; }
  static bool corner(const TapOuter<T>& task) { return task.columns <= Corner::kColumns; }
  static int64_t blocks(const TapOuter<T>& task) {
    const int64_t terms = int64_t(task.shape.taps()) * task.depth, tile = few(task) || corner(task) ? Corner::kRows : Square::kRows;
    return (few(task) ? 1 : (terms + tile - 1) / tile) * ((task.columns + tile - 1) / tile);
  }
};

template <class T, class Tile, bool kVec>
void launch_outer(const TapOuter<T>& task, int64_t splits, T* to) {
  const int64_t terms = int64_t(task.shape.taps()) * task.depth;  // of all phases; a phase has fewer, blocks beyond end at once
  const int64_t tiles = (terms + Tile::kRows - 1) / Tile::kRows * ((task.columns + Tile::kColumns - 1) / Tile::kColumns);
  const dim3 grid(static_cast<unsigned>(tiles), static_cast<unsigned>(splits), static_cast<unsigned>(task.shape.phases()));
  LVM_LAUNCH((outer_kernel<T, Tile, kVec>), grid, kThreads, Tile::kBytes, cuda_context().stream, task, to);
  check_launch("gradient of a convolution");
}

// Some hundred pixels to a split, and no more blocks than fill a large GPU a few times.
template <class T>
int64_t outer_splits(const TapOuter<T>& task) {
  constexpr int64_t kBlocks = 512;
  const int64_t least = OuterTiles<T>::few(task) ? 512 : 256;
  const int64_t pixels = task.n * task.shape.most_pixels();
  const int64_t wanted = std::max<int64_t>(1, kBlocks / (OuterTiles<T>::blocks(task) * task.shape.phases()));
  return std::clamp<int64_t>(pixels / least, 1, wanted);
}

template <class T>
void outer(const TapOuter<T>& task) {
  const int64_t splits = outer_splits(task), size = int64_t(task.shape.taps()) * task.depth * task.columns;
  T* to = splits > 1 ? task.partial : task.d_w;
  const bool vec = tap_vectors<T>(task.depth) && tap_vectors<T>(task.columns) && tap_aligned(task.in) && tap_aligned(task.target);
  if (OuterTiles<T>::few(task)) {
    const bool nine = task.shape.taps() * task.depth <= 9;
    nine ? launch_few_terms<T, 9>(task, splits, to) : launch_few_terms<T, kFewTerms>(task, splits, to);
  } else if (OuterTiles<T>::corner(task)) {
    using Tile = typename OuterTiles<T>::Corner;
    vec ? launch_outer<T, Tile, true>(task, splits, to) : launch_outer<T, Tile, false>(task, splits, to);
  } else {
    using Tile = typename OuterTiles<T>::Square;
    vec ? launch_outer<T, Tile, true>(task, splits, to) : launch_outer<T, Tile, false>(task, splits, to);
  }
  if (splits > 1) part_sums(to, splits, size, task.d_w);
}

}  // namespace lvm::cuda::taps

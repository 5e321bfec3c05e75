// Convolutions as products of matrices that are nowhere: rows are pixels of the result, terms are taps times channels of the
// source, which a block gathers as it goes.
#pragma once

#include "cuda/tap_tile.cuh"

namespace lvm::cuda::taps {

// A piece of the gathered side: the block's pixels, terms [0, kDepth) from wherever it has come. With vectors four
// lanes share a pixel's line and each thread has a few pixels; else neighbouring lanes have neighbouring pixels.
template <class T, class Tile, bool kVec>
struct Gathered {
  static constexpr int kSize = kVec ? Tile::kSize : 1, kLanes = kVec ? Tile::kDepth / kSize : 1;
  static constexpr int kPixels = kVec ? Tile::kRows * kLanes / kThreads : 1;           // of a thread
  static constexpr int kTerms = kVec ? 1 : Tile::kRows * Tile::kDepth / kThreads;  // fetches for a pixel
  static_assert(!kVec || kLanes == 4, "as turned() has it");

  const T* image[kPixels];
  int row[kPixels], col[kPixels];  // of tap (0, 0); far outside where there is no pixel
  int thread;
  Term term;
  T value[kPixels * kTerms * kSize];

  __device__ int pixel(int s) const { return kVec ? thread / kLanes + s * (kThreads / kLanes) : thread % Tile::kRows; }
  __device__ int line(int e) const { return kVec ? thread % kLanes * kSize : thread / Tile::kRows + e * (kThreads / Tile::kRows); }

  __device__ Gathered(const TapProduct<T>& task, const TapAxis& rows, const TapAxis& cols, const Pixel& first, int count)
      : thread(static_cast<int>(threadIdx.x)), term(Term::of(line(0), cols, task.depth)) {
    LVM_UNROLL for (int s = 0; s < kPixels; ++s) {
      const bool inside = pixel(s) < count;
      const Pixel p = inside ? first.plus(pixel(s), rows, cols) : first;
      image[s] = task.in + p.image * task.shape.source_pixels() * task.depth;
      row[s] = inside ? rows.source(p.row, 0) : -(1 << 30);
      col[s] = cols.source(p.col, 0);
    }
  }
  __device__ const T* source(const TapProduct<T>& task, const TapAxis& rows, const TapAxis& cols, int s) const {
    const int i = row[s] + rows.source_turn * term.a, j = col[s] + cols.source_turn * term.b;
    if (term.a >= rows.taps || !rows.inside(i) || !cols.inside(j)) return nullptr;
    return image[s] + ((i * cols.extent + j) * task.depth + term.channel);
  }
  __device__ void fetch(const TapProduct<T>& task, const TapAxis& rows, const TapAxis& cols) {
    if constexpr (kVec) {
      LVM_UNROLL for (int s = 0; s < kPixels; ++s) {
        const T* from = source(task, rows, cols, s);
        const Vec<T> some = from ? load_vector(from) : no_vector<T>();
        LVM_UNROLL for (int v = 0; v < kSize; ++v) value[s * kSize + v] = some.x[v];
      }
      term.advance(Tile::kDepth, cols, task.depth);
    } else {
      LVM_UNROLL for (int e = 0; e < kTerms; ++e) {
        const T* from = source(task, rows, cols, 0);
        value[e] = from ? *from : T(0);
        term.advance(kThreads / Tile::kRows, cols, task.depth);
      }
    }
  }
  __device__ void store(T* to) const {
    if constexpr (kVec) {
      LVM_UNROLL for (int s = 0; s < kPixels; ++s) {
        LVM_UNROLL for (int v = 0; v < kSize; ++v) {
          const int k = line(0) + v;
          to[k * Tile::kRows + (pixel(s) ^ turned<T>(k))] = value[s * kSize + v];
        }
      }
    } else {
      LVM_UNROLL for (int e = 0; e < kTerms; ++e) to[line(e) * Tile::kRows + pixel(0)] = value[e];
    }
  }
};

// A piece of the weights: (taps, depth, columns) as it lies, or, kAcross, (taps, columns, depth), whose lines are terms.
template <class T, class Tile, bool kAcross, bool kVec>
struct Weights {
  static constexpr int kSize = kVec ? Tile::kSize : 1;
  static constexpr int kLanes = kVec && kAcross ? Tile::kDepth / kSize : Tile::kColumns / kSize;  // for a line
  static constexpr int kLines = kThreads / kLanes;  // that the threads fetch at a time
  static constexpr int kEach = (kVec && kAcross ? Tile::kColumns : Tile::kDepth) / kLines;
  static_assert(kEach > 0, "no thread is idle");

  int lane, line, first;
  Term term;  // of the thread's next fetch; with vectors across it is that of the gathered side
  int k;
  T value[kEach * kSize];

  __device__ Weights(const TapProduct<T>& task, const TapAxis& cols, int column)
      : lane(static_cast<int>(threadIdx.x) % kLanes), line(static_cast<int>(threadIdx.x) / kLanes), first(column),
        term(kAcross && !kVec ? Term::of(line, cols, task.depth) : Term{}), k(line) {}

  // other: the gathered side's next term.
  __device__ void fetch(const TapProduct<T>& task, const TapAxis& rows, const TapAxis& cols, const Term& other) {
    if constexpr (kVec && kAcross) {
      const int tap = other.tap(task.shape, rows, cols) * task.columns;
      LVM_UNROLL for (int e = 0; e < kEach; ++e) {
        const int j = first + line + e * kLines;
        const bool inside = other.a < rows.taps && j < task.columns;
        put(e, inside ? load_vector(task.weights + ((tap + j) * task.depth + other.channel)) : no_vector<T>());
      }
    } else if constexpr (kAcross) {
      const int j = first + lane;
      LVM_UNROLL for (int e = 0; e < kEach; ++e) {
        const bool inside = term.a < rows.taps && j < task.columns;
        const int tap = term.tap(task.shape, rows, cols) * task.columns;
        value[e] = inside ? task.weights[(tap + j) * task.depth + term.channel] : T(0);
        term.advance(kLines, cols, task.depth);
      }
    } else {
      const int j = first + lane * kSize;
      const int terms = task.shape.taps() * task.depth;
      LVM_UNROLL for (int e = 0; e < kEach; ++e, k += kLines) {
        const bool inside = k < terms && j < task.columns;
        const T* from = task.weights + k * task.columns + j;
        if constexpr (kVec) {
          put(e, inside ? load_vector(from) : no_vector<T>());
        } else {
          value[e] = inside ? *from : T(0);
        }
      }
    }
  }
  __device__ void store(T* to) const {
    LVM_UNROLL for (int e = 0; e < kEach; ++e) {
      if constexpr (kVec && kAcross) {
        LVM_UNROLL for (int v = 0; v < kSize; ++v) {
          const int term_line = lane * kSize + v;
          to[term_line * Tile::kColumns + ((line + e * kLines) ^ turned<T>(term_line))] = value[e * kSize + v];
        }
      } else if constexpr (kVec) {
        Vec<T> some;
        LVM_UNROLL for (int v = 0; v < kSize; ++v) some.x[v] = value[e * kSize + v];
        *reinterpret_cast<Vec<T>*>(to + (line + e * kLines) * Tile::kColumns + lane * kSize) = some;
      } else {
        to[(line + e * kLines) * Tile::kColumns + lane] = value[e];
      }
    }
  }

 private:
  __device__ void put(int e, const Vec<T>& some) {
    LVM_UNROLL for (int v = 0; v < kSize; ++v) value[e * kSize + v] = some.x[v];
  }
};

// One number of the result.
template <class T>
__device__ inline void finish(const TapProduct<T>& task, int64_t at, int j, T x) {
  if (!task.bias) {
    task.out[at] = task.add ? task.out[at] + x : x;
    return;
  }
  x += task.bias[j];
  if (task.pre) task.pre[at] = x;
  with_activation(task.activation, [&](auto known) { task.out[at] = activated<decltype(known)::value>(x); });
}

// Block (pixels, columns, phase). Each sum runs over its terms in order, so that a row's bits do not depend on the tile.
template <class T, class Tile, bool kAcross, bool kVec>
__global__ void __launch_bounds__(kThreads, Tile::kBlocks) product_kernel(const TapProduct<T> task) {
  LVM_SHARED(bytes);
  static_assert(Tile::kSlices == 1, "terms in order");
  int64_t* targets = reinterpret_cast<int64_t*>(bytes);
  T* stage = reinterpret_cast<T*>(targets + Tile::kRows);
  const TapAxis rows = task.shape.row_axis(static_cast<int>(blockIdx.z)), cols = task.shape.col_axis(static_cast<int>(blockIdx.z));
  const int64_t all = task.n * rows.count * cols.count, first = int64_t(blockIdx.x) * Tile::kRows;
  if (first >= all) return;
  const int column = static_cast<int>(blockIdx.y) * Tile::kColumns;
  const int count = static_cast<int>(all - first < Tile::kRows ? all - first : Tile::kRows);
  const Pixel start = Pixel::of(first, rows, cols);
  for (int r = static_cast<int>(threadIdx.x); r < Tile::kRows; r += kThreads) {
    targets[r] = r < count ? start.plus(r, rows, cols).target(task.shape, rows, cols) * task.columns : -1;
  }
  const Place<Tile> place = Place<Tile>::of(static_cast<int>(threadIdx.x));
  typename Tile::Sums sum = {};
  const int pieces = (rows.taps * cols.taps * task.depth + Tile::kDepth - 1) / Tile::kDepth;
  if (pieces > 0) {
    Gathered<T, Tile, kVec> in(task, rows, cols, start, count);
    Weights<T, Tile, kAcross, kVec> weights(task, cols, column);
    weights.fetch(task, rows, cols, in.term);
    in.fetch(task, rows, cols);
    LVM_NO_UNROLL for (int piece = 0; piece < pieces; ++piece) {
      T *a = stage + piece % 2 * Tile::kStage, *b = a + Tile::kDepth * Tile::kRows;
      in.store(a);
      weights.store(b);
      __syncthreads();
      if (piece + 1 < pieces) {
        weights.fetch(task, rows, cols, in.term);
        in.fetch(task, rows, cols);
      }
      multiply<Tile, kVec, kVec && kAcross>(a, b, place, sum);
    }
  }
  gather_sums(place, sum, stage);
  LVM_NO_UNROLL for (int e = static_cast<int>(threadIdx.x); e < Tile::kRows * Tile::kColumns; e += kThreads) {
    const int r = e / Tile::kColumns, c = e % Tile::kColumns;
    const int j = column + c;
    if (targets[r] >= 0 && j < task.columns) finish(task, targets[r] + j, j, stage[r * Tile::kPitch + c]);
  }
}

template <class T, class Tile, bool kAcross, bool kVec>
void launch_product(const TapProduct<T>& task) {
  const int64_t rows = task.n * task.shape.most_pixels();
  const dim3 grid(static_cast<unsigned>((rows + Tile::kRows - 1) / Tile::kRows),
                  static_cast<unsigned>((task.columns + Tile::kColumns - 1) / Tile::kColumns),
                  static_cast<unsigned>(task.shape.phases()));
  LVM_LAUNCH((product_kernel<T, Tile, kAcross, kVec>), grid, kThreads, Tile::kBytes, cuda_context().stream, task);
  check_launch("convolution");
}

template <class Tile, class T>
void product_of(const TapProduct<T>& task) {
  const bool across = !task.shape.to_small, lines = across || tap_vectors<T>(task.columns);
  const bool vec = tap_vectors<T>(task.depth) && lines && tap_aligned(task.in) && tap_aligned(task.weights);
  if (across) {
    vec ? launch_product<T, Tile, true, true>(task) : launch_product<T, Tile, true, false>(task);
  } else {
    vec ? launch_product<T, Tile, false, true>(task) : launch_product<T, Tile, false, false>(task);
  }
}

}  // namespace lvm::cuda::taps

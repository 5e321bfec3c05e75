// Gradients of the weights of convolutions from a channel or a few, whose terms a tile would not fill.
#pragma once

#include "cuda/tap_tile.cuh"

namespace lvm::cuda::taps {

constexpr int kFewTerms = 32, kFewThreads = 256;

// A lane's way through pixels: what its term takes, and its column.
template <class T>
struct FewTermsWalk {
  Pixel pixel;
  const T *source, *target;
  int col;      // of the source
  bool inside;  // the source's row

  __device__ void line(const TapOuter<T>& task, const TapAxis& rows, const TapAxis& cols, const Term& term, int column) {
    const int i = rows.source(pixel.row, term.a);
    col = cols.source(pixel.col, term.b);
    inside = rows.inside(i);
    const int64_t image = pixel.image * task.shape.source_pixels() * task.depth;
    source = task.in + image + (int64_t(i) * cols.extent + col) * task.depth + term.channel;
    target = task.target + pixel.target(task.shape, rows, cols) * task.columns + column;
  }
  __device__ void next(const TapOuter<T>& task, const TapAxis& rows, const TapAxis& cols, const Term& term, int column) {
    if (++pixel.col < cols.count) {
      col += cols.source_step;
      source += cols.source_step * task.depth;
      target += cols.target_step * task.columns;
      return;
    }
    pixel.col = 0;
    if (++pixel.row == rows.count) pixel.row = 0, ++pixel.image;
    line(task, rows, cols, term, column);
  }
};

// A warp has a column to each lane and the sums of all terms, whose sources its lanes read for each other. Block
// (columns, split, phase); its warps share out the split's pixels.
template <class T, int kTerms>
__global__ void __launch_bounds__(kFewThreads) few_terms_kernel(const TapOuter<T> task, T* const to) {
  LVM_SHARED(bytes);
  T* sums = reinterpret_cast<T*>(bytes);  // (kTerms, 32)
  constexpr int kAtOnce = 4, kWarps = kFewThreads / 32;
  const TapAxis rows = task.shape.row_axis(static_cast<int>(blockIdx.z)), cols = task.shape.col_axis(static_cast<int>(blockIdx.z));
  const int terms = rows.taps * cols.taps * task.depth;
  if (terms == 0) return;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int column = static_cast<int>(blockIdx.x) * 32 + lane;
  const int64_t all = task.n * rows.count * cols.count;
  const int64_t parts = int64_t(gridDim.y) * kWarps, part = int64_t(blockIdx.y) * kWarps + warp;
  const int64_t begin = all * part / parts, end = all * (part + 1) / parts;
  T sum[kTerms] = {};
  if (begin < end) {
    const Term term = lane < terms ? Term::of(lane, cols, task.depth) : Term{};
    FewTermsWalk<T> walk{Pixel::of(begin, rows, cols), nullptr, nullptr, 0, false};
    walk.line(task, rows, cols, term, column);
    LVM_NO_UNROLL for (int64_t left = end - begin; left > 0; left -= kAtOnce) {
      T x[kAtOnce], target[kAtOnce];
      LVM_UNROLL for (int e = 0; e < kAtOnce; ++e) {
        x[e] = e < left && lane < terms && walk.inside && cols.inside(walk.col) ? *walk.source : T(0);
        target[e] = e < left && column < task.columns ? *walk.target : T(0);
        walk.next(task, rows, cols, term, column);
      }
      LVM_UNROLL for (int e = 0; e < kAtOnce; ++e) {
        LVM_UNROLL for (int k = 0; k < kTerms; ++k) sum[k] += __shfl_sync(0xffffffffu, x[e], k) * target[e];
      }
    }
  }
  LVM_NO_UNROLL for (int w = 0; w < kWarps; ++w) {
    __syncthreads();
    if (warp != w) continue;
    LVM_UNROLL for (int k = 0; k < kTerms; ++k) sums[k * 32 + lane] = w ? sums[k * 32 + lane] + sum[k] : sum[k];
  }
  __syncthreads();
  if (column >= task.columns) return;
  T* const out = to + blockIdx.y * (int64_t(task.shape.taps()) * task.depth * task.columns);
  LVM_NO_UNROLL for (int k = warp; k < terms; k += kWarps) {
    out[outer_place(task, rows, cols, Term::of(k, cols, task.depth), column)] = sums[k * 32 + lane];
  }
}

template <class T, int kTerms>
void launch_few_terms(const TapOuter<T>& task, int64_t splits, T* to) {
  const dim3 grid(static_cast<unsigned>((task.columns + 31) / 32), static_cast<unsigned>(splits),
                  static_cast<unsigned>(task.shape.phases()));
  LVM_LAUNCH((few_terms_kernel<T, kTerms>), grid, kFewThreads, kTerms * 32 * sizeof(T), cuda_context().stream, task, to);
  check_launch("gradient of a convolution");
}

}  // namespace lvm::cuda::taps

// Which pixels a pixel of a convolution's result takes, along one axis at a time: the same sums for both devices of numbers
// that kernels work out as they go.
#pragma once

#include "core/config.hpp"

namespace lvm {

// The result's pixels of one phase and their taps: pixel r < count lies at target(r), its tap a < taps, number tap(a) of the
// kernel's, takes source(r, a), or a zero where that is not in [0, extent).
struct TapAxis {
  int count, taps, extent;
  int target_first, target_step, source_first, source_step, source_turn, tap_first, tap_step;

  LVM_HD int target(int r) const { return target_first + target_step * r; }
  LVM_HD int source(int r, int a) const { return source_first + source_step * r + source_turn * a; }
  LVM_HD int tap(int a) const { return tap_first + tap_step * a; }
  LVM_HD bool inside(int source) const { return static_cast<unsigned>(source) < static_cast<unsigned>(extent); }
};

// From a large axis to a small one: pixel i takes i stride - before + u.
LVM_HD TapAxis taps_to_small(int large, int small, int taps, int stride, int before) {
  return {small, taps, large, 0, 1, -before, stride, 1, 0, 1};
}

// The adjoint: pixel p takes (p + before - u) / stride where that is whole. Pixels phase + r stride, phase < stride, have the
// taps u = first + a stride in common, and pixel r takes r + (phase + before - first) / stride - a.
LVM_HD TapAxis taps_to_large(int large, int small, int taps, int stride, int before, int phase) {
  const int first = (phase + before) % stride;
  const int count = phase < large ? (large - phase + stride - 1) / stride : 0;
  const int some = first < taps ? (taps - first + stride - 1) / stride : 0;
  return {count, some, small, phase, stride, (phase + before - first) / stride, 1, -1, first, stride};
}

// Both axes of a layer in one direction.
struct TapGeometry {
  int large_rows, large_cols, small_rows, small_cols, rows, cols, row_stride, col_stride, top, left;
  int to_small;  // or from the small image to the large one
  int unused;    // no gaps in the arguments of kernels

  LVM_HD int phases() const { return to_small ? 1 : row_stride * col_stride; }
  LVM_HD TapAxis row_axis(int phase) const {
    return to_small ? taps_to_small(large_rows, small_rows, rows, row_stride, top)
                    : taps_to_large(large_rows, small_rows, rows, row_stride, top, phase / col_stride);
  }
  LVM_HD TapAxis col_axis(int phase) const {
    return to_small ? taps_to_small(large_cols, small_cols, cols, col_stride, left)
                    : taps_to_large(large_cols, small_cols, cols, col_stride, left, phase % col_stride);
  }
  LVM_HD int taps() const { return rows * cols; }
  LVM_HD int64_t large_pixels() const { return int64_t(large_rows) * large_cols; }
  LVM_HD int64_t small_pixels() const { return int64_t(small_rows) * small_cols; }
  LVM_HD int64_t source_pixels() const { return to_small ? large_pixels() : small_pixels(); }
  LVM_HD int64_t target_pixels() const { return to_small ? small_pixels() : large_pixels(); }
  LVM_HD int target_cols() const { return to_small ? small_cols : large_cols; }
  // The most pixels of a phase, which the first has.
  LVM_HD int64_t most_pixels() const { return int64_t(row_axis(0).count) * col_axis(0).count; }
};

}  // namespace lvm

// Batches of matrices: views with any leading strides, and loops over their members.
#pragma once

#include <algorithm>

#include "bind/views.hpp"
#include "device/matrix.hpp"

namespace lvm::bind {

// A batch of matrices with any strides: matrix b starts at data + offset(b), entry (i, j) at row * i + col * j further on.
template <class T>
struct MatrixBatch {
  T* data;
  int64_t batch, rows, cols, row, col;
  std::vector<int64_t> offsets;  // empty where batch is 1
  T* at(int64_t b) const { return offsets.empty() ? data : data + offsets[b]; }
};

// The last `axes` (1 or 2) dimensions are those of a matrix, or of a vector as a matrix of one column.
template <class T, class AnyArray>
MatrixBatch<T> matrix_batch(const AnyArray& array, int axes, T* data) {
  constexpr auto kSize = static_cast<py::ssize_t>(sizeof(T));
  const int leading = static_cast<int>(array.ndim()) - axes;
  MatrixBatch<T> view{data, 1, array.shape(leading), axes == 2 ? array.shape(leading + 1) : 1,
                      array.strides(leading) / kSize, axes == 2 ? array.strides(leading + 1) / kSize : 1, {}};
  for (int d = 0; d < leading; ++d) view.batch *= array.shape(d);
  if (view.batch == 1) return view;
  view.offsets.resize(view.batch);
  std::vector<int64_t> at(leading);
  int64_t offset = 0;
  for (int64_t& entry : view.offsets) {
    entry = offset;
    for (int d = leading - 1; d >= 0; --d) {
      offset += array.strides(d) / kSize;
      if (++at[d] < array.shape(d)) break;
      offset -= at[d] * (array.strides(d) / kSize);
      at[d] = 0;
    }
  }
  return view;
}

// Whether one of the last two strides is that of a single number.
template <class T, class AnyArray>
bool contiguous_lines(const AnyArray& a) {
  const auto size = static_cast<py::ssize_t>(sizeof(T));
  const auto n = a.ndim();
  return a.shape(n - 1) <= 1 || a.strides(n - 1) == size || a.strides(n - 2) == size;
}

// Matrix b of a view with a unit stride.
template <class T>
Factor<T> lines_at(const MatrixBatch<T>& view, int64_t b) {
  const bool by_rows = view.cols <= 1 ? view.row != 1 : view.col == 1;
  return {view.at(b), by_rows ? view.row : view.col, by_rows};
}
template <class T>
Factor<T> factor_at(const MatrixBatch<T>& view, int64_t b) {
  if (view.rows <= 1) return {view.at(b), 1, true};
  return lines_at(view, b);
}

// f(b) for every member of a batch, each of about `work` operations: over threads where there are enough members, and one
// by one where each is large enough to use the threads itself.
template <class Device, class F>
void for_batch(int64_t batch, double work, const F& f) {
  if (batch < Device::threads() || work > 2e8) {
    for (int64_t b = 0; b < batch; ++b) f(b);
    return;
  }
  const int64_t grain = std::clamp<int64_t>(static_cast<int64_t>(4e4 / (work + 1000)), 1, (batch + 3) / 4);
  Device::for_ranges(batch, grain, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) f(b);
  });
}

}  // namespace lvm::bind

// Batches of matrices: views with any leading strides.
#pragma once

#include "bind/views.hpp"
#include "device/matrix.hpp"

namespace lvm::bind {

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

}  // namespace lvm::bind

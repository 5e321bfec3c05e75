// Views of matrices as operations take them: data that others own, with strides in numbers.
#pragma once

#include <cstdint>
#include <vector>

namespace lvm {

// Entry (i, j) at data[i * row + j * col].
template <class T>
struct Strided {
  T* data;
  int64_t row, col;
  T& operator()(int64_t i, int64_t j) const { return data[i * row + j * col]; }
};

// A square matrix of which the lower triangle counts; one of its strides is 1.
template <class T>
struct Factor {
  T* data;
  int64_t stride;  // the other one
  bool by_rows;    // row-major
  T& operator()(int64_t i, int64_t j) const { return by_rows ? data[i * stride + j] : data[i + j * stride]; }
  // The trailing square from row and column k on.
  Factor from(int64_t k) const { return {data + k * (stride + 1), stride, by_rows}; }
};

// A batch of matrices with any strides: matrix b starts at data + offset(b), entry (i, j) at row * i + col * j further on.
template <class T>
struct MatrixBatch {
  T* data;
  int64_t batch, rows, cols, row, col;
  std::vector<int64_t> offsets;  // empty where batch is 1
  T* at(int64_t b) const { return offsets.empty() ? data : data + offsets[b]; }
};

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

// `count` columns of a matrix in the given order, the first `plus` with sign +1, the others with -1.
struct SignedColumns {
  const int64_t* order;
  int64_t count, plus;
};

}  // namespace lvm

// Views of matrices as operations take them: data that others own, with strides in numbers.
#pragma once

#include <cstdint>

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

// `count` columns of a matrix in the given order, the first `plus` with sign +1, the others with -1.
struct SignedColumns {
  const int64_t* order;
  int64_t count, plus;
};

}  // namespace lvm

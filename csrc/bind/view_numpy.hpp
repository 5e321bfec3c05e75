// NumPy arrays as the bindings take them: exact dtype, C order, checked shapes. lvmfast._validation has already
// converted what a user may pass; what arrives here wrong is a mistake in lvmfast and raises ValueError.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <initializer_list>
#include <string>
#include <vector>

#include "device/large_blocks.hpp"

namespace lvm::bind {

namespace py = pybind11;

template <class T>
using Array = py::array_t<T, py::array::c_style>;

// Checks the shape; an extent of -1 accepts anything.
template <class AnyArray>
void check_shape(const AnyArray& array, std::initializer_list<py::ssize_t> shape, const char* name) {
  bool good = array.ndim() == static_cast<py::ssize_t>(shape.size());
  std::string expected;
  py::ssize_t axis = 0;
  for (py::ssize_t extent : shape) {
    good = good && (extent < 0 || array.shape(axis) == extent);
    expected += (axis++ ? ", " : "") + (extent < 0 ? std::string("any") : std::to_string(extent));
  }
  if (good) return;
  std::string got;
  for (py::ssize_t i = 0; i < array.ndim(); ++i) got += (i ? ", " : "") + std::to_string(array.shape(i));
  throw py::value_error(std::string(name) + " must have shape (" + expected + "), got (" + got + ")");
}

// The data of an optional array; null for None.
template <class T>
const T* data_or_null(const py::object& object, std::initializer_list<py::ssize_t> shape, const char* name) {
  if (object.is_none()) return nullptr;
  const auto array = py::cast<Array<T>>(object);
  check_shape(array, shape, name);
  return array.data();
}

// A new array of T: large ones in memory that is used again (LargeBlocks). order 'F': the last two dimensions are
// column-major.
template <class T>
py::array_t<T> new_array(const std::vector<py::ssize_t>& shape, char order) {
  constexpr auto kSize = static_cast<py::ssize_t>(sizeof(T));
  std::vector<py::ssize_t> strides(shape.size());
  py::ssize_t bytes = kSize;
  for (size_t d = shape.size(); d-- > 0;) {
    strides[d] = bytes;
    bytes *= shape[d];
  }
  const size_t last = shape.size() - 1;
  if (order == 'F' && shape.size() >= 2) {
    strides[last - 1] = kSize;
    strides[last] = kSize * shape[last - 1];
  }
  if (static_cast<size_t>(bytes) < LargeBlocks::kSmallest) return py::array_t<T>(shape, strides);
  void* block = LargeBlocks::take(static_cast<size_t>(bytes));
  return py::array_t<T>(shape, strides, static_cast<T*>(block), py::capsule(block, [](void* p) { LargeBlocks::give_back(p); }));
}

}  // namespace lvm::bind

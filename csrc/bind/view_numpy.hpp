// NumPy arrays as the bindings take them: exact dtype, C order, checked shapes. lvmfast._validation has already
// converted what a user may pass; what arrives here wrong is a mistake in lvmfast and raises ValueError.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <initializer_list>
#include <string>

namespace lvm::bind {

namespace py = pybind11;

template <class T>
using Array = py::array_t<T, py::array::c_style>;

// Checks the shape; an extent of -1 accepts anything.
inline void check_shape(const py::array& array, std::initializer_list<py::ssize_t> shape, const char* name) {
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

}  // namespace lvm::bind

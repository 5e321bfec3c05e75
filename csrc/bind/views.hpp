// Which arrays the bindings of a device take and return; the bindings themselves are written once.
#pragma once

#include <string>
#include <type_traits>

#include "bind/view_numpy.hpp"

namespace lvm {
struct Cpu;
}

namespace lvm::bind {

template <class Device>
struct Views;

template <>
struct Views<Cpu> {
  template <class T>
  using Contiguous = Array<T>;  // C order
  template <class T>
  using Any = py::array_t<T>;

  template <class T>
  static Array<T> result(const std::vector<py::ssize_t>& shape) {
    if (shape.empty()) return Array<T>(shape);
    return Array<T>(new_array<T>(shape, 'C'));
  }
};

// An array on the device, C order; with any strides; a new one.
template <class Device, class T>
using DeviceArray = typename Views<Device>::template Contiguous<T>;
template <class Device, class T>
using StridedArray = typename Views<Device>::template Any<T>;

inline py::object object_of(const py::array& array) { return array; }

// The data of an optional array; null for None.
template <class Device, class T>
const T* device_data_or_null(const py::object& object, std::initializer_list<py::ssize_t> shape, const char* name) {
  if (object.is_none()) return nullptr;
  const auto array = py::cast<DeviceArray<Device, T>>(object);
  if constexpr (std::is_same_v<Device, Cpu>) {  // a converted copy would be gone with this function
    if (array.ptr() != object.ptr()) throw py::type_error(std::string(name) + " must be a contiguous array of the right dtype");
  }
  check_shape(array, shape, name);
  return array.data();
}

}  // namespace lvm::bind

// CuPy arrays as the bindings take them, through __cuda_array_interface__: exact dtype, checked strides and device, and the
// owner kept alive. lvmfast._backend has already brought other libraries' arrays to CuPy.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "bind/views.hpp"
#include "device/cuda_context.hpp"

namespace lvm {
struct Cuda;
}

namespace lvm::bind {

// What Python set: how to make an array on the GPU, and memory from the pool. Functions of lvmfast._backend.
struct CudaHooks {
  py::object empty, allocate;
  static CudaHooks& instance() {
    static auto* hooks = new CudaHooks;  // never destroyed: Python is gone by then
    return *hooks;
  }
};

enum class Layout { any, contiguous };

template <class T, Layout layout>
class CudaArray {
 public:
  CudaArray() = default;

  // False: not an array of T. Throws where it is one that cannot be used.
  bool load(py::handle source) {
    if (!source || !py::hasattr(source, "__cuda_array_interface__")) return false;
    const py::dict info = source.attr("__cuda_array_interface__");
    const auto type = py::cast<std::string>(info["typestr"]);
    if (type.size() != 3 || type[0] == '>' || type[1] != kind() || type[2] - '0' != static_cast<int>(sizeof(T))) return false;
    owner_ = py::reinterpret_borrow<py::object>(source);
    shape_ = py::cast<std::vector<py::ssize_t>>(info["shape"]);
    const auto data = py::cast<std::pair<uintptr_t, bool>>(info["data"]);
    data_ = reinterpret_cast<T*>(data.first ? data.first : kNothing);  // null would mean: no array
    read_only_ = data.second;
    std::vector<py::ssize_t> packed(shape_.size());
    py::ssize_t bytes = sizeof(T);
    for (size_t d = shape_.size(); d-- > 0;) {
      packed[d] = bytes;
      bytes *= shape_[d];
    }
    const bool given = info.contains("strides") && !info["strides"].is_none();
    strides_ = given ? py::cast<std::vector<py::ssize_t>>(info["strides"]) : packed;
    if (layout == Layout::contiguous && bytes > 0) {
      for (size_t d = 0; d < shape_.size(); ++d) {
        if (shape_[d] > 1 && strides_[d] != packed[d]) throw py::value_error("an array on the GPU must be C-contiguous here");
      }
    }
    for (py::ssize_t stride : strides_) {
      if (stride % static_cast<py::ssize_t>(sizeof(T))) throw py::value_error("strides must be multiples of the item's size");
    }
    return true;
  }

  const T* data() const { return data_; }
  T* mutable_data() {
    if (read_only_) throw py::value_error("an array on the GPU that is written to must be writeable");
    return data_;
  }
  py::ssize_t ndim() const { return static_cast<py::ssize_t>(shape_.size()); }
  py::ssize_t shape(py::ssize_t d) const { return shape_.at(d); }
  py::ssize_t strides(py::ssize_t d) const { return strides_.at(d); }
  py::ssize_t size() const {
    py::ssize_t n = 1;
    for (py::ssize_t extent : shape_) n *= extent;
    return n;
  }
  const py::object& owner() const { return owner_; }

 private:
  static constexpr uintptr_t kNothing = 256;  // the address of an array without numbers
  static constexpr char kind() { return std::is_floating_point_v<T> ? 'f' : std::is_signed_v<T> ? 'i' : 'u'; }
  py::object owner_;
  std::vector<py::ssize_t> shape_, strides_;
  T* data_ = nullptr;
  bool read_only_ = false;
};

template <class T, Layout layout>
py::object object_of(const CudaArray<T, layout>& array) {
  return array.owner();
}

template <>
struct Views<Cuda> {
  template <class T>
  using Contiguous = CudaArray<T, Layout::contiguous>;
  template <class T>
  using Any = CudaArray<T, Layout::any>;

  template <class T>
  static Contiguous<T> result(const std::vector<py::ssize_t>& shape) {
    Contiguous<T> array;
    const py::object made = CudaHooks::instance().empty(py::tuple(py::cast(shape)), py::dtype::of<T>());
    if (!array.load(made)) throw py::type_error("the hook `empty` must make arrays of the dtype asked for");
    return array;
  }
};

// Memory of the pool for the work of csrc/algo: the owner is a reference to what the pool returned.
inline void* take_device_memory(size_t bytes, void** owner) {
  py::gil_scoped_acquire acquire;
  const py::object block = CudaHooks::instance().allocate(bytes);
  const auto address = py::cast<uintptr_t>(block.attr("ptr"));
  *owner = py::object(block).release().ptr();
  return reinterpret_cast<void*>(address);
}
inline void give_back_device_memory(void* owner) noexcept {
  if (!Py_IsInitialized()) return;
  py::gil_scoped_acquire acquire;
  py::handle(static_cast<PyObject*>(owner)).dec_ref();
}

}  // namespace lvm::bind

namespace pybind11::detail {

template <class T, lvm::bind::Layout layout>
struct type_caster<lvm::bind::CudaArray<T, layout>> {
  using Array = lvm::bind::CudaArray<T, layout>;
  PYBIND11_TYPE_CASTER(Array, const_name("cupy.ndarray"));
  bool load(handle source, bool) { return value.load(source); }
  static handle cast(const Array& array, return_value_policy, handle) { return object(array.owner()).release(); }
};

}  // namespace pybind11::detail

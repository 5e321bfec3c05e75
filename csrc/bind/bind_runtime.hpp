// What the module says of itself: build, instruction set, threads, BLAS.
#pragma once

#include <string>

#include "bind/view_numpy.hpp"
#include "cpu/dispatch.hpp"
#include "device/blas.hpp"
#include "device/thread_pool.hpp"

namespace lvm::bind {

// SciPy's capsules are named by the C signature, with type names that vary: take whatever name it has.
inline void* capsule_pointer(const py::dict& table, const std::string& name) {
  if (!table.contains(name.c_str())) throw py::import_error("SciPy offers no " + name + "; SciPy >= 1.11 is needed");
  PyObject* capsule = table[name.c_str()].ptr();
  void* pointer = PyCapsule_GetPointer(capsule, PyCapsule_GetName(capsule));
  if (!pointer) throw py::error_already_set();
  return pointer;
}

template <class T>
void install_blas_of(const py::dict& blas_table, const py::dict& lapack_table, const std::string& prefix) {
  const auto take = [&](auto& target, const py::dict& table, const char* name) {
    target = reinterpret_cast<std::decay_t<decltype(target)>>(capsule_pointer(table, prefix + name));
  };
  BlasFunctions<T>& functions = blas<T>();
  take(functions.gemm, blas_table, "gemm");
  take(functions.syrk, blas_table, "syrk");
  take(functions.trsm, blas_table, "trsm");
  take(functions.trsv, blas_table, "trsv");
  take(functions.trmm, blas_table, "trmm");
  take(functions.potrf, lapack_table, "potrf");
  take(functions.potri, lapack_table, "potri");
}

// 64 when the BLAS reads 64-bit integers: n = -4294967293 there means nothing to add, and is 3 to a 32-bit BLAS.
inline int blas_integer_bits(const py::dict& blas_table) {
  using Dot = double (*)(const int64_t*, const double*, const int64_t*, const double*, const int64_t*);
  const auto dot = reinterpret_cast<Dot>(capsule_pointer(blas_table, "ddot"));
  const int64_t n = static_cast<int64_t>(0xFFFFFFFF00000003ull), step = 1;
  const double ones[3] = {1, 1, 1};
  return dot(&n, ones, &step, ones, &step) == 3.0 ? 32 : 64;
}

inline void bind_runtime(py::module_& m) {
  m.def(
      "install_blas",
      [](const py::dict& blas_table, const py::dict& lapack_table) {
        install_blas_of<double>(blas_table, lapack_table, "d");
        install_blas_of<float>(blas_table, lapack_table, "s");
        return blas_integer_bits(blas_table);
      },
      py::arg("blas"), py::arg("lapack"),
      "Take BLAS and LAPACK from two __pyx_capi__ tables; returns the width of the BLAS's integers in bits.");
  m.def("num_threads", [] { return ThreadPool::instance().size(); }, "Threads that share a loop.");
  m.def(
      "set_num_threads", [](int n) { ThreadPool::instance().resize(n); }, py::arg("n"));
  m.def("instruction_set", [] { return std::string(cpu::kernels().name); }, "Name of the kernels in use.");
  m.def("instruction_sets", &cpu::instruction_sets, "Names that this processor can run, best first.");
  m.def("use_instruction_set", &cpu::use_instruction_set, py::arg("name"),
        "Switch kernels; False if this processor cannot run them.");
  m.def(
      "empty",
      [](const std::vector<py::ssize_t>& shape, const std::string& order, bool is_double) -> py::array {
        if (is_double) return new_array<double>(shape, order[0]);
        return new_array<float>(shape, order[0]);
      },
      py::arg("shape"), py::arg("order"), py::arg("is_double"),
      "An uninitialised array, large ones in memory that is used again; order is that of the last two dimensions.");
  m.def("release_memory", &LargeBlocks::release,
        "Free the blocks of dead results that wait for their next use; returns the bytes.");
  m.attr("compiler") = LVM_COMPILER;
  m.attr("version") = LVM_VERSION;
}

}  // namespace lvm::bind

// The host module: what lvmfast._cuda offers, and the shim's own functions.
#include "bind/bind_cuda.hpp"
#include "bind/bind_runtime.hpp"
#include "bind_shim.hpp"

PYBIND11_MODULE(_cuda_shim, m) {
  namespace py = pybind11;
  bind_shim(m);
#if defined(LVM_SHIM_WITHOUT_MODELS)
  lvm::bind::bind_cuda_operations(m);
#else
  lvm::bind::bind_cuda(m);
#endif
  m.def("install_blas", [](const py::dict& blas, const py::dict& lapack) {
    lvm::bind::install_blas_of<double>(blas, lapack, "d");
    lvm::bind::install_blas_of<float>(blas, lapack, "s");
  });
}

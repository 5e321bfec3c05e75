// Everything that the module lvmfast._cuda registers, in files that compile beside each other. The bindings are those
// of the CPU, for the other device.
#pragma once

#include "bind/bind_cuda_runtime.hpp"

namespace lvm::bind {

void bind_cuda_linalg(py::module_& m);   // linalg and random
void bind_cuda_kernels(py::module_& m);  // kernels, bijectors
void bind_cuda_likelihoods(py::module_& m);
void bind_cuda_models(py::module_& m);   // GPLVM and GPR
void bind_cuda_logistic(py::module_& m);
void bind_cuda_gp_classifier(py::module_& m);
void bind_cuda_sgpr(py::module_& m);
void bind_cuda_svgp(py::module_& m);
void bind_cuda_network(py::module_& m);
void bind_cuda_vae(py::module_& m);
void bind_cuda_bijectors(py::module_& m);
void bind_cuda_density_ratio(py::module_& m);
void bind_cuda_flow(py::module_& m);
void bind_cuda_implicit(py::module_& m);
void bind_cuda_bayesopt(py::module_& m);
void bind_cuda_mixture(py::module_& m);

inline void bind_cuda_operations(py::module_& m) {
  bind_cuda_kernels(m);  // first: the others take its trees
  bind_cuda_runtime(m);
  bind_cuda_linalg(m);
  bind_cuda_likelihoods(m);
}

inline void bind_cuda(py::module_& m) {
  bind_cuda_operations(m);
  bind_cuda_models(m);
  bind_cuda_logistic(m);
  bind_cuda_gp_classifier(m);
  bind_cuda_sgpr(m);
  bind_cuda_svgp(m);
  bind_cuda_network(m);
  bind_cuda_vae(m);
  bind_cuda_bijectors(m);
  bind_cuda_density_ratio(m);
  bind_cuda_flow(m);
  bind_cuda_implicit(m);
  bind_cuda_bayesopt(m);
  bind_cuda_mixture(m);
}

}  // namespace lvm::bind

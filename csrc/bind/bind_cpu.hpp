// The parts of lvmfast._cpu that are compiled in files of their own.
#pragma once

#include "bind/view_numpy.hpp"

namespace lvm::bind {

void bind_cpu_likelihoods(py::module_& m);    // cpu_likelihoods.cpp
void bind_cpu_logistic(py::module_& m);       // cpu_logistic.cpp
void bind_cpu_gp_classifier(py::module_& m);  // cpu_gp_classifier.cpp
void bind_cpu_sgpr(py::module_& m);           // cpu_sgpr.cpp
void bind_cpu_svgp(py::module_& m);           // cpu_svgp.cpp
void bind_cpu_network(py::module_& m);        // cpu_network.cpp
void bind_cpu_vae(py::module_& m);            // cpu_vae.cpp
void bind_cpu_bijectors(py::module_& m);      // cpu_bijectors.cpp
void bind_cpu_density_ratio(py::module_& m);  // cpu_density_ratio.cpp
void bind_cpu_flow(py::module_& m);           // cpu_flow.cpp
void bind_cpu_implicit(py::module_& m);       // cpu_implicit.cpp
void bind_cpu_bayesopt(py::module_& m);       // cpu_bayesopt.cpp
void bind_cpu_mixture(py::module_& m);        // cpu_mixture.cpp

}  // namespace lvm::bind

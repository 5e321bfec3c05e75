// models.svgp: a step of stochastic variational inference.
#pragma once

#include "bind/views.hpp"

namespace lvm::bind {

template <class Device>
void bind_svgp(py::module_&) {}

}  // namespace lvm::bind

// lvmfast._cpu: mixtures of spherical normal distributions.
#include "bind/bind_cpu.hpp"
#include "bind/bind_mixture.hpp"
#include "device/cpu_mixture.hpp"

namespace lvm::bind {

void bind_cpu_mixture(py::module_& m) { bind_mixture<Cpu>(m); }

}  // namespace lvm::bind

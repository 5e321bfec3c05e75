// lvmfast._cpu: likelihoods.
#include "bind/bind_cpu.hpp"
#include "bind/bind_likelihoods.hpp"
#include "device/cpu.hpp"

namespace lvm::bind {

void bind_cpu_likelihoods(py::module_& m) { bind_likelihoods<Cpu>(m); }

}  // namespace lvm::bind

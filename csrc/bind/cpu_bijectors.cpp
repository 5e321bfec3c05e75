// lvmfast._cpu: chains of bijectors.
#include "bind/bind_cpu.hpp"
#include "bind/bind_bijectors.hpp"
#include "device/cpu_chain.hpp"

namespace lvm::bind {

void bind_cpu_bijectors(py::module_& m) { bind_bijectors<Cpu>(m); }

}  // namespace lvm::bind

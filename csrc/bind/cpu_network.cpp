// lvmfast._cpu: networks.
#include "bind/bind_cpu.hpp"
#include "bind/bind_network.hpp"
#include "device/cpu_network.hpp"

namespace lvm::bind {

void bind_cpu_network(py::module_& m) { bind_network<Cpu>(m); }

}  // namespace lvm::bind

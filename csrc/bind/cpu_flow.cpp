// lvmfast._cpu: normalizing flows.
#include "bind/bind_cpu.hpp"
#include "bind/bind_flow.hpp"
#include "device/cpu_network.hpp"
#include "device/cpu_vae.hpp"

namespace lvm::bind {

void bind_cpu_flow(py::module_& m) { bind_flow<Cpu>(m); }

}  // namespace lvm::bind

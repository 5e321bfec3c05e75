// lvmfast._cpu: implicit models.
#include "bind/bind_cpu.hpp"
#include "bind/bind_implicit.hpp"
#include "device/cpu_network.hpp"
#include "device/cpu_vae.hpp"

namespace lvm::bind {

void bind_cpu_implicit(py::module_& m) { bind_implicit<Cpu>(m); }

}  // namespace lvm::bind

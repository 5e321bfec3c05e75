// lvmfast._cpu: variational autoencoders.
#include "bind/bind_cpu.hpp"
#include "bind/bind_vae.hpp"
#include "device/cpu_network.hpp"
#include "device/cpu_vae.hpp"

namespace lvm::bind {

void bind_cpu_vae(py::module_& m) { bind_vae<Cpu>(m); }

}  // namespace lvm::bind

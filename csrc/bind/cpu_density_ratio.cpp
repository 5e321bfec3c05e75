// lvmfast._cpu: training of density ratios; KLIEP.
#include "bind/bind_cpu.hpp"
#include "bind/bind_density_ratio.hpp"
#include "bind/bind_kliep.hpp"
#include "device/cpu_narrow.hpp"
#include "device/cpu_network.hpp"
#include "device/cpu_vae.hpp"

namespace lvm::bind {

void bind_cpu_density_ratio(py::module_& m) {
  bind_density_ratio<Cpu>(m);
  bind_kliep(m);
}

}  // namespace lvm::bind

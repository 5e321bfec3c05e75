// lvmfast._cpu: sparse variational inference with any likelihood.
#include "bind/bind_cpu.hpp"
#include "bind/bind_svgp.hpp"
#include "device/cpu.hpp"

namespace lvm::bind {

void bind_cpu_svgp(py::module_& m) { bind_svgp<Cpu>(m); }

}  // namespace lvm::bind

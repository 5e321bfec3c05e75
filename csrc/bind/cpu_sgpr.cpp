// lvmfast._cpu: sparse regression.
#include "bind/bind_cpu.hpp"
#include "bind/bind_sgpr.hpp"
#include "device/cpu.hpp"

namespace lvm::bind {

void bind_cpu_sgpr(py::module_& m) { bind_sgpr<Cpu>(m); }

}  // namespace lvm::bind

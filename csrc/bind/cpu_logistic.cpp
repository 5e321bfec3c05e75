// lvmfast._cpu: logistic.
#include "bind/bind_cpu.hpp"
#include "device/cpu.hpp"

namespace lvm::bind {

void bind_cpu_logistic(py::module_&) {}

}  // namespace lvm::bind

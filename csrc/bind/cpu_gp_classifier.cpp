// lvmfast._cpu: gp_classifier.
#include "bind/bind_cpu.hpp"
#include "device/cpu.hpp"

namespace lvm::bind {

void bind_cpu_gp_classifier(py::module_&) {}

}  // namespace lvm::bind

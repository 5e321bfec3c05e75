// lvmfast._cpu: gp_classifier.
#include "bind/bind_cpu.hpp"
#include "bind/bind_gp_classifier.hpp"
#include "device/cpu.hpp"

namespace lvm::bind {

void bind_cpu_gp_classifier(py::module_& m) { bind_gp_classifier<Cpu>(m); }

}  // namespace lvm::bind

// lvmfast._cpu: logistic models.
#include "bind/bind_cpu.hpp"
#include "bind/bind_logistic.hpp"
#include "device/cpu_logistic_gibbs.hpp"

namespace lvm::bind {

void bind_cpu_logistic(py::module_& m) {
  bind_logistic_gibbs<Cpu, double>(m, "LogisticGibbs64");
  bind_logistic_gibbs<Cpu, float>(m, "LogisticGibbs32");
}

}  // namespace lvm::bind

// lvmfast._cpu: Bayesian optimization.
#include "bind/bind_cpu.hpp"
#include "bind/bind_knowledge_gradient.hpp"
#include "bind/bind_line_envelope.hpp"
#include "device/cpu.hpp"

namespace lvm::bind {

void bind_cpu_bayesopt(py::module_& m) {
  bind_knowledge_gradient<Cpu>(m);
  bind_box_search(m);
  bind_line_envelope(m);
}

}  // namespace lvm::bind

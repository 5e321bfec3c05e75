// lvmfast._cuda: Bayesian optimization.
#include "bind/bind_knowledge_gradient.hpp"
#include "bind/cuda_instances.hpp"

namespace lvm::bind {

void bind_cuda_bayesopt(py::module_& m) { bind_knowledge_gradient<Cuda>(m); }

}  // namespace lvm::bind

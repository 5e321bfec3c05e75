// lvmfast._cuda: GPLVM and GPR.
#include "bind/bind_gplvm.hpp"
#include "bind/bind_gpr.hpp"
#include "bind/cuda_instances.hpp"

namespace lvm::bind {

void bind_cuda_models(py::module_& m) {
  bind_gplvm_objective<Cuda, double>(m, "GplvmObjective64");
  bind_gplvm_objective<Cuda, float>(m, "GplvmObjective32");
  bind_gplvm_projection<Cuda>(m);
  bind_gpr_objective<Cuda, double>(m, "GprObjective64");
  bind_gpr_objective<Cuda, float>(m, "GprObjective32");
  bind_gpr_predictor<Cuda>(m);
}

}  // namespace lvm::bind

// lvmfast._cuda: gp_classifier.
#include "bind/bind_cuda.hpp"
#include "bind/bind_gp_classifier.hpp"
#include "bind/cuda_instances.hpp"

namespace lvm::bind {

void bind_cuda_gp_classifier(py::module_& m) { bind_gp_classifier<Cuda>(m); }

}  // namespace lvm::bind

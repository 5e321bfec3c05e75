// lvmfast._cuda: gp_classifier.
#include "bind/bind_cuda.hpp"
#include "bind/cuda_instances.hpp"

namespace lvm::bind {

void bind_cuda_gp_classifier(py::module_&) {}

}  // namespace lvm::bind

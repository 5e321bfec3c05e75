// lvmfast._cuda: logistic.
#include "bind/bind_cuda.hpp"
#include "bind/cuda_instances.hpp"

namespace lvm::bind {

void bind_cuda_logistic(py::module_&) {}

}  // namespace lvm::bind

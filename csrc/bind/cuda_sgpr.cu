// lvmfast._cuda: sparse regression.
#include "bind/bind_sgpr.hpp"
#include "bind/cuda_instances.hpp"

namespace lvm::bind {

void bind_cuda_sgpr(py::module_& m) { bind_sgpr<Cuda>(m); }

}  // namespace lvm::bind

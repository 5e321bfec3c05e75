// lvmfast._cuda: sparse variational inference with any likelihood.
#include "bind/bind_svgp.hpp"
#include "bind/cuda_instances.hpp"

namespace lvm::bind {

void bind_cuda_svgp(py::module_& m) { bind_svgp<Cuda>(m); }

}  // namespace lvm::bind

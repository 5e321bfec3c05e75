// lvmfast._cuda: likelihoods.
#include "bind/bind_cuda.hpp"
#include "bind/bind_likelihoods.hpp"
#include "bind/cuda_instances.hpp"

namespace lvm::bind {

void bind_cuda_likelihoods(py::module_& m) { bind_likelihoods<Cuda>(m); }

}  // namespace lvm::bind

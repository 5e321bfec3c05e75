// lvmfast._cuda: mixtures of spherical normal distributions.
#include "bind/bind_mixture.hpp"
#include "bind/cuda_instances.hpp"
#include "device/cuda_mixture.hpp"

namespace lvm::bind {

void bind_cuda_mixture(py::module_& m) { bind_mixture<Cuda>(m); }

}  // namespace lvm::bind

// lvmfast._cuda: training of density ratios.
#include "bind/bind_density_ratio.hpp"
#include "bind/cuda_instances.hpp"
#include "device/cuda_network.hpp"
#include "device/cuda_vae.hpp"

namespace lvm::bind {

void bind_cuda_density_ratio(py::module_& m) { bind_density_ratio<Cuda>(m); }

}  // namespace lvm::bind

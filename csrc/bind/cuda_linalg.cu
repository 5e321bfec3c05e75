// lvmfast._cuda: linalg and random.
#include "bind/bind_cholesky_update.hpp"
#include "bind/bind_linalg.hpp"
#include "bind/bind_random.hpp"
#include "bind/cuda_instances.hpp"

namespace lvm::bind {

void bind_cuda_linalg(py::module_& m) {
  bind_linalg<Cuda, double>(m);
  bind_linalg<Cuda, float>(m);
  bind_cholesky_update<Cuda, double>(m);
  bind_cholesky_update<Cuda, float>(m);
  bind_random<Cuda>(m);
}

}  // namespace lvm::bind

// lvmfast._cuda: logistic models.
#include "bind/bind_cuda.hpp"
#include "bind/bind_logistic.hpp"
#include "bind/cuda_instances.hpp"

namespace lvm::bind {

void bind_cuda_logistic(py::module_& m) {
  bind_logistic_gibbs<Cuda, double>(m, "LogisticGibbs64");
  bind_logistic_gibbs<Cuda, float>(m, "LogisticGibbs32");
}

}  // namespace lvm::bind

// Instantiates every function of csrc/core on the device, in float and in double. It computes nothing that is
// used: a function that lost its LVM_HD, or calls something that exists on the host only, fails this build.
#include "core/bijector.hpp"
#include "core/config.hpp"
#include "core/stationary.hpp"

namespace lvm {

template <class T>
__device__ T all_of_core(T x) {
  T sum = exp_(x) + log_(x) + log1p_(x) + expm1_(x) + sqrt_(x);
  sum += softplus(x) + softplus_derivative(x) + softplus_inverse(x);
  T value, slope;
  Rbf::value_and_slope(x, value, slope);
  return sum + Rbf::value(x) + value + slope;
}

__global__ void core_compiles(double* d, float* f) {
  d[threadIdx.x] = all_of_core(d[threadIdx.x]);
  f[threadIdx.x] = all_of_core(f[threadIdx.x]);
}

}  // namespace lvm

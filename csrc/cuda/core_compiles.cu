// Instantiates every function of csrc/core on the device, in float and in double. It computes nothing that is
// used: a function that lost its LVM_HD, or calls something that exists on the host only, fails this build.
#include "core/activation.hpp"
#include "core/bijector.hpp"
#include "core/chain.hpp"
#include "core/config.hpp"
#include "core/covariance.hpp"
#include "core/draws.hpp"
#include "core/expectation.hpp"
#include "core/mixture.hpp"
#include "core/multiclass.hpp"
#include "core/optimizer.hpp"
#include "core/polya_gamma.hpp"

namespace lvm {

template <class F, class T>
__device__ T pair(T x, const Shape<T>& shape) {
  T value, slope, by_shape = T(0);
  F::pull(x, shape, value, slope, by_shape);
  return F::value(x, shape) + value + slope + by_shape;
}

template <Distribution D, class T>
__device__ T first_draw(const PhiloxWords& words) {
  T draws[kDrawsPerBlock<T>];
  draws_of_block<D>(words, draws);
  return draws[0];
}

template <class T>
__device__ T random_draws(T x) {
  const PhiloxWords words = philox_at(uint64_t(x), threadIdx.x, 0, 1);
  T sum = first_draw<Distribution::uniform, T>(words) + first_draw<Distribution::normal, T>(words);
  sum += T(first_draw<Distribution::bits, uint64_t>(words)) + T(first_draw<Distribution::bits, uint32_t>(words));
  return sum + first_draw<Distribution::exponential, T>(words);
}

template <class T>
__device__ T likelihoods(T x) {
  const LikelihoodTask<T> task = {static_cast<LikelihoodKind>(threadIdx.x % 12), 1, &x, 1, 1, &x};
  Expectation<T> e{};
  LikelihoodTerm<T> t{};
  expectation<T>(task, x, &x, x, x, e);
  likelihood_term(task, x, &x, x, t);
  T by_r, sum = e.value + t.value + log_predictive(task, x, &x, x, x) + predictive_moments(task, &x, x, x).mean;
  const MulticlassTask<T> classes = {3, 1, &x, x};
  const ClassLatents<T, T> q = {&x, &x};
  sum += softmax_expectation(classes, q, 0, &t.value, &t.slope) + softmax_predictive(classes, q, 0);
  sum += robust_max_expectation(classes, q, 0, &t.value, &t.slope) + robust_max_probability(classes, q, 0);
  return sum + log_rising(x, x, by_r) + log_gamma(x);
}

template <Activation kind, class T>
__device__ T activation_of(T x) {
  return activated<kind>(x) + activation_pull<kind>(x, x);
}

template <class T>
__device__ T networks(T x) {
  double scale = 1;
  ClipScale{&scale, &scale, 1}(0);
  T theta = x, m = x, v = x;
  AdamStep<T>{&theta, &m, &v, &x, &scale, 1, 1, 1, 1}(0);
  RmspropStep<T>{&theta, &m, &v, &x, &scale, 1, 1, 1, 1}(0);
  SgdStep<T>{&theta, &m, &x, &scale, 1, 1}(0);
  T sum = theta + activation_of<Activation::linear>(x) + activation_of<Activation::relu>(x) + activation_of<Activation::tanh>(x);
  sum += activation_of<Activation::sigmoid>(x) + activation_of<Activation::softplus>(x);
  return sum + activation_of<Activation::elu>(x) + activation_of<Activation::gelu>(x);
}

template <class T>
__device__ T chains(T x) {
  const ChainProgram program{};
  T out = x, log_det = x, slope = x;
  ChainPoints<T>{program, &x, &out, &log_det}(0);
  const T a[3] = {x, x, x};
  out += mapped<ChainOp::tanh, true, true>(x, a, slope) + mapped<ChainOp::softplus, true, true>(x, a, slope);
  return out + log_det + slope + margin<ChainOp::sigmoid, true>(x, a);
}

template <class T>
__device__ T mixtures(T x) {
  const MixtureTask<T> task = {1, 1, 1, &x, &x, &x, &x, &x};
  T log_p = x, weight = x;
  const MixtureResults<T> results = {&log_p, &x, &weight, 1};
  MixtureDensityAt<T>{{task, results}}(0);
  MixtureWeightAt<T>{{task, results}}(0, 0);
  return log_p + weight;
}

template <class T>
__device__ T all_of_core(T x) {
  T sum = exp_(x) + log_(x) + log1p_(x) + expm1_(x) + sqrt_(x) + min_(x, T(1)) + large_(x) + zero_unless_positive_(x, x);
  sum += random_draws(x) + likelihoods(x) + networks(x) + chains(x) + mixtures(x);
  sum += softplus(x) + softplus_derivative(x) + softplus_inverse(x) + normal_excess_ratio(x);
  const Shape<T> shape{x, 3};
  sum += pair<Rbf>(x, shape) + pair<Matern12>(x, shape) + pair<Matern32>(x, shape) + pair<Matern52>(x, shape);
  return sum + pair<RationalQuadratic>(x, shape) + pair<Dot>(x, shape) + pair<Power>(x, shape);
}

__global__ void core_compiles(double* d, float* f) {
  d[threadIdx.x] = all_of_core(d[threadIdx.x]);
  f[threadIdx.x] = all_of_core(f[threadIdx.x]);
}

}  // namespace lvm

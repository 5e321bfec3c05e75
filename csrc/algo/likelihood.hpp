// Likelihoods of sparse variational GPs on a device: their constants and nodes, and what they say of many points.
//
// Arrays of points are float or double, the arithmetic and the results double: a likelihood is a small part of a model's
// time, and logarithms of factorials of counts need the digits.
#pragma once

#include <algorithm>
#include <cmath>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/expectation.hpp"
#include "core/multiclass.hpp"

namespace lvm {

inline LikelihoodKind likelihood_kind(const std::string& name) {
  static const char* const names[] = {
      "gaussian", "bernoulli_logit", "bernoulli_probit", "poisson", "poisson_softplus", "student_t", "beta", "gamma",
      "gamma_softplus", "negative_binomial", "negative_binomial_softplus", "ordinal"};
  for (int64_t k = 0; k < static_cast<int64_t>(std::size(names)); ++k) {
    if (name == names[k]) return static_cast<LikelihoodKind>(k);
  }
  throw std::invalid_argument("no likelihood is called " + name);
}

// Nodes and weights of Gauss for log(1 + exp(-t)) on t >= 0, exact for polynomials of degree 47, and the weights times
// (1 / (1 + exp(t))) / log(1 + exp(-t)); see wide_log_logistic.
inline std::vector<double> wide_logistic_nodes() {
  static const double nodes[kWideNodes] = {
      0.061211718711656798, 0.32146373291607652, 0.78622544967146954, 1.4528249015900372, 2.3222427080659585,
      3.3997020503514062, 4.6923230807424867, 6.2073733750103653, 7.9524763886815615, 9.9364860247338881,
      12.170140525525916, 14.66653032499522, 17.441616652003459, 20.514952467135431, 23.910719649009618,
      27.659245116422348, 31.799282682181856, 36.381591994419894, 41.474860323913355, 47.176206723487473,
      53.631640519624942, 61.081567105111003, 69.985248136224441, 81.521260771396098};
  static const double weights[kWideNodes] = {
      0.10406617972272049, 0.19798730870797112, 0.21243808665799763, 0.16130609476362569, 0.090949488002051944,
      0.038874431530192164, 0.012797009778410166, 0.0032778133811963959, 0.00065524841862100519, 0.00010192117109767125,
      1.2245261641427454e-5, 1.1241538148296389e-6, 7.7745513213431921e-8, 3.9781508323406703e-9, 1.4721310257406046e-10,
      3.8274066481369489e-12, 6.735705334950057e-14, 7.6404950286503761e-16, 5.2277662269397246e-18,
      1.9645943517641312e-20, 3.5235308354883136e-23, 2.3959766106427026e-26, 3.9953006497245644e-30,
      5.4486661346435417e-35};
  std::vector<double> table(nodes, nodes + kWideNodes);
  table.insert(table.end(), weights, weights + kWideNodes);
  for (int k = 0; k < kWideNodes; ++k) {
    const double e = std::exp(-nodes[k]);
    table.push_back(weights[k] * e / (1.0 + e) / std::log1p(e));
  }
  return table;
}

// What the functions of points take in place of the parameters: parameters, and what does not depend on the point.
inline std::vector<double> likelihood_constants(LikelihoodKind kind, const double* p, int64_t count) {
  const auto psi = [](double x) { return std::log(x) - 0.5 / x + stirling_tail(x).slope; };
  switch (kind) {
    case LikelihoodKind::bernoulli_logit: return wide_logistic_nodes();
    case LikelihoodKind::student_t: {
      double slope;
      const double half = log_rising(0.5 * p[1], 0.5, slope);  // log Gamma((nu + 1) / 2) - log Gamma(nu / 2) - log(nu / 2) / 2
      return {p[0], p[1], half - kLogRoot2Pi - std::log(p[0]), 0.5 * slope};
    }
    case LikelihoodKind::beta: return {p[0], log_gamma(p[0]), psi(p[0])};
    case LikelihoodKind::gamma:
    case LikelihoodKind::gamma_softplus: {
      const StirlingTail<double> tail = stirling_tail(p[0]);
      return {p[0], 0.5 * std::log(p[0]) - kLogRoot2Pi - tail.value, 0.5 / p[0] - tail.slope};
    }
    case LikelihoodKind::negative_binomial:
    case LikelihoodKind::negative_binomial_softplus: return {p[0], std::log(p[0])};
    default: return {p, p + count};
  }
}

// The task of a likelihood, with the device's memory that it points to.
template <class Device>
class Likelihood {
 public:
  // nodes: x, w and log w of Gauss and Hermite, `count` of each; parameters on the host.
  Likelihood(LikelihoodKind kind, const double* parameters, int64_t size, const double* nodes, int64_t count) {
    std::vector<double> constants = likelihood_constants(kind, parameters, size);
    const auto own = static_cast<int64_t>(constants.size());
    const int64_t stride = (count + kMostLanes - 1) / kMostLanes * kMostLanes;
    constants.resize(own + 3 * stride);
    for (int64_t k = 0; k < 3; ++k) std::copy_n(nodes + k * count, count, constants.data() + own + k * stride);
    const auto total = static_cast<int64_t>(constants.size());
    double* data = memory_.reserve(total);
    Device::upload(constants.data(), data, total);
    Device::wait();  // before the host's copy goes
    task_ = {kind, size, data, count, stride, data + own};
  }
  const LikelihoodTask<double>& task() const { return task_; }

 private:
  static constexpr int64_t kMostLanes = 8;
  typename Device::template Scratch<double> memory_;
  LikelihoodTask<double> task_;
};

// log p(y_i | f_i).
template <class T>
struct LogDensityOfPoints {
  LikelihoodTask<double> task;
  LikelihoodPoints<T> points;
  double* value;
  LVM_HD void operator()(int64_t i) const {
    const KnownOfPoint<T> own(points.own, i);
    LikelihoodTerm<double> t{};
    likelihood_term(task, static_cast<double>(points.y[i]), own.at, static_cast<double>(points.mean[i]), t);
    value[i] = t.value;
  }
};

// log E p(y_i | f_i).
template <class T>
struct PredictiveOfPoints {
  LikelihoodTask<double> task;
  LikelihoodPoints<T> points;
  double* value;
  LVM_HD void operator()(int64_t i) const {
    const KnownOfPoint<T> own(points.own, i);
    value[i] = log_predictive(task, static_cast<double>(points.y[i]), own.at, static_cast<double>(points.mean[i]),
                              static_cast<double>(points.variance[i]));
  }
};

// The mean and variance of y_i; no y.
template <class T>
struct MomentsOfPoints {
  LikelihoodTask<double> task;
  LikelihoodPoints<T> points;
  double *mean, *variance;
  LVM_HD void operator()(int64_t i) const {
    const KnownOfPoint<T> own(points.own, i);
    const LikelihoodMoments<double> q = predictive_moments(task, own.at, static_cast<double>(points.mean[i]),
                                                           static_cast<double>(points.variance[i]));
    mean[i] = q.mean;
    variance[i] = q.variance;
  }
};

// The same of classes: y (n,), mean and variance (n, classes).
template <class T, bool softmax>
struct ExpectationsOfClasses {
  MulticlassTask<double> task;
  LikelihoodPoints<T> points;
  double *value, *by_mean, *by_variance;
  LVM_HD void operator()(int64_t i) const {
    const int64_t at = i * task.classes;
    const ClassLatents<double, T> q = {points.mean + at, points.variance + at};
    const auto y = static_cast<int64_t>(points.y[i]);
    value[i] = softmax ? softmax_expectation(task, q, y, by_mean + at, by_variance + at)
                       : robust_max_expectation(task, q, y, by_mean + at, by_variance + at);
  }
};

// log E p(y_i | f_i) if y is not null, else E p(c | f_i) of every class c, (n, classes).
template <class T, bool softmax>
struct ProbabilitiesOfClasses {
  MulticlassTask<double> task;
  LikelihoodPoints<T> points;
  double* out;
  LVM_HD void operator()(int64_t at) const {
    const int64_t i = points.y ? at : at / task.classes;
    const ClassLatents<double, T> q = {points.mean + i * task.classes, points.variance + i * task.classes};
    const int64_t y = points.y ? static_cast<int64_t>(points.y[i]) : at % task.classes;
    if (softmax) {
      const double l = softmax_predictive(task, q, y);
      out[at] = points.y ? l : exp_(l);
    } else {
      const double p = robust_max_probability(task, q, y);
      out[at] = points.y ? log_(p) : p;
    }
  }
};

}  // namespace lvm

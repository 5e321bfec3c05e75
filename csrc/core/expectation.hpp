// What a likelihood of one latent number is worth under f ~ N(m, v): E log p(y | f) with its derivatives, log E p(y | f),
// and the mean and variance of y. Closed forms where there are any, else Gauss-Hermite quadrature.
#pragma once

#include <type_traits>

#include "core/likelihood.hpp"
#include "core/predictive.hpp"

namespace lvm {

// sum_j w_j g(m + sqrt(v) x_j) with its derivatives by m and v, and by the likelihood's parameters.
//
// The derivatives are those of the sum: sum w g' by m, and sum w x g' / (2 sqrt(v)) by v. Where sqrt(v) is so small that
// the latter loses its digits it is sum w g'' / 2 (Bonnet and Price), which the rule for polynomials of 2 n - 2 degrees
// makes the same up to a term in sqrt(v)^(2 n - 2).
template <class R>
struct Expectation {
  R value, by_mean, by_variance, by[2];
};

constexpr double kNarrow = 1e-3;  // sqrt(v) over the length on which log p bends

// Some numbers that lie together, as a number or a pack; and the sum of a pack.
template <class R>
LVM_HD void load_lanes(const R* from, R& x) {
  x = *from;
}
template <class R>
LVM_HD R sum_lanes(R x) {
  return x;
}

// P: a number, or a pack; the nodes are then followed by enough without weight.
template <bool narrow, class P, class R, class L>
LVM_HD void sum_nodes(const LikelihoodTask<R>& task, const L& likelihood, R m, R s, Expectation<R>& e) {
  constexpr int kWidth = sizeof(P) / sizeof(R);
  const R *xs = task.x, *ws = task.w();
  P value = P(0.0), slope = P(0.0), bend = P(0.0), by[2] = {P(0.0), P(0.0)};
  for (int64_t j = 0; j < task.nodes; j += kWidth) {
    P x, w;
    load_lanes(xs + j, x);
    load_lanes(ws + j, w);
    LikelihoodTerm<P> t{};
    likelihood.at(P(m) + P(s) * x, t);
    value = value + w * t.value;
    slope = slope + w * t.slope;
    bend = bend + w * (narrow ? t.curvature : x * t.slope);
    for (int k = 0; k < L::kParameters; ++k) by[k] = by[k] + w * t.by[k];
  }
  const R half = R(0.5) * sum_lanes(bend);
  e = {sum_lanes(value), sum_lanes(slope), narrow ? half : half / s, {sum_lanes(by[0]), sum_lanes(by[1])}};
}

// Of the wide integrals of the logistic function: 24 nodes t and weights of Gauss for log(1 + exp(-t)), t >= 0.
constexpr int kWideNodes = 24;
constexpr double kWide = 2.0;  // the variance from which on they are taken

// E log(1 / (1 + exp(-f))) = E min(f, 0) - sum_k W_k (N(t_k; m, v) + N(-t_k; m, v)), f ~ N(m, v).
//
// Gauss and Hermite's nodes miss the bend of width 4 at 0 when sqrt(v) is large; here the normal density is what is taken
// for a polynomial, and the larger v the better. Both rules are within 3e-8 at v = 2 (20 nodes there). The derivatives are
// those of the sum.
template <class P, class R>
LVM_HD void wide_log_logistic(const R* nodes, R m, R v, Expectation<R>& e) {
  constexpr int kWidth = sizeof(P) / sizeof(R);
  const R s = sqrt_(v), inverse = R(1) / s;
  R phi;
  const R below = normal_cdf(-m * inverse, phi);
  P value = P(0.0), by_m = P(0.0), by_v = P(0.0);
  for (int k = 0; k < kWideNodes; k += kWidth) {
    P t, weight;
    load_lanes(nodes + k, t);
    load_lanes(nodes + kWideNodes + k, weight);
    const P up = (t - P(m)) * P(inverse), down = (t + P(m)) * P(inverse);
    const P at_up = weight * exp_(P(-0.5) * up * up), at_down = weight * exp_(P(-0.5) * down * down);
    value = value + (at_up + at_down);
    by_m = by_m + (at_up * up - at_down * down);
    by_v = by_v + (at_up * (up * up - P(1.0)) + at_down * (down * down - P(1.0)));
  }
  const R height = R(0.39894228040143267794) * inverse;
  e = {m * below - s * phi - height * sum_lanes(value), below - height * inverse * sum_lanes(by_m),
       R(-0.5) * inverse * (phi + height * inverse * sum_lanes(by_v)), {R(0), R(0)}};
}

// log E 1 / (1 + exp(-f)) = log(Phi(m / s) + sum_k W'_k (N(-t_k; m, v) - N(t_k; m, v))), f ~ N(m, v), v >= kWide.
//
// Far below 0 by E 1 / (1 + exp(-f)) = exp(m + v / 2) E 1 / (1 + exp(-g)), g ~ N(-m - v, v), exactly.
template <class R>
LVM_HD R wide_log_probability(const R* nodes, R m, R v) {
  R factor = R(0);
  if (m < R(-0.5) * v) {
    factor = m + R(0.5) * v;
    m = -m - v;
  }
  const bool upper = m > R(0);  // then 1 less the rest, which is the smaller
  if (upper) m = -m;
  R more = R(0);
  if (m < R(-0.5) * v) {
    more = m + R(0.5) * v;
    m = -m - v;
  }
  const R inverse = R(1) / sqrt_(v), height = R(0.39894228040143267794) * inverse;
  R phi, p = normal_cdf(m * inverse, phi);
  for (int k = 0; k < kWideNodes; ++k) {
    const R t = nodes[k], up = (t - m) * inverse, down = (t + m) * inverse;
    p += nodes[2 * kWideNodes + k] * height * (exp_(R(-0.5) * down * down) - exp_(R(-0.5) * up * up));
  }
  return factor + (upper ? log1p_(-exp_(more) * p) : more + log_(p));
}

template <class R, class P>
struct ExpectationOf {
  const LikelihoodTask<R>& task;
  R m, v;
  Expectation<R>& e;

  template <class L>
  LVM_HD void quadrature(const L& likelihood) const {
    using Lanes = std::conditional_t<L::kLanes, P, R>;
    const R s = sqrt_(v);
    if (s < R(kNarrow) * likelihood.scale()) {
      sum_nodes<true, Lanes>(task, likelihood, m, s, e);
    } else {
      sum_nodes<false, Lanes>(task, likelihood, m, s, e);
    }
  }
  template <class L>
  LVM_HD void operator()(const L& likelihood) const {
    if constexpr (L::kClosed) {
      LikelihoodTerm<R> t{};
      likelihood.closed(m, v, t);
      e = {t.value, t.slope, R(0.5) * t.curvature, {t.by[0], t.by[1]}};
    } else {
      quadrature(likelihood);
    }
  }
  LVM_HD void operator()(const BernoulliLogit<R>& likelihood) const {
    if (v < R(kWide)) return quadrature(likelihood);
    wide_log_logistic<P>(task.constants, likelihood.sign * m, v, e);
    e.by_mean *= likelihood.sign;
  }
};

// E log p(y | f) with its derivatives, f ~ N(m, v), v >= 0.
template <class P, class R>
LVM_HD void expectation(const LikelihoodTask<R>& task, R y, const R* own, R m, R v, Expectation<R>& e) {
  const ExpectationOf<R, P> f = {task, m, v, e};
  with_likelihood(task, y, own, f);
}

template <class R>
struct TermOf {
  R f;
  LikelihoodTerm<R>& t;
  template <class L>
  LVM_HD void operator()(const L& likelihood) const {
    likelihood.at(f, t);
  }
};

// log p(y | f) with its derivatives.
template <class R>
LVM_HD void likelihood_term(const LikelihoodTask<R>& task, R y, const R* own, R at, LikelihoodTerm<R>& t) {
  const TermOf<R> f = {at, t};
  with_likelihood(task, y, own, f);
}

template <class R>
struct PredictiveOf {
  const LikelihoodTask<R>& task;
  R m, v;
  R& value;
  template <class L>
  LVM_HD void operator()(const L& likelihood) const {
    value = predictive_from_mode(likelihood, m, v, task.x, task.nodes);
  }
  LVM_HD void operator()(const StudentTLikelihood<R>& likelihood) const {
    value = predictive_student(likelihood.y - m, v, likelihood.scale(), likelihood.nu);
  }
  template <class L>
  LVM_HD void by_nodes(const L& likelihood) const {
    const R s = sqrt_(v), *x = task.x, *log_w = task.log_w();
    R most = -R(INFINITY), sum = R(0);  // sum exp(log w + log p - most)
    for (int64_t j = 0; j < task.nodes; ++j) {
      LikelihoodTerm<R> t{};
      likelihood.at(m + s * x[j], t);
      const R term = log_w[j] + t.value;
      if (term > most) {
        sum = sum * exp_(most - term) + R(1);
        most = term;
      } else if (term > -R(INFINITY)) {
        sum += exp_(term - most);
      } else if (term != term) {
        sum = term;
      }
    }
    value = most + log_(sum);
  }
  LVM_HD void operator()(const GaussianLikelihood<R>& likelihood) const {
    const R e = likelihood.y - m, variance = likelihood.variance + v;
    value = R(-0.5) * (e * e / variance + log_(variance)) - R(kLogRoot2Pi);
  }
  LVM_HD void operator()(const BernoulliProbit<R>& likelihood) const {
    R ratio;
    value = log_normal_cdf(likelihood.sign * m / sqrt_(R(1) + v), ratio);
  }
  LVM_HD void operator()(const BernoulliLogit<R>& likelihood) const {
    if (v >= R(kWide)) {
      value = wide_log_probability(task.constants, likelihood.sign * m, v);
    } else {
      by_nodes(likelihood);
    }
  }
  LVM_HD void operator()(const OrdinalLikelihood<R>& likelihood) const {
    const R s = sqrt_(R(1) + v);
    LikelihoodTerm<R> t{};
    OrdinalLikelihood<R>::within((likelihood.low - m) / s, (likelihood.high - m) / s, t);
    value = t.value;
  }
};

// log E p(y | f), f ~ N(m, v).
template <class R>
LVM_HD R log_predictive(const LikelihoodTask<R>& task, R y, const R* own, R m, R v) {
  R value = R(0);
  const PredictiveOf<R> f = {task, m, v, value};
  with_likelihood(task, y, own, f);
  return value;
}

template <class R>
struct MomentsOf {
  const LikelihoodTask<R>& task;
  R m, v;
  LikelihoodMoments<R>& result;

  template <class L>
  LVM_HD void by_nodes(const L& likelihood) const {
    const R s = sqrt_(v), *x = task.x, *w = task.w();
    R mean = R(0), within = R(0), between = R(0);
    for (int64_t j = 0; j < task.nodes; ++j) {
      const LikelihoodMoments<R> q = likelihood.moments(m + s * x[j]);
      mean += w[j] * q.mean;
      within += w[j] * q.variance;
    }
    for (int64_t j = 0; j < task.nodes; ++j) {
      const R d = likelihood.moments(m + s * x[j]).mean - mean;
      between += w[j] * d * d;
    }
    result = {mean, within + between};
  }

  template <class L>
  LVM_HD void operator()(const L& likelihood) const {
    by_nodes(likelihood);
  }
  LVM_HD void operator()(const PoissonLikelihood<R, ExpLink>& likelihood) const { result = likelihood.predictive(m, v); }
  LVM_HD void operator()(const GammaLikelihood<R, ExpLink>& likelihood) const { result = likelihood.predictive(m, v); }
  LVM_HD void operator()(const NegativeBinomialLikelihood<R, ExpLink>& likelihood) const {
    result = likelihood.predictive(m, v);
  }
  LVM_HD void operator()(const GaussianLikelihood<R>& likelihood) const { result = {m, v + likelihood.variance}; }
  LVM_HD void operator()(const StudentTLikelihood<R>& likelihood) const {
    result = likelihood.moments(m);
    result.variance += v;
  }
  LVM_HD void operator()(const BernoulliProbit<R>&) const {
    R density;
    const R z = m / sqrt_(R(1) + v);
    result.mean = normal_cdf(z, density);
    result.variance = result.mean * normal_cdf(-z, density);
  }
  LVM_HD void operator()(const BernoulliLogit<R>&) const {
    R up, down;
    const BernoulliLogit<R> one(task, R(1), nullptr), zero(task, R(0), nullptr);
    PredictiveOf<R>{task, m, v, up}(one);
    PredictiveOf<R>{task, m, v, down}(zero);
    result.mean = exp_(up);
    result.variance = exp_(up + down);
  }
  // y = the number of cut points that f + N(0, 1) is above
  LVM_HD void operator()(const OrdinalLikelihood<R>&) const {
    const R inverse = R(1) / sqrt_(R(1) + v);
    R mean = R(0), second = R(0), density;
    for (int64_t k = 0; k < task.parameters; ++k) mean += normal_cdf((m - task.constants[k]) * inverse, density);
    for (int64_t k = 0; k <= task.parameters; ++k) {
      const R least = k > 0 ? normal_cdf((m - task.constants[k - 1]) * inverse, density) : R(1);
      const R more = k < task.parameters ? normal_cdf((m - task.constants[k]) * inverse, density) : R(0);
      second += (least - more) * (R(k) - mean) * (R(k) - mean);
    }
    result = {mean, second};
  }
};

// The mean and variance of y, f ~ N(m, v).
template <class R>
LVM_HD LikelihoodMoments<R> predictive_moments(const LikelihoodTask<R>& task, const R* own, R m, R v) {
  LikelihoodMoments<R> result{};
  const MomentsOf<R> f = {task, m, v, result};
  with_likelihood(task, R(0), own, f);
  return result;
}

// Points: y, what else is known of each (or null), and the mean and variance of f (variance null: f itself).
template <class T>
struct LikelihoodPoints {
  const T *y, *own, *mean, *variance;
};

template <class T>
struct KnownOfPoint {
  double value;
  const double* at;
  LVM_HD KnownOfPoint(const T* own, int64_t i) : value(own ? static_cast<double>(own[i]) : 0.0), at(own ? &value : nullptr) {}
};

// E log p(y_i | f_i) and its derivatives; by_parameters (n, parameters) may be null.
template <class T>
struct ExpectationsOfPoints {
  LikelihoodTask<double> task;
  LikelihoodPoints<T> points;
  double *value, *by_mean, *by_variance, *by_parameters;
  LVM_HD void operator()(int64_t i) const { at<double>(i); }
  template <class P>
  LVM_HD void at(int64_t i) const {
    const KnownOfPoint<T> own(points.own, i);
    Expectation<double> e{};
    expectation<P>(task, static_cast<double>(points.y[i]), own.at, static_cast<double>(points.mean[i]),
                   static_cast<double>(points.variance[i]), e);
    value[i] = e.value;
    by_mean[i] = e.by_mean;
    by_variance[i] = e.by_variance;
    if (!by_parameters) return;
    double* by = by_parameters + i * task.parameters;
    if (task.kind == LikelihoodKind::ordinal) {  // only the cut points on both sides
      const auto k = static_cast<int64_t>(points.y[i]);
      for (int64_t j = 0; j < task.parameters; ++j) by[j] = j == k ? e.by[0] : j == k - 1 ? e.by[1] : 0.0;
    } else {
      for (int64_t j = 0; j < task.parameters; ++j) by[j] = e.by[j];
    }
  }
};

}  // namespace lvm

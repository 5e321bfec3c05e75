// Likelihoods p(y | f) of one latent number f: the logarithm at one point y, its derivatives, and the mean and variance of y.
//
// Every likelihood is a struct made for one point: from its constants (likelihood_constants in algo/likelihood.hpp says
// what they are), y, and what else is known of the point. All constants of log p are there, in nats. Where kLanes says so
// `at` takes packs of f as well as numbers.
#pragma once

#include "core/special.hpp"

namespace lvm {

enum class LikelihoodKind : int64_t {
  gaussian, bernoulli_logit, bernoulli_probit, poisson, poisson_softplus, student_t, beta, gamma, gamma_softplus,
  negative_binomial, negative_binomial_softplus, ordinal
};

// A likelihood as the functions of points take it; the pointers are the device's.
template <class R>
struct LikelihoodTask {
  LikelihoodKind kind;
  int64_t parameters;  // how many it has
  const R* constants;
  int64_t nodes;  // how many of Gauss and Hermite there are
  int64_t stride;  // from x to the weights w, which sum to 1, and on to log w; what lies between has no weight
  const R* x;      // for N(0, 1)

  LVM_HD const R* w() const { return x + stride; }
  LVM_HD const R* log_w() const { return x + 2 * stride; }
};

// log p(y | f), two derivatives by f, and those by parameters.
template <class R>
struct LikelihoodTerm {
  R value, slope, curvature, by[2];
};

// The mean and variance of y given f.
template <class R>
struct LikelihoodMoments {
  R mean, variance;
};

// The mean of y above 0: exp(f) or log(1 + exp(f)), by its logarithm eta with two derivatives.
struct ExpLink {
  static constexpr bool kExp = true;
  template <class P>
  LVM_HD static P log_mean(P f, P& slope, P& curvature) {
    slope = P(1.0);
    curvature = P(0.0);
    return f;
  }
};
struct SoftplusLink {
  static constexpr bool kExp = false;
  template <class P>
  LVM_HD static P log_mean(P f, P& slope, P& curvature) {
    const P e = exp_(P(0.0) - abs_(f)), l = log1p_(e), zero = P(0.0), one = P(1.0), low = P(-30.0);
    // Far below 0, softplus(f) = e (1 - e / 2 + ...).
    const P y = if_less_(f, low, one, max_(f, zero) + l), p = if_less_(f, zero, e, one) / (one + e), ratio = p / y;
    slope = if_less_(f, low, one - P(0.5) * e, ratio);
    curvature = if_less_(f, low, P(-0.5) * e, ratio * (one - p - ratio));
    return if_less_(f, low, f - P(0.5) * e, log_(y));
  }
};

// Where y's mean depends on f through eta alone: the chain rule, from derivatives by eta in t.
template <class P>
LVM_HD void chain_link(P slope, P curvature, LikelihoodTerm<P>& t) {
  t.curvature = t.curvature * slope * slope + t.slope * curvature;
  t.slope = t.slope * slope;
}

// N(y | f, variance); the variance is a parameter, or known of the point.
template <class R>
struct GaussianLikelihood {
  static constexpr bool kClosed = true;
  static constexpr bool kLanes = false;
  static constexpr int kParameters = 1;
  R y, variance;
  bool known;
  LVM_HD GaussianLikelihood(const LikelihoodTask<R>& task, R y_, const R* own)
      : y(y_), variance(own ? *own : task.constants[0]), known(own) {}
  LVM_HD R scale() const { return sqrt_(variance); }
  LVM_HD void at(R f, LikelihoodTerm<R>& t) const { closed(f, R(0), t); }
  // E log p under N(m, v); slope by m, curvature twice the derivative by v
  LVM_HD void closed(R m, R v, LikelihoodTerm<R>& t) const {
    const R e = y - m, inverse = R(1) / variance, square = (e * e + v) * inverse;
    t.value = R(-0.5) * (square + log_(variance)) - R(kLogRoot2Pi);
    t.slope = e * inverse;
    t.curvature = -inverse;
    t.by[0] = known ? R(0) : R(0.5) * (square - R(1)) * inverse;
  }
  LVM_HD LikelihoodMoments<R> moments(R f) const { return {f, variance}; }
};

// p(y = 1) = 1 / (1 + exp(-f)).
template <class R>
struct BernoulliLogit {
  static constexpr bool kClosed = false;
  static constexpr bool kLanes = true;
  static constexpr int kParameters = 0;
  R sign;
  LVM_HD BernoulliLogit(const LikelihoodTask<R>&, R y, const R*) : sign(y > R(0) ? R(1) : R(-1)) {}
  LVM_HD R scale() const { return R(1); }
  template <class P>
  LVM_HD void at(P f, LikelihoodTerm<P>& t) const {
    const P z = P(sign) * f, e = exp_(P(0.0) - abs_(z)), inverse = P(1.0) / (P(1.0) + e);
    t.value = min_(z, P(0.0)) - log1p_(e);
    t.slope = P(sign) * inverse * if_less_(z, P(0.0), P(1.0), e);
    t.curvature = P(-1.0) * e * inverse * inverse;
  }
  LVM_HD LikelihoodMoments<R> moments(R f) const {
    const R e = exp_(f < R(0) ? f : -f), inverse = R(1) / (R(1) + e);
    return {f < R(0) ? e * inverse : inverse, e * inverse * inverse};
  }
};

// p(y = 1) = Phi(f).
template <class R>
struct BernoulliProbit {
  static constexpr bool kClosed = false;
  static constexpr bool kLanes = true;
  static constexpr int kParameters = 0;
  R sign;
  LVM_HD BernoulliProbit(const LikelihoodTask<R>&, R y, const R*) : sign(y > R(0) ? R(1) : R(-1)) {}
  LVM_HD R scale() const { return R(1); }
  template <class P>
  LVM_HD void at(P f, LikelihoodTerm<P>& t) const {
    P ratio;
    const P z = P(sign) * f;
    t.value = log_normal_cdf(z, ratio);
    t.slope = P(sign) * ratio;
    t.curvature = P(-1.0) * ratio * (z + ratio);
  }
  LVM_HD LikelihoodMoments<R> moments(R f) const {
    R density;
    const R p = normal_cdf(f, density);
    return {p, p * normal_cdf(-f, density)};
  }
};

// Poisson with the mean exposure * exp(f), or exposure * softplus(f); the exposure is known of the point, else 1.
template <class R, class Link>
struct PoissonLikelihood {
  static constexpr bool kClosed = Link::kExp;
  static constexpr bool kLanes = true;
  static constexpr int kParameters = 0;
  R y, exposure, constant;
  LVM_HD PoissonLikelihood(const LikelihoodTask<R>&, R y_, const R* own) : y(y_), exposure(own ? *own : R(1)) {
    constant = -log_gamma(y + R(1)) + (own ? y * log_(exposure) : R(0));
  }
  LVM_HD R scale() const { return R(1); }
  template <class P>
  LVM_HD void at(P f, LikelihoodTerm<P>& t) const {
    P slope, curvature;
    const P eta = Link::log_mean(f, slope, curvature), mean = P(exposure) * exp_(eta);
    t.value = P(y) * eta - mean + P(constant);
    t.slope = P(y) - mean;
    t.curvature = P(-1.0) * mean;
    chain_link(slope, curvature, t);
  }
  LVM_HD void closed(R m, R v, LikelihoodTerm<R>& t) const {
    const R mean = exposure * exp_(m + R(0.5) * v);
    t.value = y * m - mean + constant;
    t.slope = y - mean;
    t.curvature = -mean;
  }
  LVM_HD LikelihoodMoments<R> moments(R f) const {
    R slope, curvature;
    const R mean = exposure * exp_(Link::log_mean(f, slope, curvature));
    return {mean, mean};
  }
  LVM_HD LikelihoodMoments<R> predictive(R m, R v) const {
    const R mean = exposure * exp_(m + R(0.5) * v);
    return {mean, mean + mean * mean * expm1_(v)};
  }
};

// Student's t around f. Constants: scale, degrees of freedom nu, log of the factor without the scale, its derivative.
template <class R>
struct StudentTLikelihood {
  static constexpr bool kClosed = false;
  static constexpr bool kLanes = true;
  static constexpr int kParameters = 2;
  R y, inverse, nu, constant, by_nu;
  LVM_HD StudentTLikelihood(const LikelihoodTask<R>& task, R y_, const R*)
      : y(y_), inverse(R(1) / task.constants[0]), nu(task.constants[1]), constant(task.constants[2]),
        by_nu(task.constants[3]) {}
  LVM_HD R scale() const { return R(1) / inverse; }
  template <class P>
  LVM_HD void at(P f, LikelihoodTerm<P>& t) const {
    const P e = (P(y) - f) * P(inverse), q = e * e, u = q * P(R(1) / nu), near = P(R(1) / nu) / (P(1.0) + u);
    const P weight = P(nu + R(1)) * near;
    t.value = P(constant) - P(R(0.5) * (nu + R(1))) * log1p_(u);
    t.slope = weight * e * P(inverse);
    t.curvature = weight * P(inverse * inverse) * (q - P(nu)) * near;
    t.by[0] = (weight * q - P(1.0)) * P(inverse);
    t.by[1] = P(by_nu) - P(0.5) * (log1p_minus(u) + u * (u - P(R(1) / nu)) * near * P(nu));
  }
  LVM_HD LikelihoodMoments<R> moments(R f) const {
    const R nan = R(NAN), s = R(1) / inverse;
    return {nu > R(1) ? f : nan, nu > R(2) ? s * s * nu / (nu - R(2)) : nu > R(1) ? R(INFINITY) : nan};
  }
};

// Beta(mu phi, (1 - mu) phi) with mu = 1 / (1 + exp(-f)). Constants: phi, log Gamma(phi), psi(phi).
template <class R>
struct BetaLikelihood {
  static constexpr bool kClosed = false;
  static constexpr bool kLanes = false;
  static constexpr int kParameters = 1;
  R phi, log_y, log_1my, constant, psi;
  LVM_HD BetaLikelihood(const LikelihoodTask<R>& task, R y, const R*)
      : phi(task.constants[0]), log_y(log_(y)), log_1my(log1p_(-y)), constant(task.constants[1]), psi(task.constants[2]) {}
  LVM_HD R scale() const { return R(1); }
  // With -log Gamma(a) = log a - log Gamma(1 + a), nothing overflows where a is next to 0.
  LVM_HD void at(R f, LikelihoodTerm<R>& t) const {
    const R e = exp_(f < R(0) ? f : -f), l = log1p_(e), inverse = R(1) / (R(1) + e);
    const R large = inverse, small = e * inverse, mu = f < R(0) ? small : large, nu = f < R(0) ? large : small;
    const R log_mu = (f < R(0) ? f : R(0)) - l, log_nu = (f < R(0) ? R(0) : -f) - l;
    const R a = phi * mu, b = phi * nu, k = mu * nu, odds = log_y - log_1my, log_phi = log_(phi);
    R psi_a, psi1_a, psi_b, psi1_b;
    const R lg_a = beyond_one(a, psi_a, psi1_a), lg_b = beyond_one(b, psi_b, psi1_b);
    t.value = constant + (log_phi + log_mu - lg_a) + (log_phi + log_nu - lg_b) + (a - R(1)) * log_y + (b - R(1)) * log_1my;
    const R A = R(1) - a * psi_a, B = R(1) - b * psi_b;  // -a psi(a), -b psi(b)
    t.slope = nu * A - mu * B + phi * k * odds;
    t.curvature = k * (phi * ((nu - mu) * odds - nu * (psi_a + a * psi1_a) - mu * (psi_b + b * psi1_b)) - A - B);
    t.by[0] = psi + (A + B) / phi + mu * log_y + nu * log_1my;
  }
  LVM_HD LikelihoodMoments<R> moments(R f) const {
    const R e = exp_(f < R(0) ? f : -f), inverse = R(1) / (R(1) + e);
    return {f < R(0) ? e * inverse : inverse, e * inverse * inverse / (R(1) + phi)};
  }

 private:
  // log Gamma(1 + a), psi(1 + a), psi'(1 + a).
  LVM_HD static R beyond_one(R a, R& psi, R& psi1) {
    const R x = R(1) + a, l = log_(x), inverse = R(1) / x;
    const StirlingTail<R> tail = stirling_tail(x);
    psi = l - R(0.5) * inverse + tail.slope;
    psi1 = inverse + R(0.5) * inverse * inverse + tail.curvature;
    return (x - R(0.5)) * l - x + R(kLogRoot2Pi) + tail.value;
  }
};

// Gamma with the mean exp(f), or softplus(f), and the shape alpha. Constants: alpha, alpha log alpha - alpha - log
// Gamma(alpha), its derivative.
template <class R, class Link>
struct GammaLikelihood {
  static constexpr bool kClosed = Link::kExp;
  static constexpr bool kLanes = false;
  static constexpr int kParameters = 1;
  R log_y, alpha, constant, by_alpha;
  LVM_HD GammaLikelihood(const LikelihoodTask<R>& task, R y, const R*)
      : log_y(log_(y)), alpha(task.constants[0]), constant(task.constants[1]), by_alpha(task.constants[2]) {}
  LVM_HD R scale() const { return R(1); }
  template <class P>
  LVM_HD void at(P f, LikelihoodTerm<P>& t) const {
    P slope, curvature;
    const P eta = Link::log_mean(f, slope, curvature), d = P(log_y) - eta;
    by_log_mean(d, expm1_(d), t);
    chain_link(slope, curvature, t);
  }
  LVM_HD void closed(R m, R v, LikelihoodTerm<R>& t) const {
    const R d = log_y - m;
    by_log_mean(d, expm1_(d + R(0.5) * v), t);
  }
  LVM_HD LikelihoodMoments<R> moments(R f) const {
    R slope, curvature;
    const R mean = exp_(Link::log_mean(f, slope, curvature));
    return {mean, mean * mean / alpha};
  }
  LVM_HD LikelihoodMoments<R> predictive(R m, R v) const {
    const R mean = exp_(m + R(0.5) * v);
    return {mean, mean * mean * (expm1_(v) + exp_(v) / alpha)};
  }

 private:
  // d = log y - E eta, excess = y E exp(-eta) - 1.
  template <class P>
  LVM_HD void by_log_mean(P d, P excess, LikelihoodTerm<P>& t) const {
    t.value = P(alpha) * (d - excess) + P(constant - log_y);
    t.slope = P(alpha) * excess;
    t.curvature = P(-alpha) * (P(1.0) + excess);
    t.by[0] = d - excess + P(by_alpha);
  }
};

// Negative binomial with the mean lambda = exp(f), or softplus(f), and the variance lambda + alpha lambda^2.
template <class R, class Link>
struct NegativeBinomialLikelihood {
  static constexpr bool kClosed = false;
  static constexpr bool kLanes = true;
  static constexpr int kParameters = 1;
  R y, alpha, r, log_alpha, constant, by_r;
  LVM_HD NegativeBinomialLikelihood(const LikelihoodTask<R>& task, R y_, const R*)
      : y(y_), alpha(task.constants[0]), r(R(1) / alpha), log_alpha(task.constants[1]) {
    constant = log_rising(r, y, by_r) - log_gamma(y + R(1));
  }
  LVM_HD R scale() const { return R(1); }
  template <class P>
  LVM_HD void at(P f, LikelihoodTerm<P>& t) const {
    P slope, curvature;
    const P eta = Link::log_mean(f, slope, curvature), z = eta + P(log_alpha), e = exp_(P(0.0) - abs_(z));
    const P zero = P(0.0), one = P(1.0), inverse = one / (one + e);
    const P p = inverse * if_less_(z, zero, e, one), q = inverse * if_less_(z, zero, one, e);
    const P l = log1p_(e) + max_(z, zero);  // log(1 + alpha lambda)
    t.value = P(y) * (eta - l) - P(r) * l + P(constant);
    t.slope = P(y) * q - P(r) * p;
    t.curvature = P(-y - r) * p * q;
    // By r = 1 / alpha, times -r^2. log(1 + u) - u / (1 + u) with u = alpha lambda, where it would cancel.
    const P rest = if_less_(z, P(-1.0), log1p_minus(e) + e * p, l - p);
    t.by[0] = P(r * r) * (rest - P(by_r)) - P(r * y) * p;
    chain_link(slope, curvature, t);
  }
  LVM_HD LikelihoodMoments<R> moments(R f) const {
    R slope, curvature;
    const R mean = exp_(Link::log_mean(f, slope, curvature));
    return {mean, mean + alpha * mean * mean};
  }
  LVM_HD LikelihoodMoments<R> predictive(R m, R v) const {
    const R mean = exp_(m + R(0.5) * v);
    return {mean, mean + mean * mean * (expm1_(v) + alpha * exp_(v))};
  }
};

// p(y = k) = Phi(b_k - f) - Phi(b_{k-1} - f) for k = 0, 1, ...; constants: the cut points b_0 < b_1 < ..., and beyond them
// minus and plus infinity. `by` is by the cut points above and below.
template <class R>
struct OrdinalLikelihood {
  static constexpr bool kClosed = false;
  static constexpr bool kLanes = false;
  static constexpr int kParameters = 2;
  R low, high;
  LVM_HD OrdinalLikelihood(const LikelihoodTask<R>& task, R y, const R*) {
    const auto k = static_cast<int64_t>(y);
    low = k > 0 ? task.constants[k - 1] : R(-INFINITY);
    high = k < task.parameters ? task.constants[k] : R(INFINITY);
  }
  LVM_HD R scale() const {
    const R width = high - low;
    return width < R(1) ? width : R(1);
  }
  LVM_HD void at(R f, LikelihoodTerm<R>& t) const { within(low - f, high - f, t); }

  // log(Phi(b) - Phi(a)), with derivatives by f where both fall with f; a < b.
  LVM_HD static void within(R a, R b, LikelihoodTerm<R>& t) {
    const bool turn = a > -b;  // the interval's middle is above 0: Phi(-a) - Phi(-b)
    const R from = turn ? -b : a, to = turn ? -a : b;
    R up, down, slope;
    const R width = to - from;
    if (from == R(-INFINITY)) {
      t.value = log_normal_cdf(to, up);
      down = R(0);
      slope = -up;
      t.curvature = -up * (to + up);
    } else if (width * (R(1) + (to < R(0) ? -to : to)) < R(1e-3)) {  // narrow: phi's Taylor series about the middle
      const R c = R(0.5) * (from + to), w2 = width * width, factor = R(1) + (c * c - R(1)) * w2 * R(1.0 / 24);
      t.value = R(-0.5) * c * c - R(kLogRoot2Pi) + log_(width) + log_(factor);
      up = exp_(R(-0.25) * width * (c + to)) / (width * factor);
      down = exp_(R(0.25) * width * (c + from)) / (width * factor);
      slope = c - c * w2 * R(1.0 / 12);
      t.curvature = R(-1) + w2 * R(1.0 / 12);
    } else {
      if (to > R(0)) {
        R above, below;
        const R p = normal_cdf(to, above) - normal_cdf(from, below);
        t.value = log_(p);
        up = above / p;
        down = below / p;
      } else {  // over phi(to); phi(from) / phi(to) = q <= 1
        const R q = exp_(R(0.5) * width * (from + to));
        const R mass = mills(to) - q * mills(from);
        t.value = R(-0.5) * to * to - R(kLogRoot2Pi) + log_(mass);
        up = R(1) / mass;
        down = q * up;
      }
      slope = down - up;
      t.curvature = from * down - to * up - slope * slope;
    }
    t.slope = turn ? -slope : slope;
    t.by[0] = turn ? down : up;
    t.by[1] = turn ? -up : -down;
  }

 private:
  // Phi(z) / phi(z) for z <= 0.
  LVM_HD static R mills(R z) { return R(1.2533141373155002512) * erfcx_positive(R(-0.70710678118654752440) * z); }
};

// f(likelihood of one point); own: what else is known of the point, or null.
template <class R, class F>
LVM_HD void with_likelihood(const LikelihoodTask<R>& task, R y, const R* own, const F& f) {
  switch (task.kind) {
    case LikelihoodKind::gaussian: return f(GaussianLikelihood<R>(task, y, own));
    case LikelihoodKind::bernoulli_logit: return f(BernoulliLogit<R>(task, y, own));
    case LikelihoodKind::bernoulli_probit: return f(BernoulliProbit<R>(task, y, own));
    case LikelihoodKind::poisson: return f(PoissonLikelihood<R, ExpLink>(task, y, own));
    case LikelihoodKind::poisson_softplus: return f(PoissonLikelihood<R, SoftplusLink>(task, y, own));
    case LikelihoodKind::student_t: return f(StudentTLikelihood<R>(task, y, own));
    case LikelihoodKind::beta: return f(BetaLikelihood<R>(task, y, own));
    case LikelihoodKind::gamma: return f(GammaLikelihood<R, ExpLink>(task, y, own));
    case LikelihoodKind::gamma_softplus: return f(GammaLikelihood<R, SoftplusLink>(task, y, own));
    case LikelihoodKind::negative_binomial: return f(NegativeBinomialLikelihood<R, ExpLink>(task, y, own));
    case LikelihoodKind::negative_binomial_softplus: return f(NegativeBinomialLikelihood<R, SoftplusLink>(task, y, own));
    default: return f(OrdinalLikelihood<R>(task, y, own));
  }
}

}  // namespace lvm

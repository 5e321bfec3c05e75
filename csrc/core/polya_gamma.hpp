// Polya-gamma draws: X ~ PG(b, z), E exp(-s X) = cosh(z/2)^b / cosh(sqrt(z^2/4 + s/2))^b, for every b > 0 and z.
//
// N. G. Polson, J. G. Scott, J. Windle, Bayesian inference for logistic models using Polya-Gamma latent variables
// (JASA 108, 2013). How a draw is made depends on b and z alone:
//
//   whole numbers    b below 12: a sum of PG(1, z), each from strips under its density (Strips), exact
//   remainders       b below 1, or b exp(-|z|) small: an inverse Gaussian proposal, accepted with Phi_b, exact
//   saddle point     b from 12 on: rejection from tangents to the density's expansion to second order
//   normal           b from 1e6 on, corrected for skewness
//
// Draw i of a seed takes blocks philox_at(seed, i, attempt, stream), the stream saying which part of the sum it is.
#pragma once

#include "core/draws.hpp"
#include "core/polya_gamma_tables.hpp"

namespace lvm {

constexpr double kInverseGaussianMost = 0.3;  // b exp(-|z|) up to which the proposal is taken as it is
constexpr double kSaddlePointFrom = 12;       // b
constexpr double kMostStripTerms = 3;         // b: as few whole terms are worth more,
constexpr double kInverseGaussianFew = 0.1;   // and take a proposal from here on; b = 1 where the strips end
constexpr double kNormalFrom = 1e6;           // b

constexpr double kProposalMost = 8.81;        // Phi_b is below 2^-54 beyond, for b <= 1

// Streams of Philox: those of csrc/core/draws.hpp lie below.
constexpr uint32_t kStripStream = 4, kProposalStream = 5, kSaddleStream = 6, kPolyaNormalStream = 7;
LVM_HD uint32_t strip_stream(int term) { return kStripStream + (uint32_t(term) << 8); }

// Phi_b(x) = sum_n (-1)^n C(n + b - 1, n) (2n + b)/b exp(-(n^2 + n b) / (2x)): the density of PG(b, z) is that of the
// inverse Gaussian distribution of mean b / (2|z|) and shape b^2/4 times (1 + exp(-|z|))^b Phi_b, and Phi_b <= 1.
//
// Whether Phi_b(x) is above v in (0, 1): its error is that of sums of a few terms of the size of 1, or where
// b exp(-|z|) is small of terms that fall fast.
LVM_HD bool remainder_accepts(double b, double x, double v) {
  const double step = exp_(-0.5 / x), power = exp_(-0.5 * (b / x));
  const double first = (2.0 + b) * step * power;  // the term n = 1
  if (v <= 1.0 - first) return true;              // the terms that follow make it larger
  if (b <= 1.0 && x > kProposalMost) return false;
  double sum = 1.0 - first, sign = 1.0, choose = b * step * power, odd = step;  // C q^(n^2 + n b), q^(2n - 1)
  const double square = step * step;
  for (int n = 2; n < 200; ++n) {
    odd *= square;
    choose *= (n - 1 + b) / n * odd * power;
    const double term = choose * (2 * n + b) / b;
    sum += sign * term;
    sign = -sign;
    if (term < 1e-17) break;
  }
  return v <= sum;
}

// A proposal of the inverse Gaussian distribution, mean b / (2z) and shape b^2/4, z >= 0, from chi-square = nu^2 with
// one degree of freedom and a uniform u: the two roots of Michael, Schucany and Haas (Am. Stat. 30, 1976), written so
// that nothing cancels and z = 0 is a case like others.
template <class P>
LVM_HD void inverse_gaussian_roots(P b, P z, P chi_square, P& small, P& ratio) {
  const P a = chi_square / b;
  const P below = z + a + sqrt_(a + a) * sqrt_(z + P(0.5) * a);
  small = P(0.5) * b / below;
  ratio = z / below;  // of the small root to the mean; the large root is small / ratio^2
}

// nu^2 from two uniforms, as csrc/core/draws.hpp makes nu.
LVM_HD double chi_square_of(double u0, double u1) {
  double sine, cosine;
  sincospi_(u1, sine, cosine);
  return -2.0 * log_(u0) * cosine * cosine;
}

// PG(b, z) by rejection from the inverse Gaussian distribution; accepted with probability (1 + exp(-z))^-b, z >= 0.
LVM_HD double polya_gamma_remainder(double b, double z, uint64_t seed, uint64_t element, uint32_t attempt = 0) {
  for (;; ++attempt) {
    const PhiloxWords p = philox_at(seed, element, 2 * attempt, kProposalStream);
    const PhiloxWords a = philox_at(seed, element, 2 * attempt + 1, kProposalStream);
    double small, ratio;
    inverse_gaussian_roots(b, z, chi_square_of(unit_of_words(p.w[0], p.w[1]), unit_of_words(p.w[2], p.w[3])), small,
                           ratio);
    const bool is_small = unit_of_words(a.w[0], a.w[1]) * (1.0 + ratio) <= 1.0;
    const double x = is_small ? small : small / (ratio * ratio);
    if (remainder_accepts(b, x, unit_of_words(a.w[2], a.w[3]))) return x;
  }
}

// PG(1, z), |z| < kStripTilts / kTiltsPerUnit: a point under the strips of the next lower tilt, accepted under the
// density, of which both ends of a strip are bounds.
LVM_HD double polya_gamma_strips(const PolyaGammaTables& tables, double z, uint64_t seed, uint64_t element, int term,
                                 uint32_t attempt = 0) {
  const int tilt = int(z * kTiltsPerUnit);
  const double at = double(tilt) / kTiltsPerUnit, further = 0.5 * (z - at) * (z + at);
  for (;; ++attempt) {
    const PhiloxWords w = philox_at(seed, element, attempt, strip_stream(term));
    const double u = unit_of_words(w.w[0], w.w[1]), v = unit_of_words(w.w[2], w.w[3]);
    const int index = int(w.w[0] & (kStrips - 1));
    const Strip& strip = tables.strips[tilt][index];
    if (strip.width > 0.0) {
      const double x = strip.left + strip.width * u, lost = further * x;
      if (v <= strip.ratio * (1.0 - lost)) return x;
      if (v > 1.0 - lost + 0.5 * lost * lost) continue;
      if (v * strip.top <= polya_gamma_density(x) * exp_(-0.5 * z * z * x)) return x;
    } else {  // the tail: an exponential tangent
      const double x = strip.left + strip.width * log_(u);
      if (v * u * strip.top <= polya_gamma_density(x) * exp_(-0.5 * z * z * x)) return x;
    }
  }
}

// log of the density of PG(b, z) / b at y, up to a constant, from the saddle-point expansion
//   f ~ sqrt(b / (2 pi k''(t))) exp(b (k(t) - t y) + c1/b + c2/b^2),  k'(t) = y,  k(t) = -log cos sqrt(t/2)
// (H. E. Daniels, Ann. Math. Stat. 25, 1954). P is double or a pack, Cells finds the cell of a y.
template <class P>
struct SaddlePoint {
  P b, drift, inverse;  // drift = b z^2 / 2, inverse = 1 / b

  SaddlePoint() = default;
  LVM_HD SaddlePoint(P b, P z) : b(b), drift(P(0.5) * z * z * b), inverse(P(1.0) / b) {}

  template <class Cells>
  LVM_HD P value(const Cells& cells, P y) const {
    P slope, curvature;
    return evaluate<false>(cells, y, slope, curvature);
  }
  // And its first two derivatives.
  template <class Cells>
  LVM_HD P jet(const Cells& cells, P y, P& slope, P& curvature) const {
    return evaluate<true>(cells, y, slope, curvature);
  }

 private:
  template <bool kJet, class Cells>
  LVM_HD P evaluate(const Cells& cells, P y, P& slope, P& curvature) const {
    const auto c = cells(y);
    const P r = (y - P(c[kCentre])) * P(c[kScale]);
    P p(0.0), dp(0.0), ddp(0.0);  // Horner's rule for a polynomial and its derivatives
    for (int j = kExponentTerms - 1; j >= 0; --j) {
      P q = b * P(c[kExponent + j]);
      if (j < kFactorTerms) q = q + P(c[kFactor + j]);
      if (j < kSecondTerms) {
        q = q + inverse * (P(c[kFirst + j]) + inverse * P(c[kSecond + j]));
      } else if (j < kFirstTerms) {
        q = q + inverse * P(c[kFirst + j]);
      }
      if (kJet) {
        ddp = ddp * r + dp;
        dp = dp * r + p;
      }
      p = p * r + q;
    }
    slope = dp * P(c[kScale]) - drift;
    curvature = P(2.0) * ddp * P(c[kScale]) * P(c[kScale]);
    return p - drift * y;
  }
};

// The envelope of exp(log density): the highest value in the middle, and tangents on both sides, each sqrt(2) standard
// deviations away. The density is log-concave; about 0.88 of the draws are accepted.
template <class P>
struct SaddleEnvelope {
  SaddlePoint<P> point;
  P most;                   // log of the height of the middle
  P left, width;            // the middle
  P left_tail, right_tail;  // areas of the tails: exp(-distance / area)

  SaddleEnvelope() = default;
  template <class Cells>
  LVM_HD SaddleEnvelope(const Cells& cells, P b, P z) : point(b, z) {
    // tanh(z/2) / (2z), nearly: Newton's step leads from it nearly to the mode
    const P e = exp_(P(0.0) - z), square = z * z;
    const P mean = if_less_(z, P(0.25), P(0.25) - square * (P(1.0 / 48) - square * P(1.0 / 480)),
                            (P(1.0) - e) / ((P(1.0) + e) * max_(z + z, P(0.5))));
    P slope, curvature;
    point.jet(cells, mean, slope, curvature);
    const P mode = mean - slope / curvature;
    const P top = point.jet(cells, mode, slope, curvature);
    const P away = sqrt_(P(-2.0) / curvature), low = mode - away, high = mode + away;
    most = top - P(2.0) * slope * slope / curvature;  // no lower than at the mode itself
    const P at_low = point.jet(cells, low, slope, curvature);
    left_tail = P(1.0) / slope;
    const P at_high = point.jet(cells, high, slope, curvature);
    right_tail = P(-1.0) / slope;
    left = low + (most - at_low) * left_tail;
    width = high - (most - at_high) * right_tail - left;
  }

  // The point y under the envelope that u gives, and the log of the envelope there.
  LVM_HD P propose(P u, P& height) const {
    const P along = u * (width + left_tail + right_tail), beyond = along - width;
    const P tail = if_less_(beyond, left_tail, beyond / left_tail, (beyond - left_tail) / right_tail);
    const P fall = log_(if_less_(along, width, P(1.0), max_(tail, P(1e-300))));
    height = most + fall;
    const P outside = if_less_(beyond, left_tail, left + left_tail * fall, left + width - right_tail * fall);
    return if_less_(along, width, left + along, outside);
  }
};

struct SaddleCells {
  const PolyaGammaTables& tables;
  LVM_HD const double* operator()(double y) const { return tables.saddle[saddle_cell(y)]; }
};

LVM_HD double polya_gamma_saddle(const PolyaGammaTables& tables, double b, double z, uint64_t seed, uint64_t element) {
  const SaddleCells cells = {tables};
  const SaddleEnvelope<double> envelope(cells, b, z);
  for (uint32_t attempt = 0;; ++attempt) {
    const PhiloxWords w = philox_at(seed, element, attempt, kSaddleStream);
    double height;
    const double y = envelope.propose(unit_of_words(w.w[0], w.w[1]), height);
    if (!(y >= kSaddleLeast && y < kSaddleMost)) continue;  // less than exp(-70) of the mass
    if (log_(unit_of_words(w.w[2], w.w[3])) + height <= envelope.point.value(cells, y)) return b * y;
  }
}

// mean + deviation (nu + skewness (nu^2 - 1)/6), the Cornish-Fisher expansion; its error is of order 1/b.
LVM_HD double polya_gamma_normal(double b, double z, uint64_t seed, uint64_t element) {
  const PhiloxWords w = philox_at(seed, element, 0, kPolyaNormalStream);
  double nu, other;
  normal_pair(unit_of_words(w.w[0], w.w[1]), unit_of_words(w.w[2], w.w[3]), nu, other);
  const UnitCumulants k = polya_gamma_unit_cumulants(z);
  const double root = sqrt_(b);
  return b * (k.mean + sqrt_(k.variance) / root * nu) + k.third / k.variance * (nu * nu - 1.0) / 6.0;
}

// How the draws of one b are made.
struct PolyaGammaPlan {
  double b = 0, rest = 0;        // b = terms + rest
  double proposal_from = 0;      // the |z| from which on a proposal is taken for the whole of b
  int terms = 0;
  bool saddle = false, normal = false;  // what is done below that z, if not strips and a proposal for the rest

  PolyaGammaPlan() = default;
  LVM_HD explicit PolyaGammaPlan(double b) : b(b) {
    if (b >= kSaddlePointFrom) {
      saddle = b < kNormalFrom;
      normal = !saddle;
      proposal_from = log_(b * (1.0 / kInverseGaussianMost));
      return;
    }
    terms = int(b);
    rest = b - terms;
    if (terms == 0) return;
    const bool few = rest == 0.0 && b <= kMostStripTerms;
    proposal_from = b == 1.0 ? double(kStripTilts) / kTiltsPerUnit
                             : log_(b * (1.0 / (few ? kInverseGaussianFew : kInverseGaussianMost)));
  }
};

// Draw element of a seed.
LVM_HD double polya_gamma_draw(const PolyaGammaTables& tables, double b, double z, uint64_t seed, uint64_t element) {
  z = z < 0 ? -z : z;
  const PolyaGammaPlan plan(b);
  if (z >= plan.proposal_from) return polya_gamma_remainder(b, z, seed, element);
  if (plan.saddle) return polya_gamma_saddle(tables, b, z, seed, element);
  if (plan.normal) return polya_gamma_normal(b, z, seed, element);
  double x = plan.rest > 0.0 ? polya_gamma_remainder(plan.rest, z, seed, element) : 0.0;
  for (int term = 0; term < plan.terms; ++term) x += polya_gamma_strips(tables, z, seed, element, term);
  return x;
}

}  // namespace lvm

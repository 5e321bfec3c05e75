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

constexpr double kInverseGaussianMost = 0.4;  // b exp(-|z|) up to which the proposal is taken as it is
constexpr double kSaddlePointFrom = 12;       // b
constexpr double kNormalFrom = 1e6;           // b

// Streams of Philox: those of csrc/core/draws.hpp lie below.
constexpr uint32_t kStripStream = 4, kProposalStream = 5, kSaddleStream = 6, kPolyaNormalStream = 7;
LVM_HD uint32_t strip_stream(int term) { return kStripStream + (uint32_t(term) << 8); }

// Phi_b(x) = sum_n (-1)^n C(n + b - 1, n) (2n + b)/b exp(-(n^2 + n b) / (2x)): the density of PG(b, z) is that of the
// inverse Gaussian distribution of mean b / (2|z|) and shape b^2/4 times (1 + exp(-|z|))^b Phi_b, and Phi_b <= 1.
//
// Whether Phi_b(x) is above v in (0, 1): its error is that of sums of a few terms of the size of 1, or where
// b exp(-|z|) is small of terms that fall fast.
LVM_HD bool remainder_accepts(double b, double x, double v) {
  const double step = exp_(-0.5 / x), power = exp_(-0.5 * b / x);
  const double first = (2.0 + b) * step * power;  // the term n = 1
  if (v <= 1.0 - first) return true;              // the terms that follow make it larger
  if (b <= 1.0 && x > 8.81) return false;         // below 2^-54
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
  const P below = z + a + sqrt_(a * (z + z + a));
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
LVM_HD double polya_gamma_remainder(double b, double z, uint64_t seed, uint64_t element) {
  for (uint32_t attempt = 0;; attempt += 2) {
    const PhiloxWords p = philox_at(seed, element, attempt, kProposalStream);
    const PhiloxWords a = philox_at(seed, element, attempt + 1, kProposalStream);
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
LVM_HD double polya_gamma_strips(const PolyaGammaTables& tables, double z, uint64_t seed, uint64_t element, int term) {
  const int tilt = int(z * kTiltsPerUnit);
  const double at = double(tilt) / kTiltsPerUnit, further = 0.5 * (z - at) * (z + at);
  for (uint32_t attempt = 0;; ++attempt) {
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
// (H. E. Daniels, Ann. Math. Stat. 25, 1954), and its first two derivatives.
struct SaddleValue {
  double value, slope, curvature;
};

struct SaddlePoint {
  double b = 0, drift = 0;  // drift = b z^2 / 2

  LVM_HD double at(const PolyaGammaTables& tables, double y) const {
    const SaddleCell& c = tables.saddle[saddle_cell(y)];
    const double r = (y - c.centre) * c.scale;
    double a = c.exponent[kExponentTerms - 1], l = c.factor[kFactorTerms - 1];
    for (int j = kExponentTerms - 2; j >= 0; --j) a = a * r + c.exponent[j];
    for (int j = kFactorTerms - 2; j >= 0; --j) l = l * r + c.factor[j];
    const double c1 = ((c.first[3] * r + c.first[2]) * r + c.first[1]) * r + c.first[0];
    const double c2 = (c.second[2] * r + c.second[1]) * r + c.second[0];
    return (b * a - drift * y) + (l + (c1 + c2 / b) / b);
  }

  LVM_HD SaddleValue jet(const PolyaGammaTables& tables, double y) const {
    const SaddleCell& c = tables.saddle[saddle_cell(y)];
    const double r = (y - c.centre) * c.scale;
    double p = 0, dp = 0, ddp = 0;  // Horner's rule for a polynomial and its derivatives
    for (int j = kExponentTerms - 1; j >= 0; --j) {
      double q = b * c.exponent[j];
      if (j < kFactorTerms) q += c.factor[j];
      if (j < 4) q += c.first[j] / b;
      if (j < 3) q += c.second[j] / (b * b);
      ddp = ddp * r + dp;
      dp = dp * r + p;
      p = p * r + q;
    }
    return {p - drift * y, dp * c.scale - drift, 2.0 * ddp * c.scale * c.scale};
  }
};

// The envelope of exp(log density): the highest value in the middle, and tangents on both sides, each sqrt(2) standard
// deviations away. The density is log-concave; about 0.88 of the draws are accepted.
struct SaddleEnvelope {
  SaddlePoint point;
  double most = 0;                       // log of the height of the middle
  double left = 0, width = 0;            // the middle
  double left_tail = 0, right_tail = 0;  // areas of the tails: exp(-distance / area)

  SaddleEnvelope() = default;
  LVM_HD SaddleEnvelope(const PolyaGammaTables& tables, double b, double z) {
    point.b = b;
    point.drift = 0.5 * z * z * b;
    const double mean = polya_gamma_unit_mean(z);
    const SaddleValue m = point.jet(tables, mean);
    const double mode = mean - m.slope / m.curvature;
    const SaddleValue t = point.jet(tables, mode);
    const double away = sqrt_(-2.0 / t.curvature);
    const SaddleValue l = point.jet(tables, mode - away), r = point.jet(tables, mode + away);
    most = t.value - 2.0 * t.slope * t.slope / t.curvature;  // the Newton step is not quite at the mode
    left_tail = 1.0 / l.slope;
    right_tail = -1.0 / r.slope;
    left = mode - away + (most - l.value) * left_tail;
    width = mode + away - (most - r.value) * right_tail - left;
  }

  LVM_HD double draw(const PolyaGammaTables& tables, uint64_t seed, uint64_t element) const {
    for (uint32_t attempt = 0;; ++attempt) {
      const PhiloxWords w = philox_at(seed, element, attempt, kSaddleStream);
      const double v = unit_of_words(w.w[2], w.w[3]);
      double y = unit_of_words(w.w[0], w.w[1]) * (width + left_tail + right_tail), height = most;
      if (y < width) {
        y += left;
      } else if (y < width + left_tail) {
        const double fall = log_((y - width) / left_tail);
        y = left + left_tail * fall;
        height += fall;
      } else {
        const double fall = log_((y - width - left_tail) / right_tail);
        y = left + width - right_tail * fall;
        height += fall;
      }
      if (!(y >= kSaddleLeast && y < kSaddleMost)) continue;  // less than exp(-70) of the mass
      if (log_(v) + height <= point.at(tables, y)) return point.b * y;
    }
  }
};

// mean + deviation (nu + skewness (nu^2 - 1)/6), the Cornish-Fisher expansion; its error is of order 1/b.
LVM_HD double polya_gamma_normal(double b, double z, uint64_t seed, uint64_t element) {
  const PhiloxWords w = philox_at(seed, element, 0, kPolyaNormalStream);
  double nu, other;
  normal_pair(unit_of_words(w.w[0], w.w[1]), unit_of_words(w.w[2], w.w[3]), nu, other);
  const UnitCumulants k = polya_gamma_unit_cumulants(z);
  const double root = sqrt_(b);
  return b * (k.mean + sqrt_(k.variance) / root * nu) + k.third / k.variance * (nu * nu - 1.0) / 6.0;
}

// Which of the ways a draw is made.
enum class PolyaGammaWay : int { strips, proposal, saddle, normal };

LVM_HD PolyaGammaWay polya_gamma_way(double b, double z) {  // z >= 0
  const bool within = z < double(kStripTilts) / kTiltsPerUnit;
  if (b == 1.0) return within ? PolyaGammaWay::strips : PolyaGammaWay::proposal;
  if (b < 1.0) return PolyaGammaWay::proposal;
  const bool few = within && b <= 6.0 && double(int(b)) == b;  // strips are faster
  if (!few && b * exp_(-z) <= kInverseGaussianMost) return PolyaGammaWay::proposal;
  if (b < kSaddlePointFrom) return PolyaGammaWay::strips;
  return b < kNormalFrom ? PolyaGammaWay::saddle : PolyaGammaWay::normal;
}

// Draw element of a seed.
LVM_HD double polya_gamma_draw(const PolyaGammaTables& tables, double b, double z, uint64_t seed, uint64_t element) {
  z = z < 0 ? -z : z;
  switch (polya_gamma_way(b, z)) {
    case PolyaGammaWay::proposal: return polya_gamma_remainder(b, z, seed, element);
    case PolyaGammaWay::saddle: return SaddleEnvelope(tables, b, z).draw(tables, seed, element);
    case PolyaGammaWay::normal: return polya_gamma_normal(b, z, seed, element);
    default: break;
  }
  const int terms = int(b);
  const double rest = b - terms;
  double x = rest > 0.0 ? polya_gamma_remainder(rest, z, seed, element) : 0.0;
  for (int term = 0; term < terms; ++term) x += polya_gamma_strips(tables, z, seed, element, term);
  return x;
}

}  // namespace lvm

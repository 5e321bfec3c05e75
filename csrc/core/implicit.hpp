// Losses of a generator x = G(z) by s(x) = log r(x), r = q / p, q the law of the data and p that of G(z), term by term.
//
// The slope of D_f(p || q) = E_q f(p / q) by what G depends on is that of E_z f'(u(G(z))), u = p / q = exp(-s) held as it is:
//   power: f'' = factor u^(alpha - 2), f' = factor (u^(alpha - 1) - 1) / (alpha - 1), log u for alpha = 1, KL(p | q);
//   saturating: factor log(u / (1 + u)) = factor log(1 - D), D = 1 / (1 + exp(-s)); f = u log u - (u + 1) log(u + 1) times
//     the factor, D_f = 2 JS - log 4 for 1;
//   gan: factor log(1 + u) = -factor log D, D_f = KL(p | q) - 2 JS + log 4 for 1.
//
// Nowozin, Cseke & Tomioka (2016), table 1; Goodfellow et al. (2014), section 3; Mohamed & Lakshminarayanan (2016).
#pragma once

#include "core/ratio_loss.hpp"
#include "core/step_numbers.hpp"

namespace lvm {

enum class GeneratorLoss : int64_t { power, saturating, gan };

struct GeneratorLossShape {
  GeneratorLoss kind;
  double alpha, factor;
};

template <class P>
LVM_HD P generator_term(GeneratorLossShape loss, P s, P& slope) {
  const RatioLossShape logistic{RatioLoss::logistic, 1, 1}, power{RatioLoss::power, loss.alpha, loss.factor};
  if (loss.kind == GeneratorLoss::power) return P(0.0) - ratio_term(power, true, P(0.0) - s, slope);
  const bool gan = loss.kind == GeneratorLoss::gan;
  const P value = ratio_term(logistic, gan, s, slope), factor = P(gan ? loss.factor : -loss.factor);
  slope = factor * slope;
  return factor * value;
}

// Numbers of a step in memory: its place, the generator's rate, the noise on rows, rates of the ratio's updates.
enum ImplicitNumber : int64_t { kStepPlace, kGeneratorRate, kInstanceNoise, kRatioRates };

// Noise on what the ratio network sees.
template <class T>
struct AddInstanceNoise {
  const T *x, *eps;
  T* seen;
  const double* scale;
  LVM_HD void operator()(int64_t i) const { seen[i] = x[i] + T(*scale) * eps[i]; }
};


// Terms of row i of n: of the ratio's loss, x_i and a generated row together, and of the generator's. s: first the generated
// rows, then the data's.
template <class T>
struct ImplicitTerms {
  const T* s;
  double* terms;
  RatioLossShape loss;
  GeneratorLossShape objective;
  int64_t rows;
  LVM_HD void operator()(int64_t i) const {
    double slope;
    const double made = static_cast<double>(s[i]);
    terms[2 * i] = ratio_term(loss, false, made, slope) + ratio_term(loss, true, static_cast<double>(s[rows + i]), slope);
    terms[2 * i + 1] = generator_term(objective, made, slope);
  }
};
struct ImplicitTermOf {
  const double* terms;
  int64_t first;
  LVM_HD double operator()(int64_t w, int64_t i) const { return terms[2 * i + first + w]; }
};

template <class T>
struct ImplicitRatioSlope {
  const T* s;
  T* d;
  RatioLossShape loss;
  int64_t rows;
  LVM_HD void operator()(int64_t r) const {
    double slope;
    ratio_term(loss, r >= rows, static_cast<double>(s[r]), slope);
    d[r] = T(slope / static_cast<double>(rows));
  }
};
// The term of row i, and its slope.
template <class T>
struct GeneratorSlope {
  const T* s;
  double* terms;  // (rows, 2), the second place
  T* d;
  GeneratorLossShape objective;
  int64_t rows;
  LVM_HD void operator()(int64_t i) const {
    double slope;
    terms[2 * i + 1] = generator_term(objective, static_cast<double>(s[i]), slope);
    d[i] = T(slope / static_cast<double>(rows));
  }
};

// The means of a step's two losses and the norms of its gradients to its place, NaN where nothing changes any more; the scale
// of the generator's gradient.
struct FinishImplicitStep {
  const double *numbers, *sums;  // ratio's loss, its norm^2, generator's loss, its norm^2
  double *out, *scale;
  double rows, most;
  LVM_HD void operator()(int64_t) const {
    double* to = out + 4 * static_cast<int64_t>(numbers[kStepPlace]);
    const bool lost = *scale < 0;
    const double none = sqrt_(-1.0);
    to[0] = lost ? none : sums[0] / rows;
    to[1] = lost ? none : sums[2] / rows;
    to[2] = lost ? none : sqrt_(sums[1]);
    to[3] = lost ? none : sqrt_(sums[3]);
    FinishGradient{to + 1, sums + 3, scale, most}(0);
  }
};

}  // namespace lvm

// Losses by which s(x) = log r(x), r = p / q, is learned from points of p and of q, term by term with their slopes.
//
//   logistic: softplus(-s) for points of p, softplus(s) for points of q: the cross-entropy of a classifier with logit s.
//   power: minus the variational bound E_p f'(r) - E_q f*(f'(r)) of an f-divergence with f''(u) = factor u^(alpha - 2):
//     -factor (r^(alpha - 1) - 1) / (alpha - 1) for points of p, factor (r^alpha - 1) / alpha for points of q
//     (log r where the exponent is 0). alpha = 1: KL(p | q), 0: KL(q | p), 2: Pearson, -1: Neyman, 1/2: Hellinger.
//
// f(1) = f'(1) = 0 here. Nguyen, Wainwright & Jordan (2010), eq. 9; Amari (2009), "alpha-divergence is unique".
#pragma once

#include "core/activation.hpp"
#include "core/config.hpp"

namespace lvm {

enum class RatioLoss : int64_t { logistic, power };

struct RatioLossShape {
  RatioLoss kind;
  double alpha, factor;
};

// exp(x) - 1, without cancellation at 0.
template <class P>
LVM_HD P expm1_near(P x) {
  const P half = P(0.5) * x;
  P n, d;
  tanh_parts(half, n, d);
  n = half * n;  // exp(x) - 1 = 2 tanh(x / 2) / (1 - tanh(x / 2))
  return if_less_(abs_(x), P(1.0), (n + n) / (d - n), exp_(x) - P(1.0));
}

// The term of a point of p (of_p) or of q, and its slope by s.
template <class P>
LVM_HD P ratio_term(RatioLossShape loss, bool of_p, P s, P& slope) {
  if (loss.kind == RatioLoss::logistic) {
    const P t = of_p ? P(0.0) - s : s, e = exp_(P(0.0) - abs_(t));
    const P up = if_less_(t, P(0.0), e, P(1.0)) / (P(1.0) + e);
    slope = of_p ? P(0.0) - up : up;
    return max_(t, P(0.0)) + log1p_(e);
  }
  const double a = of_p ? loss.alpha - 1 : loss.alpha, factor = of_p ? -loss.factor : loss.factor;
  if (a == 0) {
    slope = P(factor);
    return P(factor) * s;
  }
  slope = P(factor) * exp_(P(a) * s);
  return P(factor / a) * expm1_near(P(a) * s);
}

}  // namespace lvm

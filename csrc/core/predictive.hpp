// log E p(y | f), f ~ N(m, v), for densities that may be far narrower or wider than N(m, v): by the trapezoidal rule, whose
// error falls exponentially for analytic integrands.
//
// L. Trefethen, J. Weideman (2014), "The exponentially convergent trapezoidal rule", SIAM Review 56, sec. 5.
#pragma once

#include "core/likelihood.hpp"

namespace lvm {

// Adds exp(term) to exp(most) sum; false where the term is too small to count, or not a number.
template <class R>
LVM_HD bool add_exponential(R term, R& most, R& sum) {
  if (!(term > most - R(45))) return false;
  if (term > most) {
    sum = sum * exp_(most - term) + R(1);
    most = term;
  } else {
    sum += exp_(term - most);
  }
  return true;
}

// psi(x) = log p(y | m + s x) - x^2 / 2, its slope, and minus its curvature, at least 1.
template <class R, class L>
struct TiltedNormal {
  const L& likelihood;
  R m, s, slope, bend;
  LVM_HD R operator()(R x) {
    LikelihoodTerm<R> t{};
    likelihood.at(m + s * x, t);
    slope = s * t.slope - x;
    bend = max_(R(1) - s * s * t.curvature, R(1));
    return t.value - R(0.5) * x * x;
  }
};

// log of the integral of exp(psi(x)) / sqrt(2 pi), s = sqrt(v), from the mode of psi to both sides. x, n: coarse nodes, from
// the best of which Newton's steps start. The likelihood bends over a length of 1 or, as its curvature at the mode says, less.
template <class R, class L>
LVM_HD R predictive_from_mode(const L& likelihood, R m, R v, const R* x, int64_t n) {
  TiltedNormal<R, L> psi = {likelihood, m, sqrt_(v), R(0), R(1)};
  R mode = R(0), best = psi(mode), low = -R(INFINITY), high = R(INFINITY);
  for (int64_t j = 0; j < n; ++j) {
    const R value = psi(x[j]);
    if (value > best) {
      best = value;
      mode = x[j];
    }
  }
  R reach = max_(R(1), R(1) / max_(psi.s, R(1e-30)));  // of a step: 1 in x and in f, and ever more
  for (int k = 0; k < 200; ++k, reach *= R(1.5)) {
    psi(mode);
    if (psi.slope > R(0)) {
      low = mode;
    } else {
      high = mode;
    }
    R step = psi.slope / psi.bend;
    if (!(step * step < reach * reach) || psi.slope < -R(1e30)) step = psi.slope > R(0) ? reach : -reach;
    if (step * step * psi.bend < R(1e-4)) break;
    const R following = mode + step;
    mode = following > low && following < high ? following : R(0.5) * (low + high);
  }
  R most = psi(mode), sum = R(1), step = R(0.5) / sqrt_(psi.bend);
  if (step * psi.s > R(0.4)) step = R(0.4) / psi.s;
  for (int side = -1; side <= 1; side += 2) {
    int64_t k = 1;
    while (k < 100000 && add_exponential(psi(mode + static_cast<R>(side * k) * step), most, sum)) ++k;
  }
  return most + log_(sum * step) - R(kLogRoot2Pi);
}

// Student's t is N(f, scale^2 / lambda) with lambda ~ Gamma(nu / 2, nu / 2): over u = log lambda,
//
//   E p(y | f) = c integral exp(nu (u - e^u + 1) / 2) N(y; m, v + scale^2 e^-u) du,  c = (nu / 2)^(nu / 2) e^(-nu / 2) / Gamma(nu / 2).
//
// residual: y - m. All of the range counts, as there may be two modes: an outlier's small lambda, and 1.
template <class R>
LVM_HD R predictive_student(R residual, R v, R scale, R nu) {
  const R half = R(0.5) * nu, square = residual * residual, s2 = scale * scale;
  R step = R(0.7) / sqrt_(nu + R(2));
  if (step > R(0.25)) step = R(0.25);
  const R up = log_(R(1) + R(90) / nu + R(13) / sqrt_(nu));
  R down = log_(s2 / (s2 + v + square)) - R(90) / (nu + R(1)) - R(13) / sqrt_(nu);
  if (down < up - R(8192) * step) down = up - R(8192) * step;
  R most = -R(INFINITY), sum = R(0);
  for (R u = up; u > down; u -= step) {
    const R lambda = exp_(u), variance = v + s2 / lambda;
    add_exponential(half * (u - lambda + R(1)) - R(0.5) * (log_(variance) + square / variance), most, sum);
  }
  // Stirling: c = sqrt(nu / (4 pi)) exp(-tail).
  return most + log_(sum * step) + R(0.5) * log_(half) - R(2 * kLogRoot2Pi) - stirling_tail(half).value;
}

}  // namespace lvm

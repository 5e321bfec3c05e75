// Special functions of likelihoods: the normal distribution's, and those of the gamma function.
#pragma once

#include "core/config.hpp"

namespace lvm {

constexpr double kLogRoot2Pi = 0.91893853320467274178;  // log(2 pi) / 2

LVM_HD float max_(float x, float least) { return x < least ? least : x; }
LVM_HD float if_less_(float a, float b, float yes, float no) { return a < b ? yes : no; }
template <class P>
LVM_HD P abs_(P x) {
  return max_(x, P(0.0) - x);
}

// exp(x^2) erfc(x) for x >= 0, within about 1e-15 of itself; P is a number or a pack.
//
// (1 + 2 x) exp(x^2) erfc(x) is smooth in t = (x - 3) / (x + 3), which maps x >= 0 to [-1, 1): the polynomial of degree 24
// that agrees with it at the Chebyshev nodes (Shepherd and Laframboise 1981, Math. Comp. 36, have the transformation).
template <class P>
LVM_HD P erfcx_positive(P x) {
  const P t = (x - P(3.0)) / (x + P(3.0)), s = t * t;
  P even = P(8.86421901642709202e-10), odd = P(9.88579883113936494e-10);  // two chains, which run side by side
  even = even * s + P(-8.50039792977261535e-9);
  odd = odd * s + P(-1.3326364813003833e-8);
  even = even * s + P(4.1807846988455822e-8);
  odd = odd * s + P(1.01870006000728851e-7);
  even = even * s + P(-1.41600649402659861e-7);
  odd = odd * s + P(-6.16649607760435278e-7);
  even = even * s + P(3.56838391539922046e-7);
  odd = odd * s + P(3.47241460287568603e-6);
  even = even * s + P(-7.31510516415906191e-7);
  odd = odd * s + P(-0.0000201005679312892281);
  even = even * s + P(4.94948499257059517e-6);
  odd = odd * s + P(0.000125099352355631076);
  even = even * s + P(-0.000105159799815011777);
  odd = odd * s + P(-0.000779832272108399125);
  even = even * s + P(0.00188869035915615522);
  odd = odd * s + P(0.00252939181606623916);
  even = even * s + P(-0.023770514918645887);
  odd = odd * s + P(0.068308027343978475);
  even = even * s + P(-0.119273663415306992);
  odd = odd * s + P(0.12964515870276062);
  even = even * s + P(-0.047562294353450872);
  odd = odd * s + P(-0.135621106124581173);
  even = even * s + P(1.25300805826972965);
  return (even + odd * t) / (P(1.0) + (x + x));
}

// E[(Z - c)+] / phi(c) = 1 - c (1 - Phi(c)) / phi(c) of Z ~ N(0, 1) for c >= 0, within about 2e-15 of itself.
//
// The difference cancels as 1 / c^2. (1 + c)^2 times it is smooth in t = (c - 4) / (c + 4), which maps c >= 0 to [-1, 1): the
// polynomial of degree 24 that agrees with it at the Chebyshev nodes.
template <class P>
LVM_HD P normal_excess_ratio(P c) {
  const P t = (c - P(4.0)) / (c + P(4.0)), s = t * t, inverse = P(1.0) / (P(1.0) + c);
  P even = P(-1.6909150764749502e-8), odd = P(-4.56731602828304363e-8);
  even = even * s + P(1.21635788395195315e-7);
  odd = odd * s + P(4.79676058816164775e-7);
  even = even * s + P(-2.77521778139862389e-7);
  odd = odd * s + P(-2.70094976838760585e-6);
  even = even * s + P(-9.43443771362589362e-7);
  odd = odd * s + P(1.14185736689193554e-5);
  even = even * s + P(1.26085704681439788e-5);
  odd = odd * s + P(-4.3372212589708269e-5);
  even = even * s + P(-8.09333331418427817e-5);
  odd = odd * s + P(0.000174433116213525052);
  even = even * s + P(0.000426258127016237871);
  odd = odd * s + P(-0.000882233180354982684);
  even = even * s + P(-0.00193582561401623795);
  odd = odd * s + P(0.00583260975619193508);
  even = even * s + P(0.00467762125619408686);
  odd = odd * s + P(-0.0388910915889551779);
  even = even * s + P(0.0560828933139427882);
  odd = odd * s + P(0.0271176644511792675);
  even = even * s + P(-0.221261506379377575);
  odd = odd * s + P(0.353547276477220895);
  even = even * s + P(-0.172681708346106985);
  odd = odd * s + P(-0.346864438445705233);
  even = even * s + P(1.33476170864393294);
  return (even + odd * t) * inverse * inverse;
}

// log Phi(z), and the ratio phi(z) / Phi(z), to full relative precision in both tails; P is a number or a pack.
template <class P>
LVM_HD P log_normal_cdf(P z, P& ratio) {
  const P e = erfcx_positive(P(0.70710678118654752440) * abs_(z)), half = P(-0.5) * z * z, density = exp_(half);
  const P tail = if_less_(z, P(0.0), P(0.0), P(0.5) * e * density);
  // sqrt(2 / pi) / e below 0, 1 / sqrt(2 pi) above
  ratio = if_less_(z, P(0.0), P(0.79788456080286535588) / e, P(0.39894228040143267794) * density / (P(1.0) - tail));
  return if_less_(z, P(0.0), half + log_(P(0.5) * e), log1p_(P(0.0) - tail));
}

// Phi(z), and phi(z).
template <class R>
LVM_HD R normal_cdf(R z, R& density) {
  const R e = exp_(R(-0.5) * z * z);
  density = R(0.39894228040143267794) * e;
  const R tail = R(0.5) * e * erfcx_positive(R(0.70710678118654752440) * (z < R(0) ? -z : z));
  return z < R(0) ? tail : R(1) - tail;
}

// log(1 + x) - x for x >= 0, where the difference would cancel: with w = x / (2 + x), log(1 + x) = 2 atanh(w).
template <class P>
LVM_HD P log1p_minus(P x) {
  const P w = x / (P(2.0) + x), z = w * w;  // z < 1/16 where it is wanted
  P s = P(1.0 / 27);
  for (int k = 25; k >= 3; k -= 2) s = s * z + P(1.0 / k);
  return if_less_(x, P(0.6), w * (P(2.0) * z * s - x), log1p_(x) - x);
}

// What Stirling's formula leaves of the logarithm of the gamma function, and two derivatives.
//
//   log Gamma(x) = (x - 1/2) log x - x + log(2 pi) / 2 + value,   x > 0
//   psi(x) = log x - 1 / (2 x) + slope,   psi'(x) = 1 / x + 1 / (2 x^2) + curvature
//
// The asymptotic series (Abramowitz and Stegun 6.1.40, 6.3.18, 6.4.12) from x = 10 on, after the recurrence below it.
template <class R>
struct StirlingTail {
  R value, slope, curvature;
};

template <class R>
LVM_HD StirlingTail<R> stirling_tail(R x) {
  R shifted = x, product = R(1), psi = R(0), psi1 = R(0);
  while (shifted < R(10)) {
    const R inverse = R(1) / shifted;
    product *= shifted;
    psi -= inverse;
    psi1 += inverse * inverse;
    shifted += R(1);
  }
  const R u = R(1) / shifted, z = u * u;
  R v = R(-3617.0 / 122400), s = R(3617.0 / 8160), c = R(-3617.0 / 510);
  v = v * z + R(1.0 / 156), s = s * z + R(-1.0 / 12), c = c * z + R(7.0 / 6);
  v = v * z + R(-691.0 / 360360), s = s * z + R(691.0 / 32760), c = c * z + R(-691.0 / 2730);
  v = v * z + R(1.0 / 1188), s = s * z + R(-1.0 / 132), c = c * z + R(5.0 / 66);
  v = v * z + R(-1.0 / 1680), s = s * z + R(1.0 / 240), c = c * z + R(-1.0 / 30);
  v = v * z + R(1.0 / 1260), s = s * z + R(-1.0 / 252), c = c * z + R(1.0 / 42);
  v = v * z + R(-1.0 / 360), s = s * z + R(1.0 / 120), c = c * z + R(-1.0 / 30);
  v = v * z + R(1.0 / 12), s = s * z + R(-1.0 / 12), c = c * z + R(1.0 / 6);
  StirlingTail<R> tail = {v * u, s * z, c * z * u};
  if (x < R(10)) {
    const R large = log_(shifted), small = log_(x);
    tail.value += (shifted - R(0.5)) * large - (x - R(0.5)) * small - (shifted - x) - log_(product);
    tail.slope += psi + (large - small) - R(0.5) * (u - R(1) / x);
    tail.curvature += psi1 + u - R(1) / x + R(0.5) * (z - R(1) / (x * x));
  }
  return tail;
}

template <class R>
LVM_HD R log_gamma(R x) {
  return (x - R(0.5)) * log_(x) - x + R(kLogRoot2Pi) + stirling_tail(x).value;
}

// log(Gamma(r + y) / Gamma(r)) - y log r and its derivative by r, for r > 0 and y >= 0; no cancellation where r is large.
template <class R>
LVM_HD R log_rising(R r, R y, R& by_r) {
  const StirlingTail<R> above = stirling_tail(r + y), below = stirling_tail(r);
  const R u = y / r;
  by_r = log1p_minus(u) + R(0.5) * u / (r + y) + (above.slope - below.slope);
  return r * log1p_minus(u) + (y - R(0.5)) * log1p_(u) + (above.value - below.value);
}

}  // namespace lvm

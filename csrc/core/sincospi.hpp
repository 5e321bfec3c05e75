// sin(pi x) and cos(pi x) together, for scalars here and for packs in cpu/pack_math.hpp.
#pragma once

#include "core/config.hpp"

namespace lvm {

// sin(pi r) and cos(pi r) for |r| <= 1/4; P is Real or a pack of it.
//
// sin(pi r) = pi r + r z S(z) and cos(pi r) = 1 + z C(z) with z = r^2, the polynomials those that agree at the
// Chebyshev nodes: relative errors of 2^-56 and 2^-62 (float: 2^-35 and 2^-32). pi is in two parts, so that the sum's
// last rounding is nearly all of the error.
template <class Real, class P>
LVM_HD void sincospi_reduced(P r, P& sine, P& cosine) {
  const P z = r * r;
  P s, c;
  if constexpr (sizeof(Real) == 8) {
    s = P(0.0004622111022418109748) * z + P(-0.007370143643593738216);
    s = s * z + P(0.082145877306416249127);
    s = s * z + P(-0.59926452918453858679);
    s = s * z + P(2.5501640398766156335);
    s = s * z + P(-5.1677127800499693958);
    s = s * z + P(1.2246467991473532e-16);
    c = P(-0.00010370082971593131951) * z + P(0.0019294938748949379864);
    c = c * z + P(-0.025806887964701876094);
    c = c * z + P(0.23533063028399222239);
    c = c * z + P(-1.3352627688538094413);
    c = c * z + P(4.0587121264167651714);
    c = c * z + P(-4.9348022005446793075);
    sine = r * P(3.141592653589793) + r * s;
  } else {
    s = P(0.081229575f) * z + P(-0.5992288f);
    s = s * z + P(2.5501636f);
    s = s * z + P(-5.1677128f);
    s = s * z + P(-8.7422780e-8f);
    c = P(0.23212541f) * z + P(-1.3351378f);
    c = c * z + P(4.0587106f);
    c = c * z + P(-4.9348022f);
    sine = r * P(3.14159274f) + r * s;
  }
  cosine = P(Real(1)) + z * c;
}

// sin(pi x) and cos(pi x) for |x| < 2^30, at most about 1 ulp off: x = q / 2 + r with a whole number q of quarter
// turns, all exact, where sin(M_PI * x) would have lost digits before it began.
template <class T>
LVM_HD void sincospi_(T x, T& sine, T& cosine) {
  const int64_t turns = int64_t(T(2) * x + (x < T(0) ? T(-0.5) : T(0.5)));
  T s, c;
  sincospi_reduced<T>(x - T(0.5) * T(turns), s, c);
  const T a = turns & 1 ? c : s, b = turns & 1 ? s : c;
  sine = turns & 2 ? -a : a;
  cosine = (turns + 1) & 2 ? -b : b;
}

}  // namespace lvm

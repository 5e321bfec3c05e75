// What chains of bijectors ask of packs besides their mathematics.
#pragma once

#include "cpu/pack_math.hpp"

namespace lvm::cpu::LVM_ARCH {

template <class T>
LVM_HD Pack<T> if_nan_(Pack<T> x, Pack<T> yes, Pack<T> no) {
  return x.v != x.v ? yes.v : no.v;
}

// Whether every x is positive and normal.
template <class T>
LVM_HD bool all_normal(Pack<T> x) {
  const Pack<T> least(sizeof(T) == 8 ? T(2.2250738585072014e-308) : T(1.17549435e-38f)), most = large_(x);
  return all_lanes_<T>((x.v >= least.v) & (x.v <= most.v));
}

// exp(x) - 1 for x <= 0, at most about 1.5 ulp off; it grows above until x = 20.
//
// As exp_ has it, exp(x) = 2^n (1 + p); 2^n - 1 is exact where it matters, so that 2^n p + (2^n - 1) is rounded twice.
template <class T>
LVM_HD Pack<T> expm1_below_(Pack<T> argument) {
  using C = ExpConstants<T>;
  using P = Pack<T>;
  using V = typename P::V;
  using VI = typename P::VI;
  const V x = clamp_(argument, P(T(-50)), P(T(20))).v;  // 2^-n is 0 beside 1 there
  const V shifted = x * T(1.4426950408889634074) + C::magic;
  const V n = shifted - C::magic;
  V r = x - n * C::ln2_high;
  r = r - n * C::ln2_low;
  V p = V{} + T(C::q[C::degree]);
  unroll<C::degree>([&](auto k) LVM_INLINE { p = p * r + T(C::q[C::degree - 1 - k]); });
  p = p * (r * r) + r;
  const V biased = n + (C::magic + T(C::bias));
  VI bits = bits_as<VI>(biased) << C::mantissa;
  const V scale = bits_as<V>(bits);
  return if_nan_(argument, argument, P(p * scale + (scale - T(1))));
}

// artanh x for 0 <= x < 1, at most about 2 ulp off: the polynomial of log_ near 0, (1/2) log((1 + x) / (1 - x)) beyond.
template <class T>
LVM_HD Pack<T> atanh_(Pack<T> x) {
  using V = typename Pack<T>::V;
  const Pack<T> large = log_((Pack<T>(1.0) + x) / (Pack<T>(1.0) - x));
  const V z = x.v * x.v;
  V r;
  if constexpr (sizeof(T) == 8) {
    const V z2 = z * z;
    const V low = (z * 0.39999999999899310592 + 0.6666666666666669693) +
                  z2 * (z * 0.22222211120446471995 + 0.28571428626063404616);
    r = low + z2 * z2 * (z2 * 0.1461687896453046644 + (z * 0.15331686864286195048 + 0.18182890170474069315));
  } else {
    r = (z * 0.40000122f + 0.66666667f) + z * z * (z * 0.23330830f + 0.28550807f);
  }
  return if_less_(x, Pack<T>(0.17), Pack<T>(x.v + T(0.5) * x.v * (z * r)), Pack<T>(0.5) * large);
}

// log x for every x: denormal numbers, 0 (-inf), infinity and those below 0 (NaN) as well.
template <class T>
LVM_HD Pack<T> log_any_(Pack<T> x) {
  using P = Pack<T>;
  using C = ExpConstants<T>;
  const P zero(T(0)), least(sizeof(T) == 8 ? T(2.2250738585072014e-308) : T(1.17549435e-38f));
  const P up(T(uint64_t(1) << C::mantissa)), lost(T(C::mantissa * 0.693147180559945309417));
  P value = log_(if_less_(x, least, x * up, x)) - if_less_(x, least, lost, zero);
  const P infinite = P(T(1) / T(0));
  value = if_less_(zero, x, if_less_(large_(x), x, infinite, value), zero - infinite);
  value = if_less_(x, zero, infinite - infinite, value);
  return if_nan_(x, x, value);
}

}  // namespace lvm::cpu::LVM_ARCH

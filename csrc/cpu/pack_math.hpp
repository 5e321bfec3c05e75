// Packs: the logarithm, and sin(pi x) with cos(pi x).
#pragma once

#include "core/sincospi.hpp"
#include "cpu/pack.hpp"

namespace lvm::cpu::LVM_ARCH {

// Whole numbers without a sign, as many bits as T has.
template <class T>
struct UnsignedBits;
template <>
struct UnsignedBits<double> {
  using Type = uint64_t;
  typedef Type Lanes __attribute__((vector_size(LVM_VECTOR_BYTES)));
};
template <>
struct UnsignedBits<float> {
  using Type = uint32_t;
  typedef Type Lanes __attribute__((vector_size(LVM_VECTOR_BYTES)));
};
template <class T>
using UnsignedLanes = typename UnsignedBits<T>::Lanes;

template <class To, class From>
LVM_HD To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From), "as many bits");
  To to;
  memcpy(&to, &from, sizeof(To));
  return to;
}

// log x for positive normal x, at most about 1 ulp off; no other x is meant.
//
// With x = 2^n (1 + f), sqrt(1/2) <= 1 + f < sqrt(2), and w = f / (2 + f): log(1 + f) = 2 w + w R(w^2)
// = f - (f^2/2 - w (f^2/2 + R)), in which f is exact and what is taken from it small. R's polynomial agrees with it at
// the Chebyshev nodes, to 2^-57 of the result (float: 2^-35). n log 2 is in two parts, the first exact.
template <class T>
LVM_HD Pack<T> log_(Pack<T> x) {
  using C = ExpConstants<T>;
  using V = typename Pack<T>::V;
  using U = typename UnsignedBits<T>::Type;
  constexpr int m = C::mantissa;
  constexpr U root = sizeof(T) == 8 ? U(0x3fe6a09e667f3bcd) : U(0x3f3504f3);  // the bits of sqrt(1/2)
  constexpr U offset = C::bias + 1;
  // Less the bits of the root: the exponent is n, the mantissa that of 1 + f, counted from the root. n + offset >= 0.
  const UnsignedLanes<T> moved = bits_as<UnsignedLanes<T>>(x.v) + ((offset << m) - root);
  const V f = bits_as<V>((moved & ((U(1) << m) - 1)) + root) - T(1);
  const V magic = V{} + C::magic;
  const V n = bits_as<V>(bits_as<UnsignedLanes<T>>(magic) + (moved >> m)) - (C::magic + T(offset));
  const V w = f / (f + T(2)), z = w * w, half = f * f * T(0.5);
  V r;  // in halves: a chain of multiplications and additions would be most of the time that a draw takes
  if constexpr (sizeof(T) == 8) {
    const V z2 = z * z;
    const V low = (z * 0.39999999999899310592 + 0.6666666666666669693) +
                  z2 * (z * 0.22222211120446471995 + 0.28571428626063404616);
    r = low + z2 * z2 * (z2 * 0.1461687896453046644 + (z * 0.15331686864286195048 + 0.18182890170474069315));
  } else {
    r = (z * 0.40000122f + 0.66666667f) + z * z * (z * 0.23330830f + 0.28550807f);
  }
  return Pack<T>(n * C::ln2_high - ((half - (w * (half + r * z) + n * C::ln2_low)) - f));
}

// sin(pi x) and cos(pi x) for |x| < 2^20, at most about 1 ulp off, as core/sincospi.hpp has it for scalars.
template <class T>
LVM_HD void sincospi_(Pack<T> x, Pack<T>& sine, Pack<T>& cosine) {
  using C = ExpConstants<T>;
  using V = typename Pack<T>::V;
  using VU = UnsignedLanes<T>;
  using VI = typename Pack<T>::VI;
  constexpr int top = 8 * sizeof(T) - 1;
  const V shifted = x.v * T(2) + C::magic;
  const V quarters = shifted - C::magic;
  Pack<T> s, c;
  sincospi_reduced<T>(Pack<T>(x.v - quarters * T(0.5)), s, c);
  const VU turns = bits_as<VU>(shifted);
  const VI odd = bits_as<VI>(turns << top);  // negative where the quarter turns are odd
  const VU sign = VU{} + (typename UnsignedBits<T>::Type(1) << top);
  const V a = odd < 0 ? c.v : s.v, b = odd < 0 ? s.v : c.v;
  sine = bits_as<V>(bits_as<VU>(a) ^ ((turns << (top - 1)) & sign));
  cosine = bits_as<V>(bits_as<VU>(b) ^ (((turns + 1) << (top - 1)) & sign));
}

}  // namespace lvm::cpu::LVM_ARCH

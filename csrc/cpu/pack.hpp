// SIMD packs on the compiler's vector extension, and the exponential.
//
// Only included by files that are compiled once per instruction set; LVM_ARCH names the namespace of the
// set that is being compiled, so that no symbol of one build can stand in for another's.
#pragma once

#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "core/config.hpp"
#include "cpu/unroll.hpp"

#if !defined(LVM_ARCH) || !defined(LVM_VECTOR_BYTES)
#error "LVM_ARCH and LVM_VECTOR_BYTES are set by CMake for each instruction set"
#endif

namespace lvm::cpu::LVM_ARCH {

template <class T>
struct Bits;
template <>
struct Bits<double> {
  using Int = int64_t;
};
template <>
struct Bits<float> {
  using Int = int32_t;
};

template <class T>
constexpr int kWidth = LVM_VECTOR_BYTES / sizeof(T);

template <class T>
struct Pack {
  static constexpr int W = kWidth<T>;
  typedef T V __attribute__((vector_size(LVM_VECTOR_BYTES)));
  using Int = typename Bits<T>::Int;
  typedef Int VI __attribute__((vector_size(LVM_VECTOR_BYTES)));
  V v;

  LVM_HD Pack() : v(V{}) {}
  LVM_HD Pack(V x) : v(x) {}
  LVM_HD explicit Pack(double x) : v(T(x) - V{}) {}  // x - 0 is x, so that one broadcast remains; 0 + x is not for -0
  LVM_HD explicit Pack(float x) : v(T(x) - V{}) {}
  LVM_HD static Pack load(const T* p) {
    Pack r;
    memcpy(&r.v, p, sizeof(V));
    return r;
  }
  LVM_HD void store(T* p) const { memcpy(p, &v, sizeof(V)); }
  LVM_HD void store_first(T* p, int64_t n) const { memcpy(p, &v, n * sizeof(T)); }
  LVM_HD friend Pack operator+(Pack a, Pack b) { return a.v + b.v; }
  LVM_HD friend Pack operator-(Pack a, Pack b) { return a.v - b.v; }
  LVM_HD friend Pack operator*(Pack a, Pack b) { return a.v * b.v; }
  LVM_HD friend Pack operator/(Pack a, Pack b) { return a.v / b.v; }
  LVM_HD Pack& operator+=(Pack b) { return v += b.v, *this; }
  LVM_HD friend Pack min_(Pack x, Pack most) { return x.v > most.v ? most.v : x.v; }  // NaN stays
  LVM_HD friend Pack max_(Pack x, Pack least) { return x.v < least.v ? least.v : x.v; }  // NaN stays
  LVM_HD friend Pack if_less_(Pack a, Pack b, Pack yes, Pack no) { return a.v < b.v ? yes.v : no.v; }
  LVM_HD friend Pack clamp_(Pack x, Pack least, Pack most) {  // NaN stays
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 8) {
      x.v = (V)_mm512_maskz_min_pd(0xff, (__m512d)most.v, _mm512_maskz_max_pd(0xff, (__m512d)least.v, (__m512d)x.v));
    } else {
      x.v = (V)_mm512_maskz_min_ps(0xffff, (__m512)most.v, _mm512_maskz_max_ps(0xffff, (__m512)least.v, (__m512)x.v));
    }
#elif defined(__AVX__)
    if constexpr (sizeof(T) == 8) {
      x.v = (V)_mm256_min_pd((__m256d)most.v, _mm256_max_pd((__m256d)least.v, (__m256d)x.v));
    } else {
      x.v = (V)_mm256_min_ps((__m256)most.v, _mm256_max_ps((__m256)least.v, (__m256)x.v));
    }
#else
    x.v = x.v < least.v ? least.v : x.v;
    x.v = x.v > most.v ? most.v : x.v;
#endif
    return x;
  }
  LVM_HD friend Pack large_(Pack) { return Pack(lvm::large_(T(0))); }
  LVM_HD friend Pack zero_unless_positive_(Pack sign, Pack x) { return sign.v > V{} ? x.v : V{}; }
  LVM_HD friend Pack sqrt_(Pack x) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 8) {
      x.v = (V)_mm512_maskz_sqrt_pd(0xff, (__m512d)x.v);
    } else {
      x.v = (V)_mm512_maskz_sqrt_ps(0xffff, (__m512)x.v);
    }
#elif defined(__AVX__)
    if constexpr (sizeof(T) == 8) {
      x.v = (V)_mm256_sqrt_pd((__m256d)x.v);
    } else {
      x.v = (V)_mm256_sqrt_ps((__m256)x.v);
    }
#elif defined(__SSE2__)
    if constexpr (sizeof(T) == 8) {
      x.v = (V)_mm_sqrt_pd((__m128d)x.v);
    } else {
      x.v = (V)_mm_sqrt_ps((__m128)x.v);
    }
#else
    for (int i = 0; i < W; ++i) x.v[i] = lvm::sqrt_(T(x.v[i]));
#endif
    return x;
  }
  LVM_HD double sum() const {
    double s = 0;
    for (int i = 0; i < W; ++i) s += double(v[i]);
    return s;
  }
};

// Whether a comparison of two packs holds in all lanes.
template <class T>
LVM_HD bool all_lanes_(typename Pack<T>::VI mask) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 8) return _mm512_movepi64_mask((__m512i)mask) == 0xff;
  return _mm512_movepi32_mask((__m512i)mask) == 0xffff;
#elif defined(__AVX__)
  if constexpr (sizeof(T) == 8) return _mm256_movemask_pd((__m256d)mask) == 0xf;
  return _mm256_movemask_ps((__m256)mask) == 0xff;
#elif defined(__SSE2__)
  if constexpr (sizeof(T) == 8) return _mm_movemask_pd((__m128d)mask) == 0x3;
  return _mm_movemask_ps((__m128)mask) == 0xf;
#else
  bool all = true;
  for (int i = 0; i < Pack<T>::W; ++i) all = all && mask[i] != 0;
  return all;
#endif
}

// exp, at most about 1 ulp off over the whole range, denormal results, infinities and NaN included (the
// measured error is in tests/ops/test_exp.py).
//
// x = n log 2 + r with |r| <= log(2)/2 (n log 2 in two parts, the first exact); exp(r) = 1 + r + r^2 q(r), q the
// polynomial that agrees with it at the Chebyshev nodes, of the degree whose error is a sixth of an ulp or less; times
// 2^n in two factors, near the root of it each, so that a denormal result is rounded once and infinity is reached.
template <class T>
struct ExpConstants;

template <>
struct ExpConstants<double> {
  static constexpr double magic = 6755399441055744.0;  // 1.5 * 2^52: added, it rounds to an integer
  static constexpr double ln2_high = 6.93147180369123816490e-01;
  static constexpr double ln2_low = 1.90821492927058770002e-10;
  static constexpr double lowest = -750.0, highest = 710.0;
  static constexpr int mantissa = 52, degree = 9;
  static constexpr int64_t bias = 1023;
  static constexpr double q[] = {0.50000000000000010221,    0.16666666666666667453,    0.041666666666624127873,
                                 0.0083333333333300618325,  0.0013888888917213716901,  0.00019841269863053616878,
                                 2.4801521295954375131e-05, 2.7557268459997064772e-06, 2.7620088445409748161e-07,
                                 2.5100385495510319078e-08};
};

template <>
struct ExpConstants<float> {
  static constexpr float magic = 12582912.0f;  // 1.5 * 2^23
  static constexpr float ln2_high = 6.93359375e-01f;
  static constexpr float ln2_low = -2.12194440e-04f;
  static constexpr float lowest = -110.0f, highest = 89.0f;
  static constexpr int mantissa = 23, degree = 5;
  static constexpr int32_t bias = 127;
  static constexpr double q[] = {0.50000000134658092001,  0.16666666681623231402,  0.041666464925285905408,
                                 0.0083333109254809008349, 0.001393364999630925043, 0.00019890990824673653848};
};

template <class T>
LVM_HD Pack<T> exp_(Pack<T> argument) {
  using C = ExpConstants<T>;
  using P = Pack<T>;
  using V = typename P::V;
  using VI = typename P::VI;
  const V x = clamp_(argument, P(C::lowest), P(C::highest)).v;
  const V shifted = x * T(1.4426950408889634074) + C::magic;
  const V n = shifted - C::magic;
  V r = x - n * C::ln2_high;
  r = r - n * C::ln2_low;
  V p = V{} + T(C::q[C::degree]);
  unroll<C::degree>([&](auto k) LVM_INLINE { p = p * r + T(C::q[C::degree - 1 - k]); });
  p = p * (r * r) + r;
  p = p + T(1);
  constexpr T biased = C::magic + T(C::bias);
  const V moved = n * T(0.5) + biased, rest = (n - (moved - biased)) + biased;
  VI bits, rest_bits;
  memcpy(&bits, &moved, sizeof(V));
  memcpy(&rest_bits, &rest, sizeof(V));
  bits <<= C::mantissa;
  rest_bits <<= C::mantissa;
  V scale, rest_scale;
  memcpy(&scale, &bits, sizeof(V));
  memcpy(&rest_scale, &rest_bits, sizeof(V));
  return P(p * scale * rest_scale);
}

// log(1 + x) for x >= 0 (NaN stays), at most about 1.5 ulp off.
//
// With 1 + x = 2^n m, sqrt(1/2) <= m < sqrt(2), and w = (m - 1) / (m + 1): log m = 2 w (1 + w^2/3 + w^4/5 + ...), cut
// where the remainder is below a tenth of an ulp (|w| <= 0.1716). What 1 + x lost of x comes back as a first-order term.
template <class T>
LVM_HD Pack<T> log1p_(Pack<T> argument) {
  using C = ExpConstants<T>;
  using V = typename Pack<T>::V;
  using VI = typename Pack<T>::VI;
  constexpr int degree = sizeof(T) == 8 ? 10 : 5;
  V x = argument.v;
  const V highest = large_(argument).v;
  x = x > highest ? highest : x;
  const V u = x + T(1);
  VI bits;
  memcpy(&bits, &u, sizeof(V));
  constexpr typename Bits<T>::Int one = C::bias << C::mantissa, mask = (typename Bits<T>::Int(1) << C::mantissa) - 1;
  constexpr typename Bits<T>::Int half_root = sizeof(T) == 8 ? typename Bits<T>::Int(0x6a09e667f3bcd) : 0x3504f3;
  const VI up = (bits & mask) > half_root;  // all ones, -1, where the mantissa is above sqrt(2)
  const VI n = (bits >> C::mantissa) - C::bias - up;
  VI scaled = ((bits & mask) | one) + (up << C::mantissa);  // halved where up
  V m;
  memcpy(&m, &scaled, sizeof(V));
  const V w = (m - T(1)) / (m + T(1)), square = w * w;
  V p = V{} + T(1.0 / (2 * degree + 1));
  for (int k = degree - 1; k >= 1; --k) p = p * square + T(1.0 / (2 * k + 1));
  // |n| is small: adding 1.5 * 2^mantissa as an integer makes it a number of that binade
  V exponent;
  const V magic = V{} + C::magic;
  VI moved;
  memcpy(&moved, &magic, sizeof(V));
  moved += n;
  memcpy(&exponent, &moved, sizeof(V));
  exponent = exponent - C::magic;
  const V lost = (x - (u - T(1))) / u;
  const V small = w * T(2) * (square * p) + (exponent * C::ln2_low + lost);
  return Pack<T>(exponent * C::ln2_high + (w * T(2) + small) + (x - x));
}

}  // namespace lvm::cpu::LVM_ARCH

// Draws from the words of a Philox block: formulas for scalars and packs, and the scalar form of a whole block.
//
// float64 takes two words an element, so that a block holds elements 2k and 2k + 1; float32 takes one, elements 4k to
// 4k + 3. Normal draws are made of two elements' words and come in pairs (2k, 2k + 1).
#pragma once

#include "core/philox.hpp"
#include "core/sincospi.hpp"

namespace lvm {

// The number of a distribution is its stream (see philox_at): draws of two distributions share no block.
enum class Distribution : int { bits = 0, uniform = 1, normal = 2, exponential = 3 };

template <class T>
constexpr int kDrawsPerBlock = 16 / sizeof(T);

// u = k / 2^53 for a whole number k of 53 bits, and 2^-54 in place of 0: 0 < u < 1.
LVM_HD double unit_of_words(uint32_t low, uint32_t high) {
  const int64_t k = (int64_t(high) << 21) | (low >> 11);
  return (k ? double(k) : 0.5) * 0x1p-53;
}

// u = k / 2^24 for a whole number k of 24 bits, and 2^-25 in place of 0: 0 < u < 1.
LVM_HD float unit_of_word(uint32_t word) {
  const int32_t k = int32_t(word >> 8);
  return (k ? float(k) : 0.5f) * 0x1p-24f;
}

// u = k / 2^31 rounded to a float, and 2^-32 in place of 0: 0 < u <= 1. Where a logarithm is taken 24 bits would cut
// the tail off too soon.
LVM_HD float fine_unit_of_word(uint32_t word) {
  const int32_t k = int32_t(word >> 1);
  return (k ? float(k) : 0.5f) * 0x1p-31f;
}

// z0 = r cos(2 pi u2), z1 = r sin(2 pi u2), r = sqrt(-2 log u1): independent standard normal draws.
//
// G. E. P. Box and M. E. Muller, A note on the generation of random normal deviates (Ann. Math. Stat. 29, 1958).
// |z| <= 8.66 for a u1 >= 2^-54, <= 6.67 for a u1 >= 2^-32.
template <class P>
LVM_HD void normal_pair(P u1, P u2, P& z0, P& z1) {
  const P radius = sqrt_(P(-2.0) * log_(u1));
  P sine, cosine;
  sincospi_(u2 + u2, sine, cosine);
  z0 = radius * cosine;
  z1 = radius * sine;
}

// Whether the first, or second, uniform of a pair goes into a logarithm.
template <Distribution D>
constexpr bool kLogOfSecond = D == Distribution::exponential;
template <Distribution D>
constexpr bool kLogOfFirst = D == Distribution::normal || kLogOfSecond<D>;

// Two neighbouring draws from their two uniforms.
template <Distribution D, class P>
LVM_HD void two_draws(P u0, P u1, P& x0, P& x1) {
  if constexpr (D == Distribution::normal) {
    normal_pair(u0, u1, x0, x1);
  } else if constexpr (D == Distribution::exponential) {
    x0 = P(0.0) - log_(u0);  // 0 where u is 1, not -0
    x1 = P(0.0) - log_(u1);
  } else {
    x0 = u0;
    x1 = u1;
  }
}

// All draws of a block, one scalar after the other.
template <Distribution D>
LVM_HD void draws_of_block(const PhiloxWords& b, double (&x)[2]) {
  two_draws<D>(unit_of_words(b.w[0], b.w[1]), unit_of_words(b.w[2], b.w[3]), x[0], x[1]);
}
template <Distribution D>
LVM_HD void draws_of_block(const PhiloxWords& b, float (&x)[4]) {
  for (int j = 0; j < 4; j += 2) {
    const float u0 = kLogOfFirst<D> ? fine_unit_of_word(b.w[j]) : unit_of_word(b.w[j]);
    const float u1 = kLogOfSecond<D> ? fine_unit_of_word(b.w[j + 1]) : unit_of_word(b.w[j + 1]);
    two_draws<D>(u0, u1, x[j], x[j + 1]);
  }
}
template <Distribution D>
LVM_HD void draws_of_block(const PhiloxWords& b, uint64_t (&x)[2]) {
  static_assert(D == Distribution::bits, "integers are bits");
  for (int j = 0; j < 2; ++j) x[j] = b.w[2 * j] | uint64_t(b.w[2 * j + 1]) << 32;
}
template <Distribution D>
LVM_HD void draws_of_block(const PhiloxWords& b, uint32_t (&x)[4]) {
  static_assert(D == Distribution::bits, "integers are bits");
  for (int j = 0; j < 4; ++j) x[j] = b.w[j];
}

}  // namespace lvm

// Philox blocks in 64-bit lanes, and uniform numbers of their words.
#pragma once

#include "core/philox.hpp"
#include "cpu/pack.hpp"
#include "cpu/pack_math.hpp"
#include "cpu/unroll.hpp"

namespace lvm::cpu::LVM_ARCH {

using Lanes = UnsignedLanes<double>;
constexpr int kLanes = kWidth<double>;
constexpr uint64_t kLow = 0xffffffff;

// The product of the low halves.
LVM_HD Lanes multiply_low(Lanes a, Lanes b) {
#if defined(__AVX512F__)
  return (Lanes)_mm512_maskz_mul_epu32(0xff, (__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
  return (Lanes)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
  return (Lanes)_mm_mul_epu32((__m128i)a, (__m128i)b);
#else
  return (a & kLow) * (b & kLow);
#endif
}

// kLanes blocks: word j of each in the low half of a lane of w[j]. The high halves hold anything.
struct Blocks {
  Lanes w[4];
};

// What every block of a call has in common.
struct Stream {
  Lanes keys[kPhiloxRounds][2];
  Lanes id;
  Stream(uint64_t seed, uint32_t number) : id(Lanes{} + uint64_t(number)) {
    uint32_t key0 = uint32_t(seed), key1 = uint32_t(seed >> 32);
    for (auto& key : keys) {
      key[0] = Lanes{} + key0;
      key[1] = Lanes{} + key1;
      key0 += kPhiloxStep0;
      key1 += kPhiloxStep1;
    }
  }
};

// The counters of an attempt to the words; several groups in step, since each waits for its own multiplications.
template <int kCount>
LVM_HD void philox(const Stream& stream, const Lanes (&block)[kCount], Blocks (&b)[kCount], uint32_t attempt = 0) {
  const Lanes multiplier0 = Lanes{} + kPhiloxMultiplier0, multiplier1 = Lanes{} + kPhiloxMultiplier1;
  unroll<kCount>([&](auto g) LVM_INLINE {
    b[g].w[0] = block[g];
    b[g].w[1] = block[g] >> 32;
    b[g].w[2] = Lanes{} + uint64_t(attempt);
    b[g].w[3] = stream.id;
  });
  unroll<kPhiloxRounds>([&](auto round) LVM_INLINE {
    unroll<kCount>([&](auto g) LVM_INLINE {
      const Lanes p0 = multiply_low(multiplier0, b[g].w[0]), p1 = multiply_low(multiplier1, b[g].w[2]);
      b[g].w[0] = (p1 >> 32) ^ (b[g].w[1] ^ stream.keys[round][0]);
      b[g].w[2] = (p0 >> 32) ^ (b[g].w[3] ^ stream.keys[round][1]);
      b[g].w[1] = p1;
      b[g].w[3] = p0;
    });
  });
}

// As unit_of_words. Numbers of the binades whose last places are 2^-32 and 2^-53 take the words as mantissas; their
// difference from 2^20 + 1/2 is exact.
LVM_HD Pack<double> unit_of_lanes(Lanes low, Lanes high) {
  const auto h = bits_as<Pack<double>::V>((high & kLow) | uint64_t(0x4130000000000000));
  const auto l = bits_as<Pack<double>::V>(((low >> 11) & 0x1fffff) | uint64_t(0x3fe0000000000000));
  return max_(Pack<double>((h - (0x1p20 + 0.5)) + l), Pack<double>(0x1p-54));
}

}  // namespace lvm::cpu::LVM_ARCH

// Random draws: Philox blocks in 64-bit lanes, and what csrc/core/draws.hpp makes of their words.
//
// Per block: 20 multiplications of 32 by 32 bits and 60 cheap operations. A draw is the same bits wherever it stands in
// a pack and in a range: every one is computed in packs, those of the ends through a buffer.
#include "core/draws.hpp"
#include "cpu/arch.hpp"
#include "cpu/pack.hpp"
#include "cpu/pack_math.hpp"
#include "cpu/tasks.hpp"
#include "cpu/transpose.hpp"
#include "cpu/unroll.hpp"

namespace lvm::cpu::LVM_ARCH {
namespace {

using Lanes = UnsignedLanes<double>;
constexpr int kLanes = kWidth<double>;
constexpr int kGroups = 4;  // of kLanes blocks that are worked on at a time

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
  Stream(uint64_t seed, Distribution distribution) : id(Lanes{} + uint64_t(distribution)) {
    uint32_t key0 = uint32_t(seed), key1 = uint32_t(seed >> 32);
    for (auto& key : keys) {
      key[0] = Lanes{} + key0;
      key[1] = Lanes{} + key1;
      key0 += kPhiloxStep0;
      key1 += kPhiloxStep1;
    }
  }
};

// The counters of attempt 0 to the words; several groups in step, since each waits for its own multiplications.
template <int kCount>
LVM_HD void philox(const Stream& stream, const Lanes (&block)[kCount], Blocks (&b)[kCount]) {
  const Lanes multiplier0 = Lanes{} + kPhiloxMultiplier0, multiplier1 = Lanes{} + kPhiloxMultiplier1;
  unroll<kCount>([&](auto g) LVM_INLINE {
    b[g].w[0] = block[g];
    b[g].w[1] = block[g] >> 32;
    b[g].w[2] = Lanes{};
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

template <class T>
LVM_HD Pack<T> max_(Pack<T> x, T least) {
  return x.v < least ? Pack<T>(least).v : x.v;
}

// As unit_of_words. Numbers of the binades whose last places are 2^-32 and 2^-53 take the words as mantissas; their
// difference from 2^20 + 1/2 is exact.
LVM_HD Pack<double> unit_of_lanes(Lanes low, Lanes high) {
  const auto h = bits_as<Pack<double>::V>((high & kLow) | uint64_t(0x4130000000000000));
  const auto l = bits_as<Pack<double>::V>(((low >> 11) & 0x1fffff) | uint64_t(0x3fe0000000000000));
  return max_(Pack<double>((h - (0x1p20 + 0.5)) + l), 0x1p-54);
}

// As unit_of_word and fine_unit_of_word.
template <bool kFine>
LVM_HD Pack<float> unit_of_lanes(UnsignedLanes<float> words) {
  constexpr float step = kFine ? 0x1p-31f : 0x1p-24f;
  const auto k = bits_as<Pack<float>::VI>(words >> (kFine ? 1 : 8));
  return max_(Pack<float>(__builtin_convertvector(k, Pack<float>::V) * step), step / 2);
}

// x[j] = element j of every block.
template <Distribution D>
LVM_HD void draws_of_lanes(const Blocks (&b)[1], Pack<double> (&x)[2]) {
  if constexpr (D == Distribution::bits) {
    unroll<2>([&](auto j) LVM_INLINE {
      x[j] = bits_as<Pack<double>::V>((b[0].w[2 * j] & kLow) | (b[0].w[2 * j + 1] << 32));
    });
  } else {
    two_draws<D>(unit_of_lanes(b[0].w[0], b[0].w[1]), unit_of_lanes(b[0].w[2], b[0].w[3]), x[0], x[1]);
  }
}
// Words of two groups side by side: those of the first in the even lanes.
template <Distribution D>
LVM_HD void draws_of_lanes(const Blocks (&b)[2], Pack<float> (&x)[4]) {
  UnsignedLanes<float> w[4];
  unroll<4>([&](auto j) LVM_INLINE { w[j] = bits_as<UnsignedLanes<float>>((b[0].w[j] & kLow) | (b[1].w[j] << 32)); });
  if constexpr (D == Distribution::bits) {
    unroll<4>([&](auto j) LVM_INLINE { x[j] = bits_as<Pack<float>::V>(w[j]); });
  } else {
    unroll<2>([&](auto h) LVM_INLINE {
      const auto u0 = unit_of_lanes<kLogOfFirst<D>>(w[2 * h]), u1 = unit_of_lanes<kLogOfSecond<D>>(w[2 * h + 1]);
      two_draws<D>(u0, u1, x[2 * h], x[2 * h + 1]);
    });
  }
}

template <class T>
constexpr int kHalves = 8 / sizeof(T);  // groups of blocks that fill packs of T
template <class T>
constexpr int kSet = kWidth<T> * kDrawsPerBlock<T>;  // draws of so many groups
template <class T>
constexpr int kChunk = kSet<T> * kGroups / kHalves<T>;

// Transposed, the packs of a set are its draws in their order when lane r + R q, R draws to a block, is that of block
// (W / R) r + q. Lane i of group h is lane kHalves i + h of the packs.
template <class T>
LVM_HD Lanes block_of_lanes(int h) {
  constexpr int R = kDrawsPerBlock<T>;
  Lanes block;
  for (int i = 0; i < kLanes; ++i) {
    const int lane = kHalves<T> * i + h;
    block[i] = uint64_t(lane % R * (kWidth<T> / R) + lane / R);
  }
  return block;
}

template <class T>
LVM_HD void store_set(Pack<T> (&x)[kDrawsPerBlock<T>], T* out) {
  transpose_blocks(x);
  unroll<kDrawsPerBlock<T>>([&](auto r) LVM_INLINE { x[r].store(out + r * kWidth<T>); });
}

// kChunk draws from that of a block on.
template <Distribution D, class T>
LVM_HD void chunk(const Stream& stream, int64_t first, T* out) {
  constexpr int H = kHalves<T>;
  Lanes block[kGroups];
  Blocks words[kGroups];
  unroll<kGroups>([&](auto g) LVM_INLINE {
    block[g] = block_of_lanes<T>(g % H) + uint64_t(first + g / H * kWidth<T>);
  });
  philox(stream, block, words);
  unroll<kGroups / H>([&](auto set) LVM_INLINE {
    Blocks halves[H];
    unroll<H>([&](auto h) LVM_INLINE { halves[h] = words[set * H + h]; });
    Pack<T> x[kDrawsPerBlock<T>];
    draws_of_lanes<D>(halves, x);
    store_set(x, out + set * kSet<T>);
  });
}

template <Distribution D, class T>
void fill(uint64_t seed, int64_t begin, int64_t end, T* out) {
  constexpr int R = kDrawsPerBlock<T>;
  const Stream stream(seed, D);
  alignas(64) T part[kChunk<T>];
  int64_t i = begin;
  while (i < end) {
    if (i % R == 0 && end - i >= kChunk<T>) {
      chunk<D>(stream, i / R, out + (i - begin));
      i += kChunk<T>;
    } else {
      const int64_t skipped = i % R, rest = kChunk<T> - skipped, count = end - i < rest ? end - i : rest;
      chunk<D>(stream, i / R, part);
      memcpy(out + (i - begin), part + skipped, count * sizeof(T));
      i += count;
    }
  }
}

template <class F>
LVM_HD void visit_distribution(Distribution d, const F& f) {
  switch (d) {
    case Distribution::bits: return f(std::integral_constant<Distribution, Distribution::bits>());
    case Distribution::uniform: return f(std::integral_constant<Distribution, Distribution::uniform>());
    case Distribution::normal: return f(std::integral_constant<Distribution, Distribution::normal>());
    case Distribution::exponential: return f(std::integral_constant<Distribution, Distribution::exponential>());
  }
}

}  // namespace

template <class T>
void fill_random(Distribution distribution, uint64_t seed, int64_t begin, int64_t end, T* out) {
  visit_distribution(distribution, [&](auto d) LVM_INLINE { fill<decltype(d)::value>(seed, begin, end, out); });
}

template <class T>
void draws_of_words(Distribution distribution, const uint32_t* words, int64_t blocks, T* out) {
  constexpr int H = kHalves<T>;
  for (int64_t first = 0; first < blocks; first += H * kLanes) {
    Blocks b[H] = {};
    for (int h = 0; h < H; ++h) {
      for (int i = 0; i < kLanes; ++i) {
        const int64_t block = first + int64_t(block_of_lanes<T>(h)[i]);
        for (int j = 0; j < 4; ++j) b[h].w[j][i] = block < blocks ? words[4 * block + j] : 0;
      }
    }
    alignas(64) T part[kSet<T>];
    visit_distribution(distribution, [&](auto d) LVM_INLINE {
      Pack<T> x[kDrawsPerBlock<T>];
      draws_of_lanes<decltype(d)::value>(b, x);
      store_set(x, part);
    });
    const int64_t count = blocks - first < H * kLanes ? blocks - first : H * kLanes;
    memcpy(out + first * kDrawsPerBlock<T>, part, count * kDrawsPerBlock<T> * sizeof(T));
  }
}

#define LVM_INSTANTIATE(T)                                                         \
  template void fill_random<T>(Distribution, uint64_t, int64_t, int64_t, T*);      \
  template void draws_of_words<T>(Distribution, const uint32_t*, int64_t, T*);
LVM_INSTANTIATE(double)
LVM_INSTANTIATE(float)
#undef LVM_INSTANTIATE

}  // namespace lvm::cpu::LVM_ARCH

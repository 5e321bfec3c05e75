// Random draws: Philox blocks in 64-bit lanes, and what csrc/core/draws.hpp makes of their words.
//
// Per block: 20 multiplications of 32 by 32 bits and 60 cheap operations. A draw is the same bits wherever it stands in
// a pack and in a range: every one is computed in packs, those of the ends through a buffer.
#include "core/draws.hpp"
#include "cpu/arch.hpp"
#include "cpu/philox_lanes.hpp"
#include "cpu/tasks.hpp"
#include "cpu/transpose.hpp"
#include "cpu/unroll.hpp"

namespace lvm::cpu::LVM_ARCH {
namespace {

constexpr int kGroups = 4;  // of kLanes blocks that are worked on at a time

// As unit_of_word and fine_unit_of_word.
template <bool kFine>
LVM_HD Pack<float> float_unit_of_lanes(UnsignedLanes<float> words) {
  constexpr float step = kFine ? 0x1p-31f : 0x1p-24f;
  const auto k = bits_as<Pack<float>::VI>(words >> (kFine ? 1 : 8));
  return max_(Pack<float>(__builtin_convertvector(k, Pack<float>::V) * step), Pack<float>(step / 2));
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
      const auto u0 = float_unit_of_lanes<kLogOfFirst<D>>(w[2 * h]), u1 = float_unit_of_lanes<kLogOfSecond<D>>(w[2 * h + 1]);
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
  const Stream stream(seed, uint32_t(D));
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

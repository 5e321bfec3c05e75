// Polya-gamma draws in packs. What an attempt decides at once is decided here; the few that need a series of the density
// go on, from that attempt, in the scalar functions of csrc/core/polya_gamma.hpp. A draw takes the same way wherever it
// stands: it does not depend on its neighbours.
#include "core/polya_gamma.hpp"
#include "cpu/arch.hpp"
#include "cpu/philox_lanes.hpp"
#include "cpu/tasks.hpp"
#include "cpu/transpose.hpp"

namespace lvm::cpu::LVM_ARCH {
namespace {

using P = Pack<double>;
using V = P::V;
using Mask = P::VI;

constexpr int kLanes = kWidth<double>;
constexpr int kGroups = 4;
constexpr int kStep = kLanes * kGroups;  // draws that are worked on at a time
constexpr int kChunk = 1024;

__attribute__((noinline)) double strips_alone(const PolyaGammaTables& tables, double z, uint64_t seed,
                                              uint64_t element, int term, uint32_t attempt) {
  return polya_gamma_strips(tables, z, seed, element, term, attempt);
}
__attribute__((noinline)) double remainder_alone(double b, double z, uint64_t seed, uint64_t element,
                                                 uint32_t attempt) {
  return polya_gamma_remainder(b, z, seed, element, attempt);
}

// Bit i: whether lane i of a comparison is true.
LVM_HD unsigned bits_of(Mask m) {
#if defined(__AVX512F__)
  return unsigned(_mm512_movepi64_mask((__m512i)m));
#elif defined(__AVX2__)
  return unsigned(_mm256_movemask_pd((__m256d)m));
#elif defined(__SSE2__)
  return unsigned(_mm_movemask_pd((__m128d)m));
#else
  unsigned bits = 0;
  for (int i = 0; i < kLanes; ++i) bits |= unsigned(m[i] & 1) << i;
  return bits;
#endif
}

using Number = int16_t;  // of a draw within its chunk

// Draws on their way.
struct Chunk {
  const PolyaGammaTables& tables;
  uint64_t seed, first;                  // the element of number 0
  alignas(64) double z[kChunk + kStep];  // >= 0
  double part[kChunk + kStep];           // b of a proposal
  alignas(64) double sum[kChunk + kStep];  // what the parts have come to
  Number terms[kChunk];                  // strips to add
  Number proposals[kChunk], others[kChunk], saddles[kChunk];  // lists of numbers
  Number again[kChunk];

  // The numbers, elements and z of a step of a list, the last number again where it ends. A list that holds them all is
  // null.
  template <class F>
  LVM_HD void step(const Number* list, int begin, int count, const F& f) const {
    Number numbers[kStep];
    Lanes elements[kGroups] = {};
    P zs[kGroups];
    if (!list) {
      for (int g = 0; g < kGroups; ++g) {
        for (int i = 0; i < kLanes; ++i) elements[g][i] = first + uint64_t(begin + g * kLanes + i);
        zs[g] = P::load(z + begin + g * kLanes);
      }
      for (int i = 0; i < kStep; ++i) numbers[i] = Number(begin + i);
    } else {
      for (int i = 0; i < kStep; ++i) numbers[i] = list[begin + i < count ? begin + i : count - 1];
      for (int g = 0; g < kGroups; ++g) {
        for (int i = 0; i < kLanes; ++i) {
          elements[g][i] = first + uint64_t(numbers[g * kLanes + i]);
          zs[g].v[i] = z[numbers[g * kLanes + i]];
        }
      }
    }
    f(numbers, elements, zs);
  }
};

// One attempt at PG(1, z) for the numbers of a list: added to the sums where it is accepted at once; where it is rejected
// at once the number goes to c.again, of which there are as many as is returned; the others are left to the scalar
// function.
int try_strips(Chunk& c, const Number* list, int count, int term, uint32_t attempt) {
  const Stream stream(c.seed, strip_stream(term));
  int again = 0;
  for (int begin = 0; begin < count; begin += kStep) {
    c.step(list, begin, count, [&](const Number* numbers, const Lanes (&elements)[kGroups], const P (&z)[kGroups])
                                   LVM_INLINE {
      Blocks words[kGroups];
      philox(stream, elements, words, attempt);
      alignas(64) double x[kStep];
      unsigned accepted = 0, rejected = 0;
      unroll<kGroups>([&](auto g) LVM_INLINE {
        const Mask tilt = __builtin_convertvector(z[g].v * double(kTiltsPerUnit), Mask);
        const Mask row = tilt * kStrips + (Mask)(words[g].w[0] & uint64_t(kStrips - 1));
        const V at = __builtin_convertvector(tilt, V) * (1.0 / kTiltsPerUnit);
        P strip[4];  // left, width, ratio, top
        load_rows_transposed<double, 4>([&](int i) LVM_INLINE { return &c.tables.strips[0][0].left + row[i] * 4; },
                                        strip);
        const V u = unit_of_lanes(words[g].w[0], words[g].w[1]).v, v = unit_of_lanes(words[g].w[2], words[g].w[3]).v;
        const V place = strip[0].v + strip[1].v * u;
        const V lost = (z[g].v - at) * (z[g].v + at) * 0.5 * place, kept = 1.0 - lost;
        const Mask ok = v <= strip[2].v * kept;
        const Mask no = (v > kept + lost * lost * 0.5) & (strip[1].v > 0.0);
        memcpy(x + g * kLanes, &place, sizeof(V));
        accepted |= bits_of(ok) << (g * kLanes);
        rejected |= bits_of(no) << (g * kLanes);
      });
      const int end = count - begin < kStep ? count - begin : kStep;
      if (list) {
        for (int i = 0; i < end; ++i) c.sum[numbers[i]] += accepted >> i & 1 ? x[i] : 0.0;
      } else {  // beyond the end is room for what is not used
        for (int i = 0; i < kStep; ++i) c.sum[begin + i] += accepted >> i & 1 ? x[i] : 0.0;
      }
      for (unsigned left = ~accepted & ((1ull << end) - 1); left; left &= left - 1) {
        const int i = __builtin_ctz(left), n = numbers[i];
        if (rejected >> i & 1) {
          c.again[again++] = Number(n);
        } else {
          c.sum[n] += strips_alone(c.tables, c.z[n], c.seed, c.first + n, term, attempt);
        }
      }
    });
  }
  return again;
}

// sum += PG(1, z) for the numbers of a list.
void add_strips(Chunk& c, const Number* list, int count, int term) {
  int again = try_strips(c, list, count, term, 0);
  for (uint32_t attempt = 1; again > 0; ++attempt) again = try_strips(c, c.again, again, term, attempt);
}

// One attempt at PG(part, z) by a proposal for the numbers of a list, which become the sums; the rest as for strips. With
// a1, a2 the terms n = 1, 2 of Phi, 1 - a1 <= Phi <= 1 - a1 + a2, the second where a2 <= a1: their ratios fall with n.
int try_proposals(Chunk& c, const Number* list, int count, uint32_t attempt) {
  const Stream stream(c.seed, kProposalStream);
  int again = 0;
  for (int begin = 0; begin < count; begin += kStep) {
    c.step(list, begin, count, [&](const Number* numbers, const Lanes (&elements)[kGroups], const P (&z)[kGroups])
                                   LVM_INLINE {
      Blocks words[kGroups], more[kGroups];
      philox(stream, elements, words, 2 * attempt);
      philox(stream, elements, more, 2 * attempt + 1);
      alignas(64) double x[kStep];
      unsigned accepted = 0, rejected = 0;
      unroll<kGroups>([&](auto g) LVM_INLINE {
        P b, sine, cosine, small, ratio;
        for (int i = 0; i < kLanes; ++i) b.v[i] = c.part[numbers[g * kLanes + i]];
        sincospi_(unit_of_lanes(words[g].w[2], words[g].w[3]), sine, cosine);
        const P chi_square = P(-2.0) * log_(unit_of_lanes(words[g].w[0], words[g].w[1])) * cosine * cosine;
        inverse_gaussian_roots(b, z[g], chi_square, small, ratio);
        const V choice = unit_of_lanes(more[g].w[0], more[g].w[1]).v, v = unit_of_lanes(more[g].w[2], more[g].w[3]).v;
        const V place = choice * (ratio.v + 1.0) <= 1.0 ? small.v : small.v / (ratio.v * ratio.v);
        const V e = exp_(P((b.v + 1.0) * -0.5 / place)).v, a1 = (b.v + 2.0) * e;
        const V a2 = (b.v + 1.0) * (b.v + 4.0) * 0.5 * e * e;  // an upper bound of the term n = 2
        const Mask ok = v <= 1.0 - a1;
        const Mask no = ((v > 1.0 - a1 + a2) & (a2 <= a1)) | ((b.v <= 1.0) & (place > kProposalMost));
        memcpy(x + g * kLanes, &place, sizeof(V));
        accepted |= bits_of(ok) << (g * kLanes);
        rejected |= bits_of(no) << (g * kLanes);
      });
      const int end = count - begin < kStep ? count - begin : kStep;
      for (int i = 0; i < end; ++i) c.sum[numbers[i]] = x[i];
      for (unsigned left = ~accepted & ((1ull << end) - 1); left; left &= left - 1) {
        const int i = __builtin_ctz(left), n = numbers[i];
        if (rejected >> i & 1) {
          c.again[again++] = Number(n);
        } else {
          c.sum[n] = remainder_alone(c.part[n], c.z[n], c.seed, c.first + n, attempt);
        }
      }
    });
  }
  return again;
}

// sum = PG(part, z) by proposals for the numbers of a list.
void add_proposals(Chunk& c, const Number* list, int count) {
  int again = try_proposals(c, list, count, 0);
  for (uint32_t attempt = 1; again > 0; ++attempt) again = try_proposals(c, c.again, again, attempt);
}

// The cells of a pack of points, and their numbers in packs.
struct PackCells {
  const PolyaGammaTables& tables;
  struct Numbers {
    P number[kSaddleNumbers];
    LVM_HD const P& operator[](int i) const { return number[i]; }
  };
  LVM_HD Numbers operator()(P y) const {
    const P inside = clamp_(y, P(kSaddleLeast), P(kSaddleMost * (1.0 - 0x1p-52)));
    const Mask cell = (bits_as<Mask>(inside.v) >> 48) - kFirstCell;
    Numbers c;
    unroll<kSaddleNumbers / 4>([&](auto k) LVM_INLINE {
      P part[4];
      load_rows_transposed<double, 4>([&](int i) LVM_INLINE { return tables.saddle[cell[i]] + 4 * k; }, part);
      unroll<4>([&](auto j) LVM_INLINE { c.number[4 * k + j] = part[j]; });
    });
    return c;
  }
};

// One attempt at PG(part, z) by the saddle point, as for strips; `shared` if b and z are those of all numbers.
int try_saddle(Chunk& c, const Number* list, int count, uint32_t attempt, const SaddleEnvelope<P>* shared) {
  const Stream stream(c.seed, kSaddleStream);
  const PackCells cells = {c.tables};
  int again = 0;
  for (int begin = 0; begin < count; begin += kStep) {
    c.step(list, begin, count, [&](const Number* numbers, const Lanes (&elements)[kGroups], const P (&z)[kGroups])
                                   LVM_INLINE {
      Blocks words[kGroups];
      philox(stream, elements, words, attempt);
      const int end = count - begin < kStep ? count - begin : kStep;
      for (int g = 0; g < kGroups; ++g) {
        SaddleEnvelope<P> envelope;
        if (shared) {
          envelope = *shared;
        } else {
          P b;
          for (int i = 0; i < kLanes; ++i) b.v[i] = c.part[numbers[g * kLanes + i]];
          envelope = SaddleEnvelope<P>(cells, b, z[g]);
        }
        P height;
        const P y = envelope.propose(unit_of_lanes(words[g].w[0], words[g].w[1]), height);
        const P v = log_(unit_of_lanes(words[g].w[2], words[g].w[3])) + height;
        const Mask inside = (y.v >= kSaddleLeast) & (y.v < kSaddleMost);
        const unsigned ok = bits_of(inside & (v.v <= envelope.point.value(cells, y).v));
        const P x = envelope.point.b * y;
        for (int i = 0; i < kLanes && g * kLanes + i < end; ++i) {
          const Number n = numbers[g * kLanes + i];
          c.sum[n] = x.v[i];
          c.again[again] = n;
          again += !(ok >> i & 1);
        }
      }
    });
  }
  return again;
}

// sum = PG(part, z) for the numbers of a list.
void add_saddle(Chunk& c, const Number* list, int count, const SaddleEnvelope<P>* shared) {
  int again = try_saddle(c, list, count, 0, shared);
  for (uint32_t attempt = 1; again > 0; ++attempt) again = try_saddle(c, c.again, again, attempt, shared);
}

// All draws have the b of the plan, and if `one_z` one z.
void draw_equal(Chunk& c, const PolyaGammaPlan& plan, bool one_z, int count) {
  int proposals = 0, others = 0;
  for (int i = 0; i < count; ++i) others += c.z[i] < plan.proposal_from;
  proposals = count - others;
  const bool mixed = others > 0 && proposals > 0;
  if (mixed) {
    others = proposals = 0;
    for (int i = 0; i < count; ++i) {
      const bool proposal = c.z[i] >= plan.proposal_from;
      c.proposals[proposals] = c.others[others] = Number(i);
      proposals += proposal;
      others += !proposal;
    }
  }
  const auto set_part = [&](double b) {
    for (int i = 0; i < count + kStep; ++i) c.part[i] = b;
  };
  if (proposals > 0) {
    set_part(plan.b);
    add_proposals(c, mixed ? c.proposals : nullptr, proposals);
  }
  if (others == 0) return;
  const Number* list = mixed ? c.others : nullptr;
  if (plan.normal) {
    for (int i = 0; i < others; ++i) {
      const int n = list ? list[i] : i;
      c.sum[n] = polya_gamma_normal(plan.b, c.z[n], c.seed, c.first + n);
    }
  } else if (plan.saddle) {
    set_part(plan.b);
    SaddleEnvelope<P> shared;
    if (one_z) shared = SaddleEnvelope<P>(PackCells{c.tables}, P(plan.b), P(c.z[0]));
    add_saddle(c, list, others, one_z ? &shared : nullptr);
  } else {
    if (plan.rest > 0.0) {
      set_part(plan.rest);
      add_proposals(c, list, others);
    }
    for (int term = 0; term < plan.terms; ++term) add_strips(c, list, others, term);
  }
}

// Every draw has its own b.
template <class T>
void draw_unequal(Chunk& c, const T* b, int64_t period, int64_t at, int count) {
  PolyaGammaPlan plan;
  int proposals = 0, strips = 0, saddles = 0, most = 0;
  for (int i = 0; i < count; ++i) {
    if (double(b[at]) != plan.b) plan = PolyaGammaPlan(double(b[at]));
    at = at + 1 < period ? at + 1 : 0;
    const bool proposal = c.z[i] >= plan.proposal_from, below = !proposal;
    c.part[i] = proposal || plan.saddle ? plan.b : plan.rest;
    c.terms[i] = Number(plan.terms);
    c.proposals[proposals] = c.others[strips] = c.saddles[saddles] = Number(i);
    proposals += proposal || plan.rest > 0.0;
    strips += below && plan.terms > 0;
    saddles += below && plan.saddle;
    most = below && plan.terms > most ? plan.terms : most;
    if (below && plan.normal) c.sum[i] = polya_gamma_normal(plan.b, c.z[i], c.seed, c.first + i);
  }
  if (proposals > 0) add_proposals(c, c.proposals, proposals);
  if (saddles > 0) add_saddle(c, c.saddles, saddles, nullptr);
  for (int term = 0; term < most; ++term) {
    add_strips(c, c.others, strips, term);
    int left = 0;
    for (int i = 0; i < strips; ++i) {
      c.others[left] = c.others[i];
      left += c.terms[c.others[i]] > term + 1;
    }
    strips = left;
  }
}

// out[j] = |x[(at + j) % period]|, j < count.
template <class T>
void copy_sizes(const T* x, int64_t period, int64_t at, int count, double* out) {
  if (period == 1) {
    for (int j = 0; j < count; ++j) out[j] = fabs(double(x[0]));
    return;
  }
  for (int j = 0; j < count; at = 0) {
    const int run = int(period - at < count - j ? period - at : count - j);
    for (int i = 0; i < run; ++i) out[j + i] = fabs(double(x[at + i]));
    j += run;
  }
}

}  // namespace

template <class T>
void fill_polya_gamma(const PolyaGammaTask<T>& task, int64_t begin, int64_t end, T* out) {
  Chunk c{*task.tables, task.seed, 0, {}, {}, {}, {}, {}, {}, {}, {}};
  const PolyaGammaPlan plan(double(task.b[0]));
  for (int64_t start = begin; start < end; start += kChunk) {
    const int count = int(end - start < kChunk ? end - start : kChunk);
    c.first = uint64_t(task.start + start);
    copy_sizes(task.z, task.z_period, start % task.z_period, count, c.z);
    for (int i = 0; i < kStep; ++i) c.z[count + i] = 0.0;
    for (int i = 0; i < count + kStep; ++i) c.sum[i] = 0.0;
    if (task.b_period == 1) {
      draw_equal(c, plan, task.z_period == 1, count);
    } else {
      draw_unequal(c, task.b, task.b_period, start % task.b_period, count);
    }
    for (int i = 0; i < count; ++i) out[start - begin + i] = T(c.sum[i]);
  }
}

template void fill_polya_gamma<double>(const PolyaGammaTask<double>&, int64_t, int64_t, double*);
template void fill_polya_gamma<float>(const PolyaGammaTask<float>&, int64_t, int64_t, float*);

}  // namespace lvm::cpu::LVM_ARCH

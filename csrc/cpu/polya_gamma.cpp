// Polya-gamma draws in packs: the first attempt of every part of a draw, where it is accepted at once. The few others
// are made by the scalar functions of csrc/core/polya_gamma.hpp, from the beginning; so a draw does not depend on its
// neighbours.
#include "core/polya_gamma.hpp"
#include "cpu/arch.hpp"
#include "cpu/philox_lanes.hpp"
#include "cpu/tasks.hpp"

namespace lvm::cpu::LVM_ARCH {
namespace {

using P = Pack<double>;
using V = P::V;
using Mask = P::VI;

constexpr int kLanes = kWidth<double>;
constexpr int kGroups = 4;
constexpr int kStep = kLanes * kGroups;  // draws that are worked on at a time
constexpr int kChunk = 256;

__attribute__((noinline)) double strips_alone(const PolyaGammaTables& tables, double z, uint64_t seed,
                                              uint64_t element, int term) {
  return polya_gamma_strips(tables, z, seed, element, term);
}
__attribute__((noinline)) double remainder_alone(double b, double z, uint64_t seed, uint64_t element) {
  return polya_gamma_remainder(b, z, seed, element);
}

// A few hundred draws on their way.
struct Chunk {
  const PolyaGammaTables& tables;
  uint64_t seed, first;        // the element of number 0
  double z[kChunk];            // >= 0
  double part[kChunk];         // b of a proposal
  double sum[kChunk];          // what the parts have come to
  int16_t terms[kChunk];       // strips to add
  int16_t proposals[kChunk], strips[kChunk];  // the numbers that need one
};

// kStep numbers of a list, the last again where it ends.
struct Step {
  int16_t number[kStep];
  Lanes block[kGroups];
  P z[kGroups];

  LVM_HD Step(const Chunk& c, const int16_t* list, int begin, int count) {
    for (int i = 0; i < kStep; ++i) number[i] = list[begin + i < count ? begin + i : count - 1];
    for (int g = 0; g < kGroups; ++g) {
      for (int i = 0; i < kLanes; ++i) {
        block[g][i] = c.first + uint64_t(number[g * kLanes + i]);
        z[g].v[i] = c.z[number[g * kLanes + i]];
      }
    }
  }
};

// sum += PG(1, z) for the numbers of a list.
void add_strips(Chunk& c, const int16_t* list, int count, int term) {
  const Stream stream(c.seed, strip_stream(term));
  for (int begin = 0; begin < count; begin += kStep) {
    const Step step(c, list, begin, count);
    Blocks words[kGroups];
    philox(stream, step.block, words);
    alignas(64) double x[kStep];
    alignas(64) int64_t accepted[kStep];
    for (int g = 0; g < kGroups; ++g) {
      const Mask tilt = __builtin_convertvector(step.z[g].v * double(kTiltsPerUnit), Mask);
      const Mask row = tilt * kStrips + (Mask)(words[g].w[0] & uint64_t(kStrips - 1));
      const V at = __builtin_convertvector(tilt, V) * (1.0 / kTiltsPerUnit);
      V left, width, ratio;
      for (int i = 0; i < kLanes; ++i) {
        const Strip& strip = c.tables.strips[0][row[i]];
        left[i] = strip.left;
        width[i] = strip.width;
        ratio[i] = strip.ratio;
      }
      const V u = unit_of_lanes(words[g].w[0], words[g].w[1]).v, v = unit_of_lanes(words[g].w[2], words[g].w[3]).v;
      const V place = left + width * u;
      const V lost = (step.z[g].v - at) * (step.z[g].v + at) * 0.5 * place;
      const Mask ok = v <= ratio * (1.0 - lost);
      memcpy(x + g * kLanes, &place, sizeof(V));
      memcpy(accepted + g * kLanes, &ok, sizeof(V));
    }
    const int end = count - begin < kStep ? count - begin : kStep;
    for (int i = 0; i < end; ++i) {
      const int n = step.number[i];
      c.sum[n] += accepted[i] ? x[i] : strips_alone(c.tables, c.z[n], c.seed, c.first + n, term);
    }
  }
}

// sum = PG(part, z) by a proposal for the numbers of a list.
void add_proposals(Chunk& c, const int16_t* list, int count) {
  const Stream stream(c.seed, kProposalStream);
  for (int begin = 0; begin < count; begin += kStep) {
    const Step step(c, list, begin, count);
    Blocks words[kGroups], more[kGroups];
    philox(stream, step.block, words);
    philox(stream, step.block, more, 1);
    alignas(64) double x[kStep];
    alignas(64) int64_t accepted[kStep];
    for (int g = 0; g < kGroups; ++g) {
      P b, sine, cosine, small, ratio;
      for (int i = 0; i < kLanes; ++i) b.v[i] = c.part[step.number[g * kLanes + i]];
      sincospi_(unit_of_lanes(words[g].w[2], words[g].w[3]), sine, cosine);
      const P chi_square = P(-2.0) * log_(unit_of_lanes(words[g].w[0], words[g].w[1])) * cosine * cosine;
      inverse_gaussian_roots(b, step.z[g], chi_square, small, ratio);
      const V choice = unit_of_lanes(more[g].w[0], more[g].w[1]).v, v = unit_of_lanes(more[g].w[2], more[g].w[3]).v;
      const V place = choice * (ratio.v + 1.0) <= 1.0 ? small.v : small.v / (ratio.v * ratio.v);
      const Mask ok = v <= 1.0 - (b.v + 2.0) * exp_(P((b.v + 1.0) * -0.5 / place)).v;
      memcpy(x + g * kLanes, &place, sizeof(V));
      memcpy(accepted + g * kLanes, &ok, sizeof(V));
    }
    const int end = count - begin < kStep ? count - begin : kStep;
    for (int i = 0; i < end; ++i) {
      const int n = step.number[i];
      c.sum[n] = accepted[i] ? x[i] : remainder_alone(c.part[n], c.z[n], c.seed, c.first + n);
    }
  }
}

}  // namespace

template <class T>
void fill_polya_gamma(const PolyaGammaTask<T>& task, int64_t begin, int64_t end, T* out) {
  Chunk c = {*task.tables, task.seed, 0, {}, {}, {}, {}, {}, {}};
  SaddleEnvelope envelope;  // of the b and z of the last draw that needed one
  double envelope_b = 0, envelope_z = 0;
  int64_t b_at = begin % task.b_period, z_at = begin % task.z_period;
  for (int64_t start = begin; start < end; start += kChunk) {
    const int count = int(end - start < kChunk ? end - start : kChunk);
    c.first = uint64_t(task.start + start);
    int proposals = 0, strips = 0, most = 0;
    for (int i = 0; i < count; ++i) {
      const double b = double(task.b[b_at]), z = fabs(double(task.z[z_at]));
      b_at = b_at + 1 < task.b_period ? b_at + 1 : 0;
      z_at = z_at + 1 < task.z_period ? z_at + 1 : 0;
      c.z[i] = z;
      c.sum[i] = 0.0;
      switch (polya_gamma_way(b, z)) {
        case PolyaGammaWay::strips: {
          const int terms = int(b);
          c.terms[i] = int16_t(terms);
          c.strips[strips++] = int16_t(i);
          most = terms > most ? terms : most;
          if (b > terms) {
            c.part[i] = b - terms;
            c.proposals[proposals++] = int16_t(i);
          }
          break;
        }
        case PolyaGammaWay::proposal:
          c.part[i] = b;
          c.proposals[proposals++] = int16_t(i);
          break;
        case PolyaGammaWay::saddle:
          if (b != envelope_b || z != envelope_z) {
            envelope = SaddleEnvelope(c.tables, b, z);
            envelope_b = b;
            envelope_z = z;
          }
          c.sum[i] = envelope.draw(c.tables, c.seed, c.first + i);
          break;
        case PolyaGammaWay::normal: c.sum[i] = polya_gamma_normal(b, z, c.seed, c.first + i); break;
      }
    }
    if (proposals > 0) add_proposals(c, c.proposals, proposals);
    for (int term = 0; term < most; ++term) {
      if (strips > 0) add_strips(c, c.strips, strips, term);
      int left = 0;
      for (int i = 0; i < strips; ++i) {
        c.strips[left] = c.strips[i];
        left += c.terms[c.strips[i]] > term + 1;
      }
      strips = left;
    }
    for (int i = 0; i < count; ++i) out[start - begin + i] = T(c.sum[i]);
  }
}

template void fill_polya_gamma<double>(const PolyaGammaTask<double>&, int64_t, int64_t, double*);
template void fill_polya_gamma<float>(const PolyaGammaTask<float>&, int64_t, int64_t, float*);

}  // namespace lvm::cpu::LVM_ARCH

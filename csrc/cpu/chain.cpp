// Chains of bijectors: blocks of points go through a whole program in the first cache, number j of all of them side by side.
#include "cpu/arch.hpp"
#include "cpu/chain_packs.hpp"
#include "cpu/chain_tasks.hpp"

namespace lvm::cpu::LVM_ARCH {
namespace {

constexpr int64_t kMostPacks = 64;    // of points in a block
constexpr int64_t kTilePacks = 512;   // of numbers in a block

LVM_HD int64_t packs_of(int64_t d) { return kTilePacks / d < kMostPacks ? kTilePacks / d : kMostPacks; }

// A block: x (d, packs) and the log-det of every pack of points.
template <class T>
struct Block {
  int64_t d, packs;  // in use, of `stride`
  int64_t stride;
  Pack<T>*x, *log_det;
  bool fresh;        // no log-det yet
  const T* source;   // where x is before the first step, if not in x

  LVM_HD Block(int64_t d, void* scratch)
      : d(d), packs(0), stride(packs_of(d)), x(static_cast<Pack<T>*>(scratch)), log_det(x + d * stride), fresh(true), source() {}
  LVM_HD T* row(int64_t j) const { return reinterpret_cast<T*>(x + j * stride); }
};

// D: d where it is known, else 0.
template <int D, class T>
void load_points(const Block<T>& b, const T* in, int64_t n) {
  const int64_t d = D ? D : b.d, whole = b.packs * Pack<T>::W;
  for (int64_t j = 0; j < d; ++j) {
    T* row = b.row(j);
    for (int64_t i = 0; i < n; ++i) row[i] = in[i * d + j];
    for (int64_t i = n; i < whole; ++i) row[i] = T(0);
  }
}
template <int D, class T>
void store_points(const Block<T>& b, T* out, int64_t n) {
  const int64_t d = D ? D : b.d;
  for (int64_t j = 0; j < d; ++j) {
    const T* row = b.row(j);
    for (int64_t i = 0; i < n; ++i) out[i * d + j] = row[i];
  }
}

// The end of a program of numbers on a normal base, where the last map goes on to it: no pass of its own.
template <class T>
struct NormalEnd {
  Pack<T> shift, factor, constant;
  typename Pack<T>::VI lost;

  LVM_HD explicit NormalEnd(const ChainProgram& p) : constant(p.constant), lost{} {
    if (p.base != ChainBase::normal) return;
    shift = Pack<T>(p.numbers[p.base_at]);
    factor = Pack<T>(p.numbers[p.base_at + p.base_count]);
  }
  LVM_HD Pack<T> operator()(Pack<T> x, Pack<T> log_det) {
    const Pack<T> z = (x - shift) * factor, value = (log_det + constant) - Pack<T>(0.5) * (z * z);
    lost |= value.v != value.v;
    return value;
  }
};

// One map of numbers with the parameters of a row of them.
template <ChainOp op, bool inverse, bool fresh, bool last, class T>
void map_row(const Block<T>& b, int64_t j, const double* numbers, int64_t count, NormalEnd<T>* end) {
  using P = Pack<T>;
  constexpr bool plain = op == ChainOp::shift || op == ChainOp::scale || op == ChainOp::standardise;  // no slope
  P a[3], *x = b.x + j * b.stride;
  for (int64_t c = 0; c < parameters_of(op); ++c) a[c] = P(numbers[c * count]);
  const T* from = b.source ? b.source : b.row(j);
  NormalEnd<T> here = *end;
  for (int64_t k = 0; k < b.packs; ++k) {
    const P given = P::load(from + k * P::W);
    P slope, value;
    if constexpr (kHasMargin<op, inverse>) {
      if (all_normal(margin<op, inverse>(given, a))) {
        value = mapped<op, inverse, true>(given, a, slope);
      } else {
        value = mapped<op, inverse, false>(given, a, slope);
      }
    } else {
      value = mapped<op, inverse, false>(given, a, slope);
    }
    if constexpr (last) {
      x[k] = here(value, fresh ? slope : b.log_det[k] + slope);  // not where it goes: that may lie like what is read next
      continue;
    }
    x[k] = value;
    if constexpr (fresh) {
      b.log_det[k] = slope;
    } else if constexpr (!plain) {
      b.log_det[k] += slope;
    }
  }
  if constexpr (last) end->lost = here.lost;
}

template <bool inverse, bool last, class T>
void run_step(const ChainProgram& p, int64_t s, Block<T>& b, NormalEnd<T>* end) {
  const bool done = with_map<inverse>(p.op(s), [&](auto step) LVM_INLINE {
    constexpr ChainOp op = decltype(step)::kOp;
    for (int64_t j = 0; j < b.d; ++j) {
      const int64_t count = p.count[s];
      const double* numbers = p.numbers + p.at[s] + (count == 1 ? 0 : j);
      if (b.fresh) {
        map_row<op, inverse, true, last>(b, j, numbers, count, end);
      } else {
        map_row<op, inverse, false, last>(b, j, numbers, count, end);
      }
      b.fresh = false;
    }
  });
  b.source = nullptr;
  if (done) return;
  for (int64_t k = 0; b.fresh && k < b.packs; ++k) b.log_det[k] = Pack<T>();
  b.fresh = false;
  for (int64_t k = 0; k < b.packs; ++k) {
    const auto at = [&](int64_t j) LVM_INLINE -> Pack<T>& { return b.x[j * b.stride + k]; };
    vector_step<inverse>(p, s, at, b.log_det[k]);
  }
}

// What is not a number, if there is one: see ChainPoints::lost.
template <class T>
void mend(const ChainPoints<T>& t, typename Pack<T>::VI lost, int64_t first, int64_t n) {
  bool any = false;
  for (int i = 0; i < Pack<T>::W; ++i) any = any || lost[i] != 0;
  for (int64_t i = first; any && i < first + n; ++i) {
    if (t.log_det[i] != t.log_det[i]) t.log_det[i] = t.lost(i);
  }
}

// Log-dets, or with a base the logarithms of densities, of n points.
template <class T>
void finish(const ChainPoints<T>& t, const Block<T>& b, int64_t first, int64_t n) {
  using P = Pack<T>;
  const ChainProgram& p = t.program;
  const bool density = p.base != ChainBase::none;
  typename P::VI lost{};
  for (int64_t k = 0; k < b.packs; ++k) {
    const auto at = [&](int64_t j) LVM_INLINE -> P& { return b.x[j * b.stride + k]; };
    const P sum = b.fresh ? P() : b.log_det[k], value = density ? finished(p, at, sum) : sum + P(p.constant);
    lost |= value.v != value.v;
    T* to = t.log_det + first + k * P::W;
    (k + 1) * P::W <= n ? value.store(to) : value.store_first(to, n - k * P::W);
  }
  if (density) mend(t, lost, first, n);
}

template <class T>
void points(const ChainPoints<T>& t, int64_t begin, int64_t end, void* scratch) {
  constexpr int64_t W = Pack<T>::W;
  const ChainProgram& p = t.program;
  const int64_t d = p.d;
  Block<T> b(d, scratch);
  for (int64_t i = begin; i < end; i += b.stride * W) {
    const int64_t n = end - i < b.stride * W ? end - i : b.stride * W;
    const T* in = t.in + i * d;
    b.packs = (n + W - 1) / W;
    b.fresh = true;
    b.source = d == 1 && n % W == 0 && p.steps > 0 && p.op(0) < ChainOp::tril ? in : nullptr;
    if (!b.source) d == 1 ? load_points<1>(b, in, n) : d == 2 ? load_points<2>(b, in, n) : load_points<0>(b, in, n);
    NormalEnd<T> end(p);
    const bool short_end = d == 1 && n % W == 0 && t.log_det && !t.out && p.base == ChainBase::normal && p.steps > 0 &&
                           p.op(p.steps - 1) < ChainOp::tril;
    for (int64_t s = 0; s < p.steps - short_end; ++s) {
      p.inverse(s) ? run_step<true, false>(p, s, b, &end) : run_step<false, false>(p, s, b, &end);
    }
    if (short_end) {
      p.inverse(p.steps - 1) ? run_step<true, true>(p, p.steps - 1, b, &end) : run_step<false, true>(p, p.steps - 1, b, &end);
      memcpy(t.log_det + i, b.x, n * sizeof(T));
      mend(t, end.lost, i, n);
      continue;
    }
    if (T* out = t.out ? t.out + i * d : nullptr) {
      d == 1 ? store_points<1>(b, out, n) : d == 2 ? store_points<2>(b, out, n) : store_points<0>(b, out, n);
    }
    if (t.log_det) finish(t, b, i, n);
  }
}

template <class T>
int64_t scratch_bytes(int64_t d) {
  return (d + 1) * packs_of(d) * int64_t(sizeof(Pack<T>));
}

}  // namespace

const ChainFunctions<double> chain_f64 = {points<double>, scratch_bytes<double>};
const ChainFunctions<float> chain_f32 = {points<float>, scratch_bytes<float>};

}  // namespace lvm::cpu::LVM_ARCH

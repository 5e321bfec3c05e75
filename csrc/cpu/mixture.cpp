// Mixtures of spherical normal distributions: the terms of a point stand in the first cache, in packs of centres.
#include "cpu/mixture_tasks.hpp"

#include "cpu/arch.hpp"
#include "cpu/pack_math.hpp"

namespace lvm::cpu::LVM_ARCH {
namespace {

// D: the number of features where it is known, else 0.
template <int D, class T>
struct PointOfMixture {
  using P = Pack<T>;
  static constexpr int64_t kMost = D ? D : kMixtureFeatures;
  const T* centres;
  int64_t d, stride;
  P x[kMost];

  LVM_HD PointOfMixture(const MixtureTask<T>& task, int64_t i) : centres(task.centres), d(D ? D : task.d), stride(task.stride) {
    for (int64_t j = 0; j < d; ++j) x[j] = P(task.x[i * d + j]);
  }
  LVM_HD P difference(int64_t j, int64_t k) const { return x[j] - P::load(centres + j * stride + k); }
  LVM_HD P half_distance(int64_t k) const {
    P e = difference(0, k), sum = e * e;
    for (int64_t j = 1; j < d; ++j) {
      e = difference(j, k);
      sum += e * e;
    }
    return P(T(0.5)) * sum;
  }
};

// Half the squared distances of a point whose products with the centres are known.
template <class T>
struct ProductsOfPoint {
  using P = Pack<T>;
  const MixtureTask<T>& task;
  const T *squares, *products;
  int64_t i;
  P half;

  LVM_HD ProductsOfPoint(const MixtureTask<T>& task, int64_t i)
      : task(task), squares(task.squares), products(task.products + i * task.stride), i(i) {
    double sum = 0;
    for (int64_t j = 0; j < task.d; ++j) sum += double(task.x[i * task.d + j]) * double(task.x[i * task.d + j]);
    half = P(static_cast<T>(0.5 * sum));
  }
  LVM_HD P half_distance(int64_t k) const {
    const P both = half + P::load(squares + k);
    P distance = both - P::load(products + k);
    const P least = P(kMixtureShare<T>) * both;
    if (!all_lanes_<T>(distance.v >= least.v)) {
      for (int c = 0; c < P::W; ++c) {
        if (distance.v[c] < least.v[c]) distance.v[c] = half_distance_by_differences(task, i, k + c);
      }
    }
    return distance;
  }
};

template <class T>
LVM_HD T largest(Pack<T> x) {
  T most = x.v[0];
  for (int i = 1; i < Pack<T>::W; ++i) most = x.v[i] > most ? x.v[i] : most;
  return most;
}

constexpr int64_t kTogether = 16;  // a multiple of all widths, of which all strides are multiples

// terms[k] = log_weights_k - distance; the largest. Packs side by side have largest ones of their own: a chain of comparisons
// would be most of the time.
template <class Point, class T>
LVM_HD T fill_terms(const Point& point, int64_t stride, const T* log_weights, T* terms) {
  using P = Pack<T>;
  constexpr int kPacks = kTogether / P::W;
  P most[kPacks];
  for (P& one : most) one = P(-T(INFINITY));
  for (int64_t k = 0; k < stride; k += kTogether) {
    unroll<kPacks>([&](auto p) LVM_INLINE {
      const int64_t at = k + p * P::W;
      const P l = P::load(log_weights + at) - point.half_distance(at);
      l.store(terms + at);
      most[p] = max_(most[p], l);
    });
  }
  for (int p = 1; p < kPacks; ++p) most[0] = max_(most[0], most[p]);
  return largest(most[0]);
}

// exp(x) for x <= 0, where it is a normal number; below it is some number that is smaller than any of these.
template <class T>
LVM_HD Pack<T> exp_of_negative(Pack<T> x) {
  using C = ExpConstants<T>;
  using V = typename Pack<T>::V;
  using VI = typename Pack<T>::VI;
  constexpr T lowest = sizeof(T) == 8 ? T(-707) : T(-86);
  x = clamp_(x, Pack<T>(lowest), Pack<T>());
  const V shifted = x.v * T(1.4426950408889634074) + C::magic;
  const V n = shifted - C::magic;
  V r = x.v - n * C::ln2_high;
  r = r - n * C::ln2_low;
  V p = V{} + T(C::q[C::degree]);
  unroll<C::degree>([&](auto k) LVM_INLINE { p = p * r + T(C::q[C::degree - 1 - k]); });
  p = (p * (r * r) + r) + T(1);
  VI bits, exponent;
  memcpy(&bits, &p, sizeof(V));
  memcpy(&exponent, &shifted, sizeof(V));
  bits += exponent << C::mantissa;  // what is there of the magic number is shifted out
  memcpy(&p, &bits, sizeof(V));
  return Pack<T>(p);
}

// The sum of exp(terms - most). keep: these take the place of terms; else packs that are below `least` together are left out.
template <bool keep, class T>
double sum_terms(int64_t stride, T most, T least, T* terms) {
  using P = Pack<T>;
  constexpr int64_t kChunk = 32 * P::W;  // float sums that are short
  const P top(most), lowest(least);
  double sum = 0;
  for (int64_t first = 0; first < stride; first += kChunk) {
    const int64_t end = first + kChunk < stride ? first + kChunk : stride;
    P part;
    for (int64_t k = first; k < end; k += P::W) {
      const P l = P::load(terms + k) - top;
      if constexpr (keep) {
        const P e = exp_(l);
        e.store(terms + k);
        part += e;
      } else if (!all_lanes_<T>(l.v < lowest.v)) {
        part += exp_of_negative(l);
      }
    }
    sum += part.sum();
  }
  return sum;
}

// What weights add to gradients.
template <int D, class T>
void pull_point(const PointOfMixture<D, T>& point, const T* weights, int64_t i, const MixturePull<T>& pull) {
  using P = Pack<T>;
  const int64_t d = point.d, stride = point.stride;
  P by_x[PointOfMixture<D, T>::kMost];
  T* totals = pull.sums ? pull.sums + d * stride : nullptr;
  for (int64_t k = 0; k < stride; k += P::W) {
    const P w = P::load(weights + k);
    if (totals) (P::load(totals + k) + w).store(totals + k);
    for (int64_t j = 0; j < d; ++j) {
      const P moved = w * point.difference(j, k);
      by_x[j] += moved;
      T* to = pull.sums + j * stride + k;
      if (totals) (P::load(to) + moved).store(to);
    }
  }
  for (int64_t j = 0; pull.d_x && j < d; ++j) pull.d_x[i * d + j] = static_cast<T>(-by_x[j].sum());
}

// Terms to weights: times cotangent / sum.
template <class T>
void scale_terms(int64_t stride, T factor, T* terms) {
  using P = Pack<T>;
  const P by(factor);
  for (int64_t k = 0; k < stride; k += P::W) (by * P::load(terms + k)).store(terms + k);
}

template <class Point, class T>
void mixture_points(const MixtureTask<T>& task, const MixtureResults<T>& results, const MixturePull<T>& pull, int64_t begin,
                    int64_t end, T* scratch) {
  constexpr bool known = !std::is_same_v<Point, ProductsOfPoint<T>>;
  const bool keep = results.weights || pull.d_x || pull.sums;
  // A sum's rounding is more than all terms below together.
  const T least = static_cast<T>((sizeof(T) == 8 ? -37.0 : -17.0) - lvm::log_(double(task.m)));
  for (int64_t i = begin; i < end; ++i) {
    const Point point(task, i);
    T* terms = known ? scratch : task.products + i * task.stride;
    const T most = fill_terms(point, task.stride, task.log_weights, terms);
    const bool reached = most > -T(INFINITY);
    double sum = 1;
    if (!reached) {
      for (int64_t k = 0; k < task.stride; ++k) terms[k] = T(0);
    } else {
      sum = keep ? sum_terms<true>(task.stride, most, least, terms) : sum_terms<false>(task.stride, most, least, terms);
    }
    results.log_p[i] = reached ? most + static_cast<T>(lvm::log_(sum)) : most;
    if (!keep) continue;
    const double g = results.cotangent ? static_cast<double>(results.cotangent[i]) : 1.0;
    scale_terms(task.stride, static_cast<T>(g / sum), terms);
    T* to = results.weights ? results.weights + i * results.weights_stride : terms;
    if (to != terms) memcpy(to, terms, task.m * sizeof(T));
    if constexpr (known) {
      if (pull.d_x || pull.sums) pull_point(point, terms, i, pull);
    }
  }
}

template <class T>
void mixture_rows(const MixtureTask<T>& task, const MixtureResults<T>& results, const MixturePull<T>& pull, int64_t begin,
                  int64_t end, T* scratch) {
  const auto of = [&](auto* points) { points(task, results, pull, begin, end, scratch); };
  if (task.products) return of(mixture_points<ProductsOfPoint<T>, T>);
  if (task.d == 1) return of(mixture_points<PointOfMixture<1, T>, T>);
  if (task.d == 2) return of(mixture_points<PointOfMixture<2, T>, T>);
  if (task.d == 3) return of(mixture_points<PointOfMixture<3, T>, T>);
  of(mixture_points<PointOfMixture<0, T>, T>);
}

template <class T>
LVM_HD Pack<T> logarithm(Pack<T> x, Pack<T> shift, Pack<T> least) {
  const auto large = x.v >= least.v;
  const Pack<T> known(large ? x.v : least.v), result = log_(known) + shift;
  return Pack<T>(large ? result.v : Pack<T>(T(NAN)).v);
}

template <class T>
void logarithms(T shift, const T* shifts, T least, T* x, int64_t n) {
  using P = Pack<T>;
  const P added(shift), lowest(least);
  int64_t i = 0;
  for (; i + P::W <= n; i += P::W) logarithm(P::load(x + i), added + P::load(shifts + i), lowest).store(x + i);
  if (i == n) return;
  T last[P::W] = {}, of[P::W] = {};
  for (int64_t c = i; c < n; ++c) {
    last[c - i] = x[c];
    of[c - i] = shifts[c];
  }
  logarithm(P::load(last), added + P::load(of), lowest).store_first(x + i, n - i);
}

}  // namespace

const MixtureFunctions<double> mixture_f64 = {mixture_rows<double>, logarithms<double>};
const MixtureFunctions<float> mixture_f32 = {mixture_rows<float>, logarithms<float>};

}  // namespace lvm::cpu::LVM_ARCH

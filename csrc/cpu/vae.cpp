// The terms of a decoder's rows and their cotangents, in packs along the features.
#include "cpu/arch.hpp"
#include "cpu/network_tiles.hpp"

namespace lvm::cpu::LVM_ARCH {
namespace {

constexpr int64_t kRun = 32;  // packs that are added before the sum goes to double

// The sum over i < n of f(i, count), packs of values of which `count` hold.
template <class T, class F>
LVM_HD double sum_of(int64_t n, const F& f) {
  using P = Pack<T>;
  double total = 0;
  int64_t i = 0;
  while (i + P::W <= n) {
    P sum;
    const int64_t end = least(n - P::W + 1, i + kRun * P::W);
    for (; i < end; i += P::W) sum += f(i, int64_t(P::W));
    total += sum.sum();
  }
  if (i < n) {
    const P last = f(i, n - i);
    for (int64_t c = 0; c < n - i; ++c) total += double(last.v[c]);
  }
  return total;
}

template <class T>
LVM_HD double bernoulli_row(const DecoderTerms<T>& t, int64_t r) {
  using P = Pack<T>;
  const T *x = t.x + t.data(r), *a = t.first + r * t.features;
  T* d = t.d_first ? t.d_first + r * t.features : nullptr;
  const P scale(t.scale);
  return sum_of<T>(t.features, [&](int64_t i, int64_t count) LVM_INLINE {
    P slope;
    const P value = bernoulli_term(load_some(x + i, count), load_some(a + i, count), slope);
    if (d) store_some(slope * scale, d + i, count);
    return value;
  });
}

template <class T>
LVM_HD double gaussian_row(const DecoderTerms<T>& t, int64_t r) {
  using P = Pack<T>;
  const int64_t n = t.features;
  const T *x = t.x + t.data(r), *mean = t.first + r * n, *second = t.second ? t.second + r * n : nullptr;
  T *d = t.d_first ? t.d_first + r * n : nullptr, *d_second = d && t.d_second ? t.d_second + r * n : nullptr;
  const P scale(t.scale), low(t.low), high(t.high);
  if (t.by_entry()) {
    return sum_of<T>(n, [&](int64_t i, int64_t count) LVM_INLINE {
      const P given = load_some(second + i, count), v = clamped(given, low, high);
      P slope, square;
      const P value = gaussian_term(load_some(x + i, count), load_some(mean + i, count), v, exp_(P(0.0) - v), slope, square);
      if (d) {
        store_some(slope * scale, d + i, count);
        store_some(clamped_slope(given, low, high, P(0.5) * (P(1.0) - square) * scale), d_second + i, count);
      }
      return value;
    });
  }
  if (t.by_row()) {
    const double given = sum_of<T>(n, [&](int64_t i, int64_t count) LVM_INLINE { return load_some(second + i, count); }) / double(n);
    const P v = clamped(P(given), low, high), precision = exp_(P(0.0) - v);
    const double values = sum_of<T>(n, [&](int64_t i, int64_t count) LVM_INLINE {
      P slope, square;
      const P value = gaussian_term(load_some(x + i, count), load_some(mean + i, count), v, precision, slope, square);
      if (d) store_some(slope * scale, d + i, count);
      return value;
    });
    if (d) {  // the slope by v is (n - sum of squares) / 2 = n/2 + values + n/2 (v + log 2 pi)
      const double by_v = 0.5 * double(n) * (1.0 + double(v.v[0]) + kLogTwoPi) + values;
      const P share = P(clamped_slope(given, t.low, t.high, by_v) * t.scale / double(n));
      for (int64_t i = 0; i < n; i += P::W) store_some(share, d_second + i, n - i);
    }
    return values;
  }
  return sum_of<T>(n, [&](int64_t i, int64_t count) LVM_INLINE {
    P slope, square;
    const P value = gaussian_term(load_some(x + i, count), load_some(mean + i, count), load_some(t.v + i, count),
                                  load_some(t.precision + i, count), slope, square);
    if (d) store_some(slope * scale, d + i, count);
    return value;
  });
}

template <class T>
LVM_HD double categorical_row(const DecoderTerms<T>& t, int64_t r) {
  using P = Pack<T>;
  const int64_t classes = t.classes;
  double total = 0;
  for (int64_t j = 0; j < t.features; j += classes) {
    const T *x = t.x + t.data(r) + j, *a = t.first + r * t.features + j;
    T most = a[0], weight = 0;
    for (int64_t c = 0; c < classes; ++c) {
      most = a[c] > most || a[c] != a[c] ? a[c] : most;
      weight += x[c];
    }
    const P top(most);
    const double sum = sum_of<T>(classes, [&](int64_t i, int64_t count) LVM_INLINE { return exp_(load_some(a + i, count) - top); });
    const double log_sum = ::log(sum);
    for (int64_t c = 0; c < classes; ++c) {
      if (x[c] != T(0)) total += double(x[c]) * (double(a[c] - most) - log_sum);
    }
    if (!t.d_first) continue;
    T* d = t.d_first + r * t.features + j;
    const P share(double(weight) / sum), scale(t.scale);
    for (int64_t i = 0; i < classes; i += P::W) {
      const int64_t count = classes - i;
      store_some((share * exp_(load_some(a + i, count) - top) - load_some(x + i, count)) * scale, d + i, count);
    }
  }
  return total;
}

}  // namespace

template <class T>
void decoder_terms(const DecoderTerms<T>& t, int64_t begin, int64_t end) {
  for (int64_t r = begin; r < end; ++r) {
    t.value[r] = t.likelihood == RowLikelihood::bernoulli  ? bernoulli_row(t, r)
                 : t.likelihood == RowLikelihood::gaussian ? gaussian_row(t, r)
                                                           : categorical_row(t, r);
  }
}

template <class T>
void add_rows(const T* a, int64_t columns, int64_t begin, int64_t end, double* sums) {
  for (int64_t r = begin; r < end; ++r) {
    for (int64_t j = 0; j < columns; ++j) sums[j] += double(a[r * columns + j]);
  }
}

template <class T>
void add_variance_slopes(const DecoderTerms<T>& t, const double* weight, int64_t begin, int64_t end, double* sums) {
  for (int64_t r = begin; r < end; ++r) {
    const T *x = t.x + t.data(r), *mean = t.first + r * t.features;
    const T w = T(weight ? weight[r] : t.scale);
    for (int64_t j = 0; j < t.features; ++j) {
      const T residual = mean[j] - x[j];
      sums[j] += double(w * T(0.5) * (T(1) - residual * residual * t.precision[j]));
    }
  }
}

template void decoder_terms<double>(const DecoderTerms<double>&, int64_t, int64_t);
template void decoder_terms<float>(const DecoderTerms<float>&, int64_t, int64_t);
template void add_rows<double>(const double*, int64_t, int64_t, int64_t, double*);
template void add_rows<float>(const float*, int64_t, int64_t, int64_t, double*);
template void add_variance_slopes<double>(const DecoderTerms<double>&, const double*, int64_t, int64_t, double*);
template void add_variance_slopes<float>(const DecoderTerms<float>&, const double*, int64_t, int64_t, double*);

}  // namespace lvm::cpu::LVM_ARCH

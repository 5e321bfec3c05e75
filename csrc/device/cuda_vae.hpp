// What a variational autoencoder's decoder asks of the GPU.
#pragma once

#include <cstdint>

#include "device/cuda.hpp"
#include "device/vae_rows.hpp"

namespace lvm {
namespace cuda {

// The part of a row's value that feature i has (categorical: a group of features), and its cotangents; wanted: write them.
template <class T>
struct DecoderEntry {
  DecoderTerms<T> t;
  const double* row_mean;  // of the log variances, where they are averaged over a row
  int64_t wanted;

  LVM_HD double at(int64_t r, int64_t i) const {
    return t.likelihood == RowLikelihood::categorical ? group(r, i) : entry(r, i);
  }
  LVM_HD double operator()(int64_t r, int64_t i) const { return at(r, i); }

 private:
  LVM_HD double entry(int64_t r, int64_t i) const {
    const int64_t at = r * t.features + i;
    const T x = t.x[t.data(r) + i], first = t.first[at];
    T d, square;
    if (t.likelihood == RowLikelihood::bernoulli) {
      const T value = bernoulli_term(x, first, d);
      if (wanted) t.d_first[at] = d * T(t.scale);
      return static_cast<double>(value);
    }
    const T low = T(t.low), high = T(t.high);
    const T given = t.by_entry() ? t.second[at] : t.by_row() ? T(row_mean[r] / static_cast<double>(t.features)) : t.v[i];
    const T v = t.by_entry() || t.by_row() ? clamped(given, low, high) : given;
    const T precision = t.by_entry() || t.by_row() ? exp_(T(0) - v) : t.precision[i];
    const T value = gaussian_term(x, first, v, precision, d, square);
    if (wanted) {
      t.d_first[at] = d * T(t.scale);
      if (t.by_entry()) t.d_second[at] = clamped_slope(given, low, high, T(0.5) * (T(1) - square) * T(t.scale));
    }
    return static_cast<double>(value);
  }
  LVM_HD double group(int64_t r, int64_t i) const {
    const int64_t at = r * t.features + i * t.classes;
    const T *x = t.x + t.data(r) + i * t.classes, *a = t.first + at;
    T most = a[0], weight = 0;
    for (int64_t c = 0; c < t.classes; ++c) {
      most = a[c] > most || a[c] != a[c] ? a[c] : most;
      weight += x[c];
    }
    double sum = 0, value = 0;
    for (int64_t c = 0; c < t.classes; ++c) sum += static_cast<double>(exp_(a[c] - most));
    const double log_sum = log_(sum);
    for (int64_t c = 0; c < t.classes; ++c) {
      if (x[c] != T(0)) value += static_cast<double>(x[c]) * (static_cast<double>(a[c] - most) - log_sum);
      if (wanted) t.d_first[at + c] = (weight * exp_(a[c] - most) / T(sum) - x[c]) * T(t.scale);
    }
    return value;
  }
};

template <class T>
struct RowOfColumns {  // a[w, i], for sums over a row
  const T* a;
  int64_t columns;
  LVM_HD double operator()(int64_t w, int64_t i) const { return static_cast<double>(a[w * columns + i]); }
};
template <class T>
struct ColumnOfRows {
  const T* a;
  int64_t columns;
  LVM_HD double operator()(int64_t w, int64_t i) const { return static_cast<double>(a[i * columns + w]); }
};
// By the mean of a row's log variances: (n - sum of squares) / 2, from the row's value.
template <class T>
struct ShareOfRow {
  DecoderTerms<T> t;
  const double* row_mean;
  LVM_HD void operator()(int64_t index) const {
    const int64_t r = index / t.features;
    const double n = static_cast<double>(t.features), given = row_mean[r] / n;
    const double by_v = 0.5 * n * (1.0 + clamped(given, t.low, t.high) + kLogTwoPi) + t.value[r];
    t.d_second[index] = T(clamped_slope(given, t.low, t.high, by_v) * t.scale / n);
  }
};
template <class T>
struct VarianceSlope {
  DecoderTerms<T> t;
  const double* weight;
  LVM_HD double operator()(int64_t j, int64_t r) const {
    const T residual = t.first[r * t.features + j] - t.x[t.data(r) + j];
    return (weight ? weight[r] : t.scale) * 0.5 * static_cast<double>(T(1) - residual * residual * t.precision[j]);
  }
};
template <class T>
struct ScaleRow {
  const double* weight;
  T* d;
  int64_t columns;
  LVM_HD void operator()(int64_t index) const { d[index] *= T(weight[index / columns]); }
};
template <class T>
struct GatherRow {
  const T* x;
  const int64_t* rows;
  T* out;
  int64_t columns;
  LVM_HD void operator()(int64_t index) const { out[index] = x[rows[index / columns] * columns + index % columns]; }
};
template <class T>
struct JoinRow {
  const T *x, *e;
  T* out;
  int64_t features, samples, stride, more;
  LVM_HD void operator()(int64_t index) const {
    const int64_t r = index / (features + more), k = index % (features + more);
    out[index] = k < features ? x[r / samples * features + k] : e[r * stride + k - features];
  }
};

}  // namespace cuda

template <class T>
struct VaeRows<Cuda, T> {
  static void terms(const DecoderTerms<T>& t, int64_t rows) {
    CudaBuffer<double> means;
    double* row_mean = nullptr;
    if (t.likelihood == RowLikelihood::gaussian && t.by_row()) {
      row_mean = means.reserve(rows);
      Cuda::sums(rows, t.features, cuda::RowOfColumns<T>{t.second, t.features}, row_mean);
    }
    const int64_t parts = t.likelihood == RowLikelihood::categorical ? t.features / t.classes : t.features;
    Cuda::sums(rows, parts, cuda::DecoderEntry<T>{t, row_mean, t.d_first != nullptr}, t.value);
    if (row_mean && t.d_first) Cuda::map(rows * t.features, cuda::ShareOfRow<T>{t, row_mean});
  }
  static void scale_rows(int64_t rows, int64_t columns, const double* weight, T* d) {
    Cuda::map(rows * columns, cuda::ScaleRow<T>{weight, d, columns});
  }
  static void column_sums(int64_t rows, int64_t columns, const T* a, double* out) {
    Cuda::sums(columns, rows, cuda::ColumnOfRows<T>{a, columns}, out);
  }
  static void variance_slopes(const DecoderTerms<T>& t, int64_t rows, const double* weight, double* out) {
    Cuda::sums(t.features, rows, cuda::VarianceSlope<T>{t, weight}, out);
  }
  static void gather(const T* x, const int64_t* rows, int64_t n, int64_t columns, T* out) {
    Cuda::map(n * columns, cuda::GatherRow<T>{x, rows, out, columns});
  }
  static void join(const T* x, int64_t features, int64_t samples, const T* e, int64_t stride, int64_t more, int64_t rows,
                   T* out) {
    Cuda::map(rows * (features + more), cuda::JoinRow<T>{x, e, out, features, samples, stride, more});
  }
};

}  // namespace lvm

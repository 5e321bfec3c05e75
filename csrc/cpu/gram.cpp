// Kernel matrices and their pull-backs, tile by tile; nothing of size (N, N, Q) is ever formed.
//
// Per entry: 3Q flops for the distance and about 20 for the exponential against 8 bytes written, so the
// value is bound by arithmetic up to about four threads and by memory beyond.
#include "cpu/arch.hpp"
#include "cpu/pack.hpp"
#include "cpu/tasks.hpp"

namespace lvm::cpu::LVM_ARCH {
namespace {

// Rows [begin, end) of the kernel matrix, four at a time so that a loaded pack of columns serves four rows.
template <class Kernel, int kQ, class T>
void gram_rows_of(const GramTask<T>& t, int64_t begin, int64_t end) {
  using P = Pack<T>;
  constexpr int kRows = 4;
  const int64_t q_count = kQ ? kQ : t.q;
  const P variance(t.variance);
  for (int64_t i = begin; i < end; i += kRows) {
    const int rows = end - i < kRows ? int(end - i) : kRows;
    const int64_t n = t.lower ? i + rows : t.cols.count;
    for (int64_t j = 0; j < n; j += P::W) {
      P s[kRows];
      for (int64_t q = 0; q < q_count; ++q) {
        const P column = P::load(t.cols.data + q * t.cols.stride + j);
        for (int r = 0; r < kRows; ++r) {
          const P d = P(t.rows.data[q * t.rows.stride + i + r]) - column;
          s[r] += d * d;
        }
      }
      for (int r = 0; r < rows; ++r) {
        const P k = variance * Kernel::value(s[r]);
        T* out = t.out + (i + r) * t.out_stride + j;
        if (j + P::W <= t.cols.count) {
          k.store(out);
        } else {
          k.store_first(out, t.cols.count - j);
        }
      }
    }
  }
}

// S[i, j] for rows [i, i + rows) and columns [j, j + cols) into tile (row length kPullbackTile, zeros
// beyond cols).
template <class T>
void load_cotangent(const PullbackTask<T>& t, int64_t i, int64_t rows, int64_t j, int64_t cols, T* tile) {
  const T* c = t.c;
  const int64_t ld = t.c_stride;
  const bool below = j + cols <= i + 1, above = j >= i + rows - 1;
  Cotangent layout = t.layout;
  if (layout == Cotangent::symmetric_lower && (below || above)) {
    layout = below ? Cotangent::direct : Cotangent::transposed;
  }
  for (int64_t r = 0; r < rows; ++r) {
    T* out = tile + r * kPullbackTile;
    const T* row = c + (i + r) * ld + j;
    if (layout == Cotangent::direct) {
      memcpy(out, row, cols * sizeof(T));
    } else if (layout == Cotangent::symmetric_lower) {
      for (int64_t k = 0; k < cols; ++k) out[k] = j + k <= i + r ? row[k] : c[(j + k) * ld + i + r];
    } else if (layout == Cotangent::symmetric_part) {
      for (int64_t k = 0; k < cols; ++k) out[k] = T(0.5) * row[k];
    }
    for (int64_t k = cols; k < kPullbackTile; ++k) out[k] = T(0);
  }
  if (layout == Cotangent::transposed) {
    for (int64_t k = 0; k < cols; ++k) {
      const T* column = c + (j + k) * ld + i;
      for (int64_t r = 0; r < rows; ++r) tile[r * kPullbackTile + k] = column[r];
    }
  } else if (layout == Cotangent::symmetric_part) {
    for (int64_t k = 0; k < cols; ++k) {
      const T* column = c + (j + k) * ld + i;
      for (int64_t r = 0; r < rows; ++r) tile[r * kPullbackTile + k] += T(0.5) * column[r];
    }
  }
}

template <class Kernel, int kQ, class T>
void pullback_rows_of(const PullbackTask<T>& t, int64_t begin, int64_t end, double* d_lengthscale,
                      double* d_variance) {
  using P = Pack<T>;
  const int64_t q_count = kQ ? kQ : t.q;
  alignas(64) T tile[kPullbackRows * kPullbackTile];
  alignas(64) T weights[kPullbackTile];
  const int64_t rows = end - begin;
  double variance_sum = 0;
  for (int64_t j = 0; j < t.cols.count; j += kPullbackTile) {
    const int64_t cols = t.cols.count - j < kPullbackTile ? t.cols.count - j : kPullbackTile;
    load_cotangent(t, begin, rows, j, cols, tile);
    for (int64_t r = 0; r < rows; ++r) {
      const T* cotangent = tile + r * kPullbackTile;
      const T* row = t.rows.data + begin + r;
      const T* columns = t.cols.data + j;
      double* d_row = t.d_rows + (begin + r) * q_count;
      P value_sum;
      if constexpr (kQ > 0) {
        P row_sum[kQ], square_sum[kQ];
        for (int64_t k = 0; k < cols; k += P::W) {
          P d[kQ], s, value, slope;
          for (int q = 0; q < kQ; ++q) {
            d[q] = P(row[q * t.rows.stride]) - P::load(columns + q * t.cols.stride + k);
            s += d[q] * d[q];
          }
          Kernel::value_and_slope(s, value, slope);
          const P c = P::load(cotangent + k);
          const P w = c * slope;
          value_sum += c * value;
          for (int q = 0; q < kQ; ++q) {
            const P wd = w * d[q];
            row_sum[q] += wd;
            square_sum[q] += wd * d[q];
          }
        }
        for (int q = 0; q < kQ; ++q) {
          d_row[q] += row_sum[q].sum();
          d_lengthscale[q] += square_sum[q].sum();
        }
      } else {
        for (int64_t k = 0; k < cols; k += P::W) {
          P s, value, slope;
          for (int64_t q = 0; q < q_count; ++q) {
            const P d = P(row[q * t.rows.stride]) - P::load(columns + q * t.cols.stride + k);
            s += d * d;
          }
          Kernel::value_and_slope(s, value, slope);
          const P c = P::load(cotangent + k);
          (c * slope).store(weights + k);
          value_sum += c * value;
        }
        for (int64_t q = 0; q < q_count; ++q) {
          P row_sum, square_sum;
          for (int64_t k = 0; k < cols; k += P::W) {
            const P d = P(row[q * t.rows.stride]) - P::load(columns + q * t.cols.stride + k);
            const P wd = P::load(weights + k) * d;
            row_sum += wd;
            square_sum += wd * d;
          }
          d_row[q] += row_sum.sum();
          d_lengthscale[q] += square_sum.sum();
        }
      }
      variance_sum += value_sum.sum();
    }
  }
  *d_variance += variance_sum;
}

}  // namespace

template <class T>
void gram_rows(const GramTask<T>& t, int64_t begin, int64_t end) {
  visit_stationary(t.kind, [&](auto kernel) {
    using K = decltype(kernel);
    switch (t.q) {
      case 1: return gram_rows_of<K, 1>(t, begin, end);
      case 2: return gram_rows_of<K, 2>(t, begin, end);
      case 3: return gram_rows_of<K, 3>(t, begin, end);
      default: return gram_rows_of<K, 0>(t, begin, end);
    }
  });
}

template <class T>
void pullback_rows(const PullbackTask<T>& t, int64_t begin, int64_t end, double* d_lengthscale,
                   double* d_variance) {
  visit_stationary(t.kind, [&](auto kernel) {
    using K = decltype(kernel);
    switch (t.q) {
      case 1: return pullback_rows_of<K, 1>(t, begin, end, d_lengthscale, d_variance);
      case 2: return pullback_rows_of<K, 2>(t, begin, end, d_lengthscale, d_variance);
      case 3: return pullback_rows_of<K, 3>(t, begin, end, d_lengthscale, d_variance);
      default: return pullback_rows_of<K, 0>(t, begin, end, d_lengthscale, d_variance);
    }
  });
}

template <class T>
void exp_array(const T* x, T* y, int64_t n) {
  using P = Pack<T>;
  int64_t i = 0;
  for (; i + P::W <= n; i += P::W) exp_(P::load(x + i)).store(y + i);
  if (i < n) {
    alignas(64) T rest[P::W] = {};
    memcpy(rest, x + i, (n - i) * sizeof(T));
    exp_(P::load(rest)).store_first(y + i, n - i);
  }
}

template void gram_rows<double>(const GramTask<double>&, int64_t, int64_t);
template void gram_rows<float>(const GramTask<float>&, int64_t, int64_t);
template void pullback_rows<double>(const PullbackTask<double>&, int64_t, int64_t, double*, double*);
template void pullback_rows<float>(const PullbackTask<float>&, int64_t, int64_t, double*, double*);
template void exp_array<double>(const double*, double*, int64_t);
template void exp_array<float>(const float*, float*, int64_t);

}  // namespace lvm::cpu::LVM_ARCH

// What is done with a tile of a kernel matrix, whatever the covariance function: products with points, sums of
// differences, and the way between a tile and a matrix.
#include "cpu/arch.hpp"
#include "cpu/pack.hpp"
#include "cpu/tasks.hpp"
#include "cpu/transpose.hpp"
#include "cpu/unroll.hpp"

namespace lvm::cpu::LVM_ARCH {
namespace {

// f(Constant<how many>, first) for groups of `Most` features and what remains.
template <int Most, class F>
LVM_HD void in_groups(int64_t features, const F& f) {
  int64_t first = 0;
  for (; first + Most <= features; first += Most) f(Constant<Most>(), first);
  const int64_t rest = features - first;
  unroll<Most - 1>([&](auto k) LVM_INLINE {
    if (rest == k + 1) f(Constant<k + 1>(), first);
  });
}

template <class T>
constexpr int kSumRows = kWidth<T> < 4 ? kWidth<T> : 4;  // rows whose lanes are added up together

// out[r] += sum of the lanes of x[r]
template <class T>
LVM_HD void add_lanes(Pack<T> (&x)[kSumRows<T>], double* out) {
  constexpr int R = kSumRows<T>;
  using P = Pack<T>;
  transpose_blocks<T, R>(x);
  P sum = x[0];
  unroll<R - 1>([&](auto r) LVM_INLINE { sum += x[r + 1]; });
  unroll<R>([&](auto r) LVM_INLINE {
    double total = 0;
    unroll<P::W / R>([&](auto g) LVM_INLINE { total += double(sum.v[g * R + r]); });
    out[r] += total;
  });
}

// out[lane] += x
template <class T>
LVM_HD void add_to(Pack<T> x, double* out) {
  if constexpr (sizeof(T) == sizeof(double)) {
    (Pack<T>::load(out) + x).store(out);
  } else {
    alignas(64) T lanes[Pack<T>::W];
    x.store(lanes);
    for (int i = 0; i < Pack<T>::W; ++i) out[i] += double(lanes[i]);
  }
}

// d_rows of F features from `cols` on.
template <int F, class T>
LVM_HD void row_products(const T* tile, int64_t count, const T* cols, double* d_rows) {
  using P = Pack<T>;
  constexpr int R = kSumRows<T>;
  for (int64_t i = 0; i < count; i += R) {
    P sum[F][R];
    for (int64_t j = 0; j < kBlock; j += P::W) {
      P w[R];
      unroll<R>([&](auto r) LVM_INLINE { w[r] = P::load(tile + (i + r) * kBlock + j); });
      unroll<F>([&](auto f) LVM_INLINE {
        const P column = P::load(cols + f * kBlock + j);
        unroll<R>([&](auto r) LVM_INLINE { sum[f][r] += w[r] * column; });
      });
    }
    unroll<F>([&](auto f) LVM_INLINE { add_lanes<T>(sum[f], d_rows + f * kBlock + i); });
  }
}

template <int F, class T>
LVM_HD void column_products(const T* tile, int64_t count, const T* rows, double* d_cols) {
  using P = Pack<T>;
  for (int64_t j = 0; j < kBlock; j += 2 * P::W) {
    P sum[F][2];
    for (int64_t i = 0; i < count; ++i) {
      const P w0 = P::load(tile + i * kBlock + j), w1 = P::load(tile + i * kBlock + j + P::W);
      unroll<F>([&](auto f) LVM_INLINE {
        const P row(rows[f * kBlock + i]);
        sum[f][0] += w0 * row;
        sum[f][1] += w1 * row;
      });
    }
    unroll<F>([&](auto f) LVM_INLINE {
      add_to<T>(sum[f][0], d_cols + f * kBlock + j);
      add_to<T>(sum[f][1], d_cols + f * kBlock + j + P::W);
    });
  }
}

template <int F, class T>
void differences(const T* tile, int64_t count, const T* rows, const T* cols, double* d_rows, double* d_cols,
                 double* squares) {
  using P = Pack<T>;
  alignas(64) T column_sums[F * kBlock] = {};
  for (int64_t i = 0; i < count; ++i) {
    P sum[F], square[F];
    for (int64_t j = 0; j < kBlock; j += P::W) {
      const P w = P::load(tile + i * kBlock + j);
      unroll<F>([&](auto f) LVM_INLINE {
        const P d = P(rows[f * kBlock + i]) - P::load(cols + f * kBlock + j);
        const P wd = w * d;
        sum[f] += wd;
        square[f] += wd * d;
        if (d_cols) (P::load(column_sums + f * kBlock + j) - wd).store(column_sums + f * kBlock + j);
      });
    }
    unroll<F>([&](auto f) LVM_INLINE {
      d_rows[f * kBlock + i] += sum[f].sum();
      squares[f] += square[f].sum();
    });
  }
  if (d_cols) {
    for (int64_t j = 0; j < F * kBlock; j += P::W) add_to<T>(P::load(column_sums + j), d_cols + j);
  }
}

// n numbers to memory, past the cache: whole cache lines only, the ends as usual. The caller fences.
template <class T>
LVM_HD void stream(const T* from, T* to, int64_t n) {
  using P = Pack<T>;
#if defined(__SSE2__)
  constexpr uintptr_t kAlign = LVM_VECTOR_BYTES;
  int64_t i = 0;
  const int64_t head = int64_t((64 - (reinterpret_cast<uintptr_t>(to) & 63)) & 63) / int64_t(sizeof(T));
  static_assert(kAlign <= 64, "a cache line holds whole packs");
  for (; i < head && i < n; ++i) to[i] = from[i];
  for (; i + 64 / int64_t(sizeof(T)) <= n; i += 64 / int64_t(sizeof(T))) {
    unroll<64 / LVM_VECTOR_BYTES>([&](auto k) LVM_INLINE {
      const P x = P::load(from + i + k * P::W);
#if defined(__AVX512F__)
      _mm512_stream_si512(reinterpret_cast<__m512i*>(to + i + k * P::W), (__m512i)x.v);
#elif defined(__AVX__)
      _mm256_stream_si256(reinterpret_cast<__m256i*>(to + i + k * P::W), (__m256i)x.v);
#else
      _mm_stream_si128(reinterpret_cast<__m128i*>(to + i + k * P::W), (__m128i)x.v);
#endif
    });
  }
  for (; i < n; ++i) to[i] = from[i];
#else
  memcpy(to, from, n * sizeof(T));
#endif
}

// out[j * kBlock + i] = tile[i * kBlock + j]
template <class T>
void transpose_tile(const T* tile, T* out) {
  constexpr int W = kWidth<T>;
  for (int64_t i = 0; i < kBlock; i += W) {
    for (int64_t j = 0; j < kBlock; j += W) {
      Pack<T> x[W];
      unroll<W>([&](auto r) LVM_INLINE { x[r] = Pack<T>::load(tile + (i + r) * kBlock + j); });
      transpose_blocks<T, W>(x);
      unroll<W>([&](auto r) LVM_INLINE { x[r].store(out + (j + r) * kBlock + i); });
    }
  }
}

}  // namespace

template <class T>
void tile_products(const T* tile, int64_t count, int64_t features, const T* rows, const T* cols, double* d_rows,
                   double* d_cols) {
  if (d_rows) {
    in_groups<3>(features, [&](auto group, int64_t f) LVM_INLINE {
      row_products<decltype(group)::value>(tile, count, cols + f * kBlock, d_rows + f * kBlock);
    });
  }
  if (d_cols) {
    in_groups<6>(features, [&](auto group, int64_t f) LVM_INLINE {
      column_products<decltype(group)::value>(tile, count, rows + f * kBlock, d_cols + f * kBlock);
    });
  }
}

template <class T>
void tile_differences(const T* tile, int64_t count, int64_t features, const T* rows, const T* cols, double* d_rows,
                      double* d_cols, double* squares) {
  const auto some = [&](auto number, int64_t f) LVM_INLINE {
    constexpr int F = decltype(number)::value;
    double* to_cols = d_cols ? d_cols + f * kBlock : nullptr;
    differences<F>(tile, count, rows + f * kBlock, cols + f * kBlock, d_rows + f * kBlock, to_cols, squares + f);
  };
  in_groups<3>(features, some);
}

template <class T>
void store_tile(const T* tile, int64_t rows, int64_t cols, bool transposed, bool past_cache, T* out, int64_t stride) {
  alignas(64) T turned[kTile];
  int64_t lines = rows, length = cols, row = kBlock;
  if (transposed) {
    transpose_tile(tile, turned);
    tile = turned;
    lines = cols;
    length = rows;
    row = kBlock;
  }
  for (int64_t i = 0; i < lines; ++i) {
    if (past_cache) {
      stream(tile + i * row, out + i * stride, length);
    } else {
      memcpy(out + i * stride, tile + i * row, length * sizeof(T));
    }
  }
}

template <class T>
void load_tile(const T* c, int64_t stride, int64_t rows, int64_t cols, bool transposed, bool add, T scale, T* tile) {
  constexpr int W = kWidth<T>;
  using P = Pack<T>;
  const P factor(scale);
  if (rows == kBlock && cols == kBlock) {
    if (transposed) {
      for (int64_t j = 0; j < kBlock; j += W) {
        for (int64_t i = 0; i < kBlock; i += W) {
          P x[W];
          unroll<W>([&](auto r) LVM_INLINE { x[r] = P::load(c + (j + r) * stride + i); });
          transpose_blocks<T, W>(x);
          unroll<W>([&](auto r) LVM_INLINE {
            T* out = tile + (i + r) * kBlock + j;
            x[r] = x[r] * factor;
            if (add) x[r] += P::load(out);
            x[r].store(out);
          });
        }
      }
    } else {
      for (int64_t i = 0; i < kBlock; ++i) {
        for (int64_t j = 0; j < kBlock; j += W) {
          T* out = tile + i * kBlock + j;
          P x = P::load(c + i * stride + j) * factor;
          if (add) x += P::load(out);
          x.store(out);
        }
      }
    }
    return;
  }
  if (!add) memset(tile, 0, kTile * sizeof(T));
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < cols; ++j) tile[i * kBlock + j] += scale * (transposed ? c[j * stride + i] : c[i * stride + j]);
  }
}

template <class T>
void combine_tiles(const T* a, int64_t n, TileMode mode, T* b) {
  using P = Pack<T>;
  for (int64_t i = 0; i < n; i += P::W) {
    P x = P::load(a + i);
    if (mode == TileMode::add) x += P::load(b + i);
    if (mode == TileMode::multiply) x = x * P::load(b + i);
    x.store(b + i);
  }
}

#define LVM_INSTANTIATE(T)                                                                                         \
  template void tile_products<T>(const T*, int64_t, int64_t, const T*, const T*, double*, double*);               \
  template void tile_differences<T>(const T*, int64_t, int64_t, const T*, const T*, double*, double*, double*);   \
  template void store_tile<T>(const T*, int64_t, int64_t, bool, bool, T*, int64_t);                               \
  template void load_tile<T>(const T*, int64_t, int64_t, int64_t, bool, bool, T, T*);                             \
  template void combine_tiles<T>(const T*, int64_t, TileMode, T*);
LVM_INSTANTIATE(double)
LVM_INSTANTIATE(float)
#undef LVM_INSTANTIATE

}  // namespace lvm::cpu::LVM_ARCH

// What a Gibbs iteration makes of a tile of rows, held feature by feature: f = Phi beta, and the sum of omega phi phi^T.
//
// The Gram matrix is made of dot products, four features with three scaled ones at a time: a tile needs no packing, and
// every number that is loaded serves three or four multiply-adds. The same source is compiled for the instruction sets
// that csrc/cpu knows; which one runs is decided there.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/config.hpp"
#include "cpu/dispatch.hpp"

namespace lvm {

// A tile: feature j of row i at a[j * stride + i]; rows a multiple of 16, those beyond the last are zero.
template <class T>
struct FeatureTile {
  const T* a;
  int64_t k, stride, rows;
  const T* next;  // the tile that comes after this one, to be brought to the cache, or null
};

constexpr int64_t kScaledRows = 6;  // features that are scaled at a time: they stay in the first cache with four others

namespace weighted_gram {

template <int Bytes, class T>
struct Vector {
  typedef T Type __attribute__((vector_size(Bytes), aligned(sizeof(T)), may_alias));
  static constexpr int kLanes = Bytes / sizeof(T);
};

// The sum of a vector's lanes: of its halves, and so on.
template <int Bytes, class T>
LVM_HD T lane_sum(typename Vector<Bytes, T>::Type x) {
  if constexpr (Bytes == 16) {
    T sum = x[0] + x[1];
    if constexpr (sizeof(T) == 4) sum += x[2] + x[3];
    return sum;
  } else {
    typename Vector<Bytes / 2, T>::Type low, high;
    memcpy(&low, &x, Bytes / 2);
    memcpy(&high, reinterpret_cast<const char*>(&x) + Bytes / 2, Bytes / 2);
    return lane_sum<Bytes / 2, T>(low + high);
  }
}

// sums[j * 4 + l] = sum_i x_j[i] y_l[i] with x_j = x + j * n, j < J, of n numbers.
template <int Bytes, int J, class T>
LVM_HD void dots(const T* x, int64_t n, const T* const* y, T* sums) {
  using Lanes = Vector<Bytes, T>;
  using V = typename Lanes::Type;
  V sum[J][4];
  for (int j = 0; j < J; ++j) {
    for (int l = 0; l < 4; ++l) sum[j][l] = V{};
  }
  const T *y0 = y[0], *y1 = y[1], *y2 = y[2], *y3 = y[3];
  for (int64_t i = 0; i < n; i += Lanes::kLanes) {
    V at[J];
    for (int j = 0; j < J; ++j) at[j] = *reinterpret_cast<const V*>(x + j * n + i);
    for (int l = 0; l < 4; ++l) {  // 12 sums, 3 factors and 1 more: 16 registers
      const V v = *reinterpret_cast<const V*>((l == 0 ? y0 : l == 1 ? y1 : l == 2 ? y2 : y3) + i);
      for (int j = 0; j < J; ++j) sum[j][l] += at[j] * v;
    }
  }
  for (int j = 0; j < J; ++j) {
    for (int l = 0; l < 4; ++l) sums[j * 4 + l] = lane_sum<Bytes, T>(sum[j][l]);
  }
}

// The lower triangle of sum (k, k) += a diag(omega) a^T. scaled: kScaledRows * rows numbers of scratch.
template <int Bytes, class T>
LVM_HD void add(const FeatureTile<T>& tile, const T* omega, T* scaled, T* sum) {
  using Lanes = Vector<Bytes, T>;
  using V = typename Lanes::Type;
  const int64_t n = tile.rows, k = tile.k;
  for (int64_t first = 0; first < k; first += kScaledRows) {
    const int64_t count = k - first < kScaledRows ? k - first : kScaledRows;
    for (int64_t j = 0; j < count; ++j) {
      const T* row = tile.a + (first + j) * tile.stride;
      for (int64_t i = 0; i < n; i += Lanes::kLanes) {
        *reinterpret_cast<V*>(scaled + j * n + i) =
            *reinterpret_cast<const V*>(row + i) * *reinterpret_cast<const V*>(omega + i);
      }
      if (!tile.next) continue;
      const T* ahead = tile.next + (first + j) * tile.stride;
      for (int64_t i = 0; i < tile.stride; i += 64 / int64_t(sizeof(T))) __builtin_prefetch(ahead + i, 0, 2);
    }
    for (int64_t l = 0; l < first + count; l += 4) {
      const T* y[4];
      for (int64_t m = 0; m < 4; ++m) y[m] = tile.a + (l + m < k ? l + m : k - 1) * tile.stride;
      for (int64_t j = 0; j < count; j += 3) {
        if (first + j + 2 < l) continue;  // above the diagonal
        T made[12];
        const int64_t rows = count - j < 3 ? count - j : 3;
        if (rows == 3) {
          dots<Bytes, 3>(scaled + j * n, n, y, made);
        } else if (rows == 2) {
          dots<Bytes, 2>(scaled + j * n, n, y, made);
        } else {
          dots<Bytes, 1>(scaled + j * n, n, y, made);
        }
        for (int64_t r = 0; r < rows; ++r) {
          const int64_t row = first + j + r, end = row + 1 - l < 4 ? row + 1 - l : 4;
          for (int64_t m = 0; m < end; ++m) sum[row * k + l + m] += made[r * 4 + m];
        }
      }
    }
  }
}

// out[i] = sum_j beta[j] a[j * stride + i].
template <int Bytes, class T>
LVM_HD void values(const FeatureTile<T>& tile, const T* beta, T* out) {
  using Lanes = Vector<Bytes, T>;
  using V = typename Lanes::Type;
  constexpr int kGroup = 4;
  for (int64_t i = 0; i < tile.rows; i += Lanes::kLanes) *reinterpret_cast<V*>(out + i) = V{};
  for (int64_t j = 0; j < tile.k; j += kGroup) {
    const int64_t count = tile.k - j < kGroup ? tile.k - j : kGroup;
    const T* a = tile.a + j * tile.stride;
    if (count == kGroup) {
      for (int64_t i = 0; i < tile.rows; i += Lanes::kLanes) {
        V f = *reinterpret_cast<const V*>(out + i);
        for (int c = 0; c < kGroup; ++c) f += beta[j + c] * *reinterpret_cast<const V*>(a + c * tile.stride + i);
        *reinterpret_cast<V*>(out + i) = f;
      }
    } else {
      for (int64_t c = 0; c < count; ++c) {
        for (int64_t i = 0; i < tile.rows; i += Lanes::kLanes) {
          *reinterpret_cast<V*>(out + i) += beta[j + c] * *reinterpret_cast<const V*>(a + c * tile.stride + i);
        }
      }
    }
  }
}

#define LVM_WEIGHTED_GRAM(suffix, target, bytes)                                               \
  template <class T>                                                                           \
  target void add_##suffix(const FeatureTile<T>& tile, const T* omega, T* scaled, T* sum) {    \
    add<bytes>(tile, omega, scaled, sum);                                                      \
  }                                                                                            \
  template <class T>                                                                           \
  target void values_##suffix(const FeatureTile<T>& tile, const T* beta, T* out) {             \
    values<bytes>(tile, beta, out);                                                            \
  }
LVM_WEIGHTED_GRAM(base, , 16)
#if defined(__x86_64__)
LVM_WEIGHTED_GRAM(v3, __attribute__((target("avx2,fma"))), 32)
LVM_WEIGHTED_GRAM(v4, __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"))), 64)
#endif
#undef LVM_WEIGHTED_GRAM

}  // namespace weighted_gram

template <class T>
struct WeightedGram {
  void (*values)(const FeatureTile<T>&, const T* beta, T* out);
  void (*add)(const FeatureTile<T>&, const T* omega, T* scaled, T* sum);

  // For the instruction set in use.
  static WeightedGram chosen() {
    using namespace weighted_gram;
#if defined(__x86_64__)
    const char* name = cpu::kernels().name;
    if (!strcmp(name, "x86-64-v4")) return {values_v4<T>, add_v4<T>};
    if (!strcmp(name, "x86-64-v3")) return {values_v3<T>, add_v3<T>};
#endif
    return {values_base<T>, add_base<T>};
  }
};

}  // namespace lvm

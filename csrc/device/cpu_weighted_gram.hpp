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

constexpr int64_t kScaledRows = 12;  // features that are scaled at a time: they stay in the first cache with four others

// Numbers from row to row of a Gram matrix: four that begin in a row end in it.
constexpr int64_t gram_width(int64_t k) { return (k + 3) / 4 * 4; }

namespace weighted_gram {

template <int Bytes, class T>
struct Vector {
  typedef T Type __attribute__((vector_size(Bytes), aligned(sizeof(T)), may_alias));
  static constexpr int kLanes = Bytes / sizeof(T);
};

// out[l] += the sum of the lanes of x[l], l < 4.
template <int Bytes, class T>
LVM_HD void add_lane_sums(const typename Vector<Bytes, T>::Type* x, T* out) {
  using V = typename Vector<Bytes, T>::Type;
  constexpr int kLanes = Vector<Bytes, T>::kLanes;
  if constexpr (kLanes > 4) {
    typename Vector<Bytes / 2, T>::Type half[4];
    for (int l = 0; l < 4; ++l) {
      typename Vector<Bytes / 2, T>::Type low, high;
      memcpy(&low, &x[l], Bytes / 2);
      memcpy(&high, reinterpret_cast<const char*>(&x[l]) + Bytes / 2, Bytes / 2);
      half[l] = low + high;
    }
    add_lane_sums<Bytes / 2, T>(half, out);
  } else if constexpr (kLanes == 4) {  // neighbours, then what is two apart: the sums come out side by side
    const V a = V{x[0][0], x[1][0], x[0][2], x[1][2]} + V{x[0][1], x[1][1], x[0][3], x[1][3]};
    const V b = V{x[2][0], x[3][0], x[2][2], x[3][2]} + V{x[2][1], x[3][1], x[2][3], x[3][3]};
    *reinterpret_cast<V*>(out) += V{a[0], a[1], b[0], b[1]} + V{a[2], a[3], b[2], b[3]};
  } else {
    for (int l = 0; l < 4; ++l) out[l] += x[l][0] + x[l][1];
  }
}

// sum[j * width + l] += sum_i x_j[i] y_l[i] with x_j = x + j * n, j < J, l < 4, of n numbers.
template <int Bytes, int J, class T>
LVM_HD void add_dots(const T* x, int64_t n, const T* const* y, T* sum, int64_t width) {
  using Lanes = Vector<Bytes, T>;
  using V = typename Lanes::Type;
  V made[J][4];
  for (int j = 0; j < J; ++j) {
    for (int l = 0; l < 4; ++l) made[j][l] = V{};
  }
  const T *y0 = y[0], *y1 = y[1], *y2 = y[2], *y3 = y[3];
  for (int64_t i = 0; i < n; i += Lanes::kLanes) {
    V at[J];
    for (int j = 0; j < J; ++j) at[j] = *reinterpret_cast<const V*>(x + j * n + i);
    for (int l = 0; l < 4; ++l) {  // 12 sums, 3 factors and 1 more: 16 registers
      const V v = *reinterpret_cast<const V*>((l == 0 ? y0 : l == 1 ? y1 : l == 2 ? y2 : y3) + i);
      for (int j = 0; j < J; ++j) made[j][l] += at[j] * v;
    }
  }
  for (int j = 0; j < J; ++j) add_lane_sums<Bytes, T>(made[j], sum + j * width);
}

// The lower triangle of sum (k, gram_width(k)) += a diag(omega) a^T; what is above becomes anything. scaled:
// kScaledRows * rows numbers of scratch.
template <int Bytes, class T>
LVM_HD void add(const FeatureTile<T>& tile, const T* omega, T* scaled, T* sum) {
  using Lanes = Vector<Bytes, T>;
  using V = typename Lanes::Type;
  const int64_t n = tile.rows, k = tile.k, width = gram_width(k);
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
        T* out = sum + (first + j) * width + l;
        switch (count - j) {
          case 1: add_dots<Bytes, 1>(scaled + j * n, n, y, out, width); break;
          case 2: add_dots<Bytes, 2>(scaled + j * n, n, y, out, width); break;
          default: add_dots<Bytes, 3>(scaled + j * n, n, y, out, width);
        }
      }
    }
  }
}

// out[i] += sum_{c < C} beta[j + c] a[(j + c) * stride + i].
template <int Bytes, int C, class T>
LVM_HD void add_features(const FeatureTile<T>& tile, int64_t j, const T* beta, T* out) {
  using Lanes = Vector<Bytes, T>;
  using V = typename Lanes::Type;
  const T* a = tile.a + j * tile.stride;
  T factor[C];
  for (int c = 0; c < C; ++c) factor[c] = beta[j + c];
  for (int64_t i = 0; i < tile.rows; i += Lanes::kLanes) {
    V f = *reinterpret_cast<const V*>(out + i), g = V{};
    for (int c = 0; c < C; c += 2) {
      f += factor[c] * *reinterpret_cast<const V*>(a + c * tile.stride + i);
      if (c + 1 < C) g += factor[c + 1] * *reinterpret_cast<const V*>(a + (c + 1) * tile.stride + i);
    }
    *reinterpret_cast<V*>(out + i) = f + g;
  }
}

// out[i] = sum_j beta[j] a[j * stride + i].
template <int Bytes, class T>
LVM_HD void values(const FeatureTile<T>& tile, const T* beta, T* out) {
  using Lanes = Vector<Bytes, T>;
  using V = typename Lanes::Type;
  for (int64_t i = 0; i < tile.rows; i += Lanes::kLanes) *reinterpret_cast<V*>(out + i) = V{};
  int64_t j = 0;
  for (; j + 8 <= tile.k; j += 8) add_features<Bytes, 8>(tile, j, beta, out);
  for (; j + 2 <= tile.k; j += 2) add_features<Bytes, 2>(tile, j, beta, out);
  if (j < tile.k) add_features<Bytes, 1>(tile, j, beta, out);
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

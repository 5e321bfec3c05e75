// Transposed loads and stores: W rows of R neighbouring numbers to R packs, rows along the lanes, and back.
#pragma once

#include "cpu/pack.hpp"
#include "cpu/unroll.hpp"

namespace lvm::cpu::LVM_ARCH {

// Lane i of the result is lane I_i of a and b laid end to end.
template <class T, int... I>
LVM_HD typename Pack<T>::V shuffle(typename Pack<T>::V a, typename Pack<T>::V b) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, I...);
#else
  return __builtin_shuffle(a, b, typename Pack<T>::VI{I...});
#endif
}

// Packs a and b exchange lanes that differ in bit D of the lane: a gets both lower ones, b both higher ones.
template <class T, int D, int... I>
LVM_HD void exchange(Pack<T>& a, Pack<T>& b, std::integer_sequence<int, I...>) {
  constexpr int W = kWidth<T>;
  const typename Pack<T>::V low = shuffle<T, ((I & D) ? I - D + W : I)...>(a.v, b.v);
  b.v = shuffle<T, ((I & D) ? I + W : I + D)...>(a.v, b.v);
  a.v = low;
}

// Every aligned block of R x R lanes across the R packs is transposed; R <= W, a power of two.
template <class T, int R, int D = R / 2>
LVM_HD void transpose_blocks(Pack<T> (&x)[R]) {
  if constexpr (D > 0) {
    unroll<R>([&](auto k) LVM_INLINE {
      if constexpr ((k & D) == 0) exchange<T, D>(x[k], x[k + D], std::make_integer_sequence<int, kWidth<T>>());
    });
    transpose_blocks<T, R, D / 2>(x);
  }
}

template <class T, int R, int... I>
LVM_HD Pack<T> join(Pack<T> a, Pack<T> b, std::integer_sequence<int, I...>) {
  return shuffle<T, (I < R ? I : I - R + kWidth<T>)...>(a.v, b.v);
}
template <class T, int R, int... I>
LVM_HD Pack<T> second_part(Pack<T> a, std::integer_sequence<int, I...>) {
  return shuffle<T, ((I + R) % kWidth<T>)...>(a.v, a.v);
}

// x[r] lane i = row(i)[r]; where R < W, it reads up to W numbers of a row.
template <class T, int R, class Row>
LVM_HD void load_rows_transposed(const Row& row, Pack<T> (&x)[R]) {
  constexpr int W = kWidth<T>;
  using Lanes = std::make_integer_sequence<int, W>;
  static_assert(R > W ? R == 2 * W : R == W || 2 * R == W, "shapes in use");
  if constexpr (R > W) {
    Pack<T> half[W];
    unroll<2>([&](auto h) LVM_INLINE {
      load_rows_transposed<T, W>([&](int i) LVM_INLINE { return row(i) + h * W; }, half);
      unroll<W>([&](auto r) LVM_INLINE { x[h * W + r] = half[r]; });
    });
  } else {
    unroll<R>([&](auto k) LVM_INLINE {
      x[k] = Pack<T>::load(row(k));
      if constexpr (2 * R == W) x[k] = join<T, R>(x[k], Pack<T>::load(row(k + R)), Lanes());
    });
    transpose_blocks<T, R>(x);
  }
}

// x[r] lane i = p[i * row + r], in the same way.
template <class T, int R>
LVM_HD void load_transposed(const T* p, int64_t row, Pack<T> (&x)[R]) {
  load_rows_transposed<T, R>([&](int i) LVM_INLINE { return p + i * row; }, x);
}

// p[i * row + r] = x[r] lane i; x is used up.
template <class T, int R>
LVM_HD void store_transposed(Pack<T> (&x)[R], T* p, int64_t row) {
  constexpr int W = kWidth<T>;
  using Lanes = std::make_integer_sequence<int, W>;
  if constexpr (R > W) {
    Pack<T> half[W];
    unroll<2>([&](auto h) LVM_INLINE {
      unroll<W>([&](auto r) LVM_INLINE { half[r] = x[h * W + r]; });
      store_transposed<T, W>(half, p + h * W, row);
    });
  } else {
    transpose_blocks<T, R>(x);
    unroll<R>([&](auto k) LVM_INLINE {
      memcpy(p + k * row, &x[k].v, R * sizeof(T));
      if constexpr (2 * R == W) {
        const auto second = second_part<T, R>(x[k], Lanes());
        memcpy(p + (k + R) * row, &second.v, R * sizeof(T));
      }
    });
  }
}

}  // namespace lvm::cpu::LVM_ARCH

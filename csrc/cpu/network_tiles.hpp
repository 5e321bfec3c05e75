// Tiles of the products in layers of networks: six rows and two packs, twelve accumulators in registers.
//
// The inner loop is an outer product of six numbers and two packs: 12 multiply-adds for 8 loads. What has the packs is packed
// into panels; the other side is read where it lies, through a pointer for every row.
#pragma once

#include "core/activation.hpp"
#include "cpu/network_tasks.hpp"
#include "cpu/pack.hpp"

namespace lvm::cpu::LVM_ARCH {
namespace {

constexpr int kRows = 6;
template <class T>
constexpr int kPanel = 2 * Pack<T>::W;

LVM_HD int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

template <class T>
LVM_HD Pack<T> load_some(const T* from, int64_t count) {
  if (count >= Pack<T>::W) return Pack<T>::load(from);
  alignas(64) T lanes[Pack<T>::W] = {};
  for (int64_t i = 0; i < count; ++i) lanes[i] = from[i];
  return Pack<T>::load(lanes);
}
template <class T>
LVM_HD void store_some(Pack<T> x, T* to, int64_t count) {
  if (count >= Pack<T>::W) return x.store(to);
  alignas(64) T lanes[Pack<T>::W];
  x.store(lanes);
  for (int64_t i = 0; i < count; ++i) to[i] = lanes[i];
}

// R rows of two packs in registers, the first `columns` numbers of which exist in memory; full: all of them.
template <class T, int R, bool full>
struct Accumulators {
  using P = Pack<T>;
  P sum[R][2];
  template <class Row>
  LVM_HD void load(const Row& row, int64_t columns) {
    unroll<R>([&](auto r) LVM_INLINE {
      sum[r][0] = full ? P::load(row(r)) : load_some(row(r), columns);
      sum[r][1] = full ? P::load(row(r) + P::W) : columns > P::W ? load_some(row(r) + P::W, columns - P::W) : P();
    });
  }
  template <class Row>
  LVM_HD void store(const Row& row, int64_t columns) const {
    unroll<R>([&](auto r) LVM_INLINE {
      if constexpr (full) {
        sum[r][0].store(row(r));
        sum[r][1].store(row(r) + P::W);
      } else {
        store_some(sum[r][0], row(r), columns);
        if (columns > P::W) store_some(sum[r][1], row(r) + P::W, columns - P::W);
      }
    });
  }
  // += x b^T
  template <class Number>
  LVM_HD void add(const Number& number, const T* b) {
    const P b0 = P::load(b), b1 = P::load(b + P::W);
    unroll<R>([&](auto r) LVM_INLINE {
      const P x(number(r));
      sum[r][0] += x * b0;
      sum[r][1] += x * b1;
    });
  }
};

// R rows of one panel: out[r][0..columns) = (or +=) the terms [k0, k1) of taps [t0, t1).
template <class T, int R, bool add, bool full>
void product_tile(const T* const* a, int64_t a_step, int64_t t0, int64_t t1, int64_t k0, int64_t k1, int64_t depth,
                  const T* panel, T* const* out, int64_t columns) {
  Accumulators<T, R, full> tile;
  const auto row_of = [&](int r) LVM_INLINE { return out[r]; };
  if constexpr (add) tile.load(row_of, columns);
  for (int64_t t = t0; t < t1; ++t) {
    const T* row[R];
    unroll<R>([&](auto r) LVM_INLINE { row[r] = a[r * a_step + t]; });
    const T* b = panel + t * depth * kPanel<T>;
    for (int64_t k = k0; k < k1; ++k) {
      tile.add([&](int r) LVM_INLINE { return row[r][k]; }, b + k * kPanel<T>);
    }
  }
  tile.store(row_of, columns);
}

template <class T, int R>
void product_rest(int64_t rows, const T* const* a, int64_t a_step, int64_t t0, int64_t t1, int64_t k0, int64_t k1, int64_t depth,
                  const T* panel, T* const* out, int64_t columns, bool add) {
  if constexpr (R > 0) {
    if (rows < R) return product_rest<T, R - 1>(rows, a, a_step, t0, t1, k0, k1, depth, panel, out, columns, add);
    if (columns < kPanel<T>) {
      add ? product_tile<T, R, true, false>(a, a_step, t0, t1, k0, k1, depth, panel, out, columns)
          : product_tile<T, R, false, false>(a, a_step, t0, t1, k0, k1, depth, panel, out, columns);
    } else {
      add ? product_tile<T, R, true, true>(a, a_step, t0, t1, k0, k1, depth, panel, out, columns)
          : product_tile<T, R, false, true>(a, a_step, t0, t1, k0, k1, depth, panel, out, columns);
    }
  }
}

template <class T, Activation kind>
void finish(T* y, const T* bias, int64_t columns, T* pre) {
  using P = Pack<T>;
  for (int64_t j = 0; j < columns; j += P::W) {
    const P x = load_some(y + j, columns - j) + load_some(bias + j, columns - j);
    if (kind == Activation::gelu && pre) store_some(x, pre + j, columns - j);
    store_some(activated<kind>(x), y + j, columns - j);
  }
}

// R numbers k of all rows with one panel of their targets: result[r][0..columns) = (or +=) sum_i a[i][k + r] panel[i].
template <class T, int R, bool add, bool full>
void outer_tile(const T* const* a, int64_t k, int64_t rows, const T* panel, T* result, int64_t step, int64_t columns) {
  Accumulators<T, R, full> tile;
  const auto row_of = [&](int r) LVM_INLINE { return result + r * step; };
  if constexpr (add) tile.load(row_of, columns);
  for (int64_t i = 0; i < rows; ++i) {
    const T* x = a[i] + k;
    tile.add([&](int r) LVM_INLINE { return x[r]; }, panel + i * kPanel<T>);
  }
  tile.store(row_of, columns);
}

template <class T, int R>
void outer_rest(int64_t count, const T* const* a, int64_t k, int64_t rows, const T* panel, T* result, int64_t step,
                int64_t columns, bool add) {
  if constexpr (R > 0) {
    if (count < R) return outer_rest<T, R - 1>(count, a, k, rows, panel, result, step, columns, add);
    if (columns < kPanel<T>) {
      add ? outer_tile<T, R, true, false>(a, k, rows, panel, result, step, columns)
          : outer_tile<T, R, false, false>(a, k, rows, panel, result, step, columns);
    } else {
      add ? outer_tile<T, R, true, true>(a, k, rows, panel, result, step, columns)
          : outer_tile<T, R, false, true>(a, k, rows, panel, result, step, columns);
    }
  }
}

}  // namespace
}  // namespace lvm::cpu::LVM_ARCH

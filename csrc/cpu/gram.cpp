// Tiles of kernel matrices and their pull-backs to one number per pair.
//
// Per pair of points: 2 operations a feature by differences (1 by dot products), and about 20 for the exponential,
// against one number written.
#include "cpu/arch.hpp"
#include "cpu/pack.hpp"
#include "cpu/tasks.hpp"
#include "cpu/unroll.hpp"

namespace lvm::cpu::LVM_ARCH {
namespace {

constexpr int kRows = 4;   // rows and packs of columns that are worked on at a time: 8 chains of dependent operations
constexpr int kPacks = 2;

template <class T>
using PairBlock = Pack<T>[kRows][kPacks];

// sum_f (row_f - column_f)^2
template <int kFeatures, class T>
LVM_HD void distances_directly(const T* rows, const T* cols, int64_t features, PairBlock<T>& s) {
  using P = Pack<T>;
  const int64_t count = kFeatures ? kFeatures : features;
  unroll<kRows>([&](auto r) LVM_INLINE { unroll<kPacks>([&](auto c) LVM_INLINE { s[r][c] = P(); }); });
  for (int64_t f = 0; f < count; ++f) {
    P column[kPacks];
    unroll<kPacks>([&](auto c) LVM_INLINE { column[c] = P::load(cols + f * kBlock + c * P::W); });
    unroll<kRows>([&](auto r) LVM_INLINE {
      const P row(rows[f * kBlock + r]);
      unroll<kPacks>([&](auto c) LVM_INLINE {
        const P d = row - column[c];
        s[r][c] += d * d;
      });
    });
  }
}

// sum_f row_f column_f
template <class T>
LVM_HD void dots(const T* rows, const T* cols, int64_t features, PairBlock<T>& s) {
  using P = Pack<T>;
  unroll<kRows>([&](auto r) LVM_INLINE { unroll<kPacks>([&](auto c) LVM_INLINE { s[r][c] = P(); }); });
  for (int64_t f = 0; f < features; ++f) {
    P column[kPacks];
    unroll<kPacks>([&](auto c) LVM_INLINE { column[c] = P::load(cols + f * kBlock + c * P::W); });
    unroll<kRows>([&](auto r) LVM_INLINE {
      const P row(rows[f * kBlock + r]);
      unroll<kPacks>([&](auto c) LVM_INLINE { s[r][c] += row * column[c]; });
    });
  }
}

// |row|^2 + |column|^2 - 2 row . column; where that cancels (the points are near one another for their distance from
// the centre) the differences themselves.
template <class T>
LVM_HD void distances_by_dot(const T* rows, const T* cols, int64_t features, PairBlock<T>& s) {
  using P = Pack<T>;
  using V = typename P::V;
  using VI = typename P::VI;
  constexpr T kNear = T(1.0 / 16);
  dots(rows, cols, features, s);
  const T* row_squares = rows + (features + 1) * kBlock;
  const T* col_squares = cols + (features + 1) * kBlock;
  VI near[kRows][kPacks];
  VI any = VI{};
  unroll<kRows>([&](auto r) LVM_INLINE {
    unroll<kPacks>([&](auto c) LVM_INLINE {
      const V sum = (P(row_squares[r]) + P::load(col_squares + c * P::W)).v;
      s[r][c].v = sum - T(2) * s[r][c].v;
      near[r][c] = s[r][c].v < kNear * sum;
      any |= near[r][c];
    });
  });
  bool some = false;
  for (int i = 0; i < P::W; ++i) some |= any[i] != 0;
  if (some) {
    PairBlock<T> direct;
    distances_directly<0>(rows, cols, features, direct);
    unroll<kRows>([&](auto r) LVM_INLINE {
      unroll<kPacks>([&](auto c) LVM_INLINE { s[r][c].v = near[r][c] ? direct[r][c].v : s[r][c].v; });
    });
  }
}

constexpr int64_t kStrip = kRows * kBlock;  // pairs of kRows rows with a block of columns, row after row

// The number of each pair of a strip that its covariance function is a function of.
template <class T, class F>
LVM_HD void fill_strip(const T* rows, const T* cols, T* strip, const F& block) {
  using P = Pack<T>;
  for (int64_t j = 0; j < kBlock; j += kPacks * P::W) {
    PairBlock<T> s;
    block(rows, cols + j, s);
    unroll<kRows>([&](auto r) LVM_INLINE {
      unroll<kPacks>([&](auto c) LVM_INLINE { s[r][c].store(strip + r * kBlock + j + c * P::W); });
    });
  }
}

template <class T>
void pair_numbers(const PairTask<T>& t, const T* rows, const T* cols, T* strip) {
  const auto directly = [&](auto features) LVM_INLINE {
    fill_strip(rows, cols, strip, [&](const T* r, const T* c, PairBlock<T>& s) LVM_INLINE {
      distances_directly<decltype(features)::value>(r, c, t.features, s);
    });
  };
  if (t.function == PairFunction::dot || t.function == PairFunction::power) {
    return fill_strip(rows, cols, strip, [&](const T* r, const T* c, PairBlock<T>& s) LVM_INLINE {
      dots(r, c, t.features, s);
    });
  }
  if (t.by_dot) {
    return fill_strip(rows, cols, strip, [&](const T* r, const T* c, PairBlock<T>& s) LVM_INLINE {
      distances_by_dot(r, c, t.features, s);
    });
  }
  switch (t.features) {
    case 1: return directly(Constant<1>());
    case 2: return directly(Constant<2>());
    case 3: return directly(Constant<3>());
    default: return directly(Constant<0>());
  }
}

template <class Function, class T>
void values_of(const PairTask<T>& t, const T* strip, TileMode mode, T* out) {
  using P = Pack<T>;
  const P variance(t.variance);
  const Shape<P> shape{P(t.shape), t.degree};
  for (int64_t k = 0; k < kStrip; k += 4 * P::W) {
    unroll<4>([&](auto u) LVM_INLINE {
      P value = variance * Function::value(P::load(strip + k + u * P::W), shape);
      if (mode == TileMode::add) value += P::load(out + k + u * P::W);
      if (mode == TileMode::multiply) value = value * P::load(out + k + u * P::W);
      value.store(out + k + u * P::W);
    });
  }
}

template <class Function, class T>
void pullback_of(const PairTask<T>& t, const T* strip, T* out, double* sums) {
  using P = Pack<T>;
  const Shape<P> shape{P(t.shape), t.degree};
  P values, shapes;
  for (int64_t k = 0; k < kStrip; k += 2 * P::W) {
    unroll<2>([&](auto u) LVM_INLINE {
      const P cotangent = P::load(out + k + u * P::W);
      P value, slope, by_shape;
      Function::pull(P::load(strip + k + u * P::W), shape, value, slope, by_shape);
      values += cotangent * value;
      if constexpr (Function::kShape) shapes += cotangent * by_shape;
      (cotangent * slope).store(out + k + u * P::W);
    });
  }
  sums[0] += values.sum();
  if constexpr (Function::kShape) sums[1] += shapes.sum();
}

}  // namespace

template <class T>
void pair_values(const PairTask<T>& t, const T* rows, const T* cols, int64_t count, TileMode mode, T* tile) {
  alignas(64) T strip[kStrip];
  visit_pair_function(t.function, [&](auto function) LVM_INLINE {
    for (int64_t i = 0; i < count; i += kRows) {
      pair_numbers(t, rows + i, cols, strip);
      values_of<decltype(function)>(t, strip, mode, tile + i * kBlock);
    }
  });
}

template <class T>
void pair_pullback(const PairTask<T>& t, const T* rows, const T* cols, int64_t count, T* tile, double* sums) {
  alignas(64) T strip[kStrip];
  visit_pair_function(t.function, [&](auto function) LVM_INLINE {
    for (int64_t i = 0; i < count; i += kRows) {
      pair_numbers(t, rows + i, cols, strip);
      pullback_of<decltype(function)>(t, strip, tile + i * kBlock, sums);
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

#define LVM_INSTANTIATE(T)                                                                                     \
  template void pair_values<T>(const PairTask<T>&, const T*, const T*, int64_t, TileMode, T*);                \
  template void pair_pullback<T>(const PairTask<T>&, const T*, const T*, int64_t, T*, double*);               \
  template void exp_array<T>(const T*, T*, int64_t);
LVM_INSTANTIATE(double)
LVM_INSTANTIATE(float)
#undef LVM_INSTANTIATE

}  // namespace lvm::cpu::LVM_ARCH

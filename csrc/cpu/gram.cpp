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
constexpr int64_t kManyFeatures = 16;

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

constexpr int64_t kSlab = 64;  // features of which packed operands stay in the first cache

// sum_f row_f column_f of some rows with a block of columns. The operands of a slab of features are laid out as they are
// read: where they lie they are a power of two apart and would drive one another out of the cache.
template <class T>
void dots(const T* rows, const T* cols, int64_t features, int64_t count, T* numbers) {
  using P = Pack<T>;
  constexpr int64_t kCols = kPacks * P::W;
  alignas(64) T row_pack[kBlock * kSlab];
  alignas(64) T col_pack[kCols * kSlab];
  for (int64_t first = 0; first < features || first == 0; first += kSlab) {
    const int64_t n = features - first < kSlab ? features - first : kSlab;
    for (int64_t i = 0; i < count; i += kRows) {
      for (int64_t f = 0; f < n; ++f) {
        memcpy(row_pack + i * kSlab + f * kRows, rows + (first + f) * kBlock + i, kRows * sizeof(T));
      }
    }
    for (int64_t j = 0; j < kBlock; j += kCols) {
      for (int64_t f = 0; f < n; ++f) {
        unroll<kPacks>([&](auto c) LVM_INLINE {
          P::load(cols + (first + f) * kBlock + j + c * P::W).store(col_pack + f * kCols + c * P::W);
        });
      }
      for (int64_t i = 0; i < count; i += kRows) {
        PairBlock<T> s;
        T* out = numbers + i * kBlock + j;
        if (first > 0) {
          unroll<kRows>([&](auto r) LVM_INLINE {
            unroll<kPacks>([&](auto c) LVM_INLINE { s[r][c] = P::load(out + r * kBlock + c * P::W); });
          });
        }
        const T* row = row_pack + i * kSlab;
        const T* column = col_pack;
        for (int64_t f = 0; f < n; ++f, row += kRows, column += kCols) {
          P x[kPacks];
          unroll<kPacks>([&](auto c) LVM_INLINE { x[c] = P::load(column + c * P::W); });
          unroll<kRows>([&](auto r) LVM_INLINE {
            const P y(row[r]);
            unroll<kPacks>([&](auto c) LVM_INLINE { s[r][c] += y * x[c]; });
          });
        }
        unroll<kRows>([&](auto r) LVM_INLINE {
          unroll<kPacks>([&](auto c) LVM_INLINE { s[r][c].store(out + r * kBlock + c * P::W); });
        });
      }
    }
  }
}

// |row|^2 + |column|^2 - 2 row . column; where that cancels (the points are near one another for their distance from
// the centre) the differences themselves.
template <class T>
void distances_by_dot(const T* rows, const T* cols, int64_t features, int64_t count, T* numbers) {
  using P = Pack<T>;
  using V = typename P::V;
  using VI = typename P::VI;
  constexpr T kNear = T(1.0 / 16);
  dots(rows, cols, features, count, numbers);
  const T* row_squares = rows + (features + 1) * kBlock;
  const T* col_squares = cols + (features + 1) * kBlock;
  for (int64_t j = 0; j < kBlock; j += kPacks * P::W) {
    for (int64_t i = 0; i < count; i += kRows) {
      PairBlock<T> s;
      VI near[kRows][kPacks];
      VI any = VI{};
      T* out = numbers + i * kBlock + j;
      unroll<kRows>([&](auto r) LVM_INLINE {
        unroll<kPacks>([&](auto c) LVM_INLINE {
          const V sum = (P(row_squares[i + r]) + P::load(col_squares + j + c * P::W)).v;
          s[r][c].v = sum - T(2) * P::load(out + r * kBlock + c * P::W).v;
          near[r][c] = s[r][c].v < kNear * sum;
          any |= near[r][c];
        });
      });
      bool some = false;
      for (int k = 0; k < P::W; ++k) some |= any[k] != 0;
      if (some) {
        PairBlock<T> direct;
        distances_directly<0>(rows + i, cols + j, features, direct);
        unroll<kRows>([&](auto r) LVM_INLINE {
          unroll<kPacks>([&](auto c) LVM_INLINE { s[r][c].v = near[r][c] ? direct[r][c].v : s[r][c].v; });
        });
      }
      unroll<kRows>([&](auto r) LVM_INLINE {
        unroll<kPacks>([&](auto c) LVM_INLINE { s[r][c].store(out + r * kBlock + c * P::W); });
      });
    }
  }
}

// The number of each pair of some rows with a block of columns that its covariance function is a function of.
template <class T>
void pair_numbers(const PairTask<T>& t, const T* rows, const T* cols, int64_t count, T* numbers) {
  using P = Pack<T>;
  if (t.function == PairFunction::dot || t.function == PairFunction::power) {
    return dots(rows, cols, t.features, count, numbers);
  }
  if (t.by_dot) return distances_by_dot(rows, cols, t.features, count, numbers);
  const auto directly = [&](auto features) LVM_INLINE {
    for (int64_t i = 0; i < count; i += kRows) {
      for (int64_t j = 0; j < kBlock; j += kPacks * P::W) {
        PairBlock<T> s;
        distances_directly<decltype(features)::value>(rows + i, cols + j, t.features, s);
        unroll<kRows>([&](auto r) LVM_INLINE {
          unroll<kPacks>([&](auto c) LVM_INLINE { s[r][c].store(numbers + (i + r) * kBlock + j + c * P::W); });
        });
      }
    }
  };
  switch (t.features) {
    case 1: return directly(Constant<1>());
    case 2: return directly(Constant<2>());
    case 3: return directly(Constant<3>());
    default: return directly(Constant<0>());
  }
}

template <class Function, class T>
void values_of(const PairTask<T>& t, const T* numbers, int64_t n, TileMode mode, T* out) {
  using P = Pack<T>;
  const P variance(t.variance);
  const Shape<P> shape{P(t.shape), t.degree};
  for (int64_t k = 0; k < n; k += 4 * P::W) {
    unroll<4>([&](auto u) LVM_INLINE {
      P value = variance * Function::value(P::load(numbers + k + u * P::W), shape);
      if (mode == TileMode::add) value += P::load(out + k + u * P::W);
      if (mode == TileMode::multiply) value = value * P::load(out + k + u * P::W);
      value.store(out + k + u * P::W);
    });
  }
}

template <class Function, class T>
void pullback_of(const PairTask<T>& t, const T* numbers, int64_t n, T* out, double* sums) {
  using P = Pack<T>;
  const Shape<P> shape{P(t.shape), t.degree};
  P values, shapes;
  for (int64_t k = 0; k < n; k += 2 * P::W) {
    unroll<2>([&](auto u) LVM_INLINE {
      const P cotangent = P::load(out + k + u * P::W);
      P value, slope, by_shape;
      Function::pull(P::load(numbers + k + u * P::W), shape, value, slope, by_shape);
      values += cotangent * value;
      if constexpr (Function::kShape) shapes += cotangent * by_shape;
      (cotangent * slope).store(out + k + u * P::W);
    });
  }
  sums[0] += values.sum();
  if constexpr (Function::kShape) sums[1] += shapes.sum();
}

// Moves the slopes in `count` rows of a tile, from row `first` on, that belong to near points to the tile `near`.
template <class T>
bool split_near(const PairTask<T>& t, const T* rows, const T* cols, const T* numbers, int64_t count, T* slopes, T* near,
                int64_t first, bool found) {
  using P = Pack<T>;
  using V = typename P::V;
  using VI = typename P::VI;
  constexpr T kNear = T(1.0 / 256);
  const T* row_squares = rows + (t.features + 1) * kBlock;
  const T* col_squares = cols + (t.features + 1) * kBlock;
  for (int64_t r = 0; r < count; ++r) {
    VI any = VI{};
    for (int64_t j = 0; j < kBlock; j += P::W) {
      const V sum = (P(row_squares[r]) + P::load(col_squares + j)).v;
      any |= P::load(numbers + r * kBlock + j).v < kNear * sum;
    }
    bool some = false;
    for (int k = 0; k < P::W; ++k) some |= any[k] != 0;
    if (!some) continue;
    if (!found) memset(near, 0, kTile * sizeof(T));
    found = true;
    for (int64_t j = 0; j < kBlock; j += P::W) {
      const V sum = (P(row_squares[r]) + P::load(col_squares + j)).v;
      const VI is_near = P::load(numbers + r * kBlock + j).v < kNear * sum;
      const V slope = P::load(slopes + r * kBlock + j).v;
      P(is_near ? slope : V{}).store(near + (first + r) * kBlock + j);
      P(is_near ? V{} : slope).store(slopes + r * kBlock + j);
    }
  }
  return found;
}

// f(numbers, first row, how many numbers) for some rows after the others: for four at a time, which stay in registers and
// the first cache, or for all, where the features of a block of columns fill it.
template <class T, class F>
LVM_HD void each_part(const PairTask<T>& t, const T* rows, const T* cols, int64_t count, const F& f) {
  alignas(64) T numbers[kTile];
  const int64_t step = t.features > kManyFeatures ? kBlock : kRows;
  for (int64_t i = 0; i < count; i += step) {
    const int64_t here = (count - i < step ? count - i + kRows - 1 : step) / kRows * kRows;
    pair_numbers(t, rows + i, cols, here, numbers);
    f(numbers, i, here * kBlock);
  }
}

}  // namespace

template <class T>
void pair_values(const PairTask<T>& t, const T* rows, const T* cols, int64_t count, TileMode mode, T* tile) {
  visit_pair_function(t.function, [&](auto function) LVM_INLINE {
    each_part(t, rows, cols, count, [&](const T* numbers, int64_t i, int64_t n) LVM_INLINE {
      values_of<decltype(function)>(t, numbers, n, mode, tile + i * kBlock);
    });
  });
}

template <class T>
bool pair_pullback(const PairTask<T>& t, const T* rows, const T* cols, int64_t count, T* tile, T* near, double* sums) {
  bool found = false;
  visit_pair_function(t.function, [&](auto function) LVM_INLINE {
    each_part(t, rows, cols, count, [&](const T* numbers, int64_t i, int64_t n) LVM_INLINE {
      pullback_of<decltype(function)>(t, numbers, n, tile + i * kBlock, sums);
      if (decltype(function)::kDistance && t.features > kDirect) {
        found = split_near(t, rows + i, cols, numbers, n / kBlock, tile + i * kBlock, near, i, found);
      }
    });
  });
  return found;
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
  template bool pair_pullback<T>(const PairTask<T>&, const T*, const T*, int64_t, T*, T*, double*);           \
  template void exp_array<T>(const T*, T*, int64_t);
LVM_INSTANTIATE(double)
LVM_INSTANTIATE(float)
#undef LVM_INSTANTIATE

}  // namespace lvm::cpu::LVM_ARCH

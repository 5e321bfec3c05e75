// The arithmetic of a rank-m Cholesky update: the reflections of a tile's own columns, and a tile's way through those of
// others. Tiles are column-major; where they come from and in which order is for cholesky_update.cpp.
//
// Column j of [L, U] is reduced by the hyperbolic Householder reflection that takes (l_jj, u_j) to (l~_jj, 0) and keeps
// l^2 + u S u^T, S the signs. R reflections together act on a row (l, a) as v = (l + a S B^T) W^-1, l~ = v - l, a~ = a - v B
// (Pas and Patrinos 2025, arXiv:2503.15372).
#pragma once

#include "cpu/pack.hpp"
#include "cpu/transpose.hpp"
#include "cpu/unroll.hpp"

namespace lvm::cpu::LVM_ARCH {

// Blocks of kR columns, tiles of kP packs of rows: kR x kP packs and a few more fill the registers.
#if LVM_VECTOR_BYTES == 64
constexpr int kR = 8, kP = 3;
#elif LVM_VECTOR_BYTES == 32
constexpr int kR = 4, kP = 3;
#elif defined(__aarch64__)
constexpr int kR = 4, kP = 4;
#else
constexpr int kR = 4, kP = 2;
#endif
template <class T>
constexpr double kLargest = sizeof(T) == 8 ? 1.7976931348623157e308 : 3.4028234663852886e38;
template <class T>
constexpr double kSquares = sizeof(T) == 8 ? 1e-280 : 1e-30;  // squares from here to the inverse keep their digits

// Reflections of R columns, one after the other: b[q * R + r], then the upper triangle of W^-1 by columns.
constexpr int upper(int row, int col) { return col * (col + 1) / 2 + row; }
template <int R>
constexpr int64_t block_size(int64_t m) {
  return m * R + R * (R + 1) / 2;
}

// R columns of P packs of rows through R reflections. Column r is at l[r * l_stride], column q of their part of U at
// a[q * S], with S the rows of a whole tile.
template <class T, int R, int P, int S>
LVM_HD void reflect(const T* l, int64_t l_stride, T* out, int64_t out_stride, T* a, const T* b, int64_t m, int64_t plus) {
  using V = Pack<T>;
  constexpr int W = V::W;
  const T* const inverse = b + m * R;
  V y[P][R];
  unroll<R>([&](auto r) LVM_INLINE {
    unroll<P>([&](auto k) LVM_INLINE { y[k][r] = V::load(l + r * l_stride + k * W); });
  });
  int64_t q = 0;
  for (; q < plus; ++q) {  // y = l + a S B^T
    V x[P];
    unroll<P>([&](auto k) LVM_INLINE { x[k] = V::load(a + q * S + k * W); });
    unroll<R>([&](auto r) LVM_INLINE {
      const V factor(b[q * R + r]);
      unroll<P>([&](auto k) LVM_INLINE { y[k][r] += x[k] * factor; });
    });
  }
  for (; q < m; ++q) {
    V x[P];
    unroll<P>([&](auto k) LVM_INLINE { x[k] = V::load(a + q * S + k * W); });
    unroll<R>([&](auto r) LVM_INLINE {
      const V factor(b[q * R + r]);
      unroll<P>([&](auto k) LVM_INLINE { y[k][r] = y[k][r] - x[k] * factor; });
    });
  }
  unroll<R>([&](auto reversed) LVM_INLINE {  // v = y W^-1
    constexpr int r = R - 1 - reversed;
    const V diagonal(inverse[upper(r, r)]);
    unroll<P>([&](auto k) LVM_INLINE { y[k][r] = y[k][r] * diagonal; });
    unroll<r>([&](auto s) LVM_INLINE {
      const V factor(inverse[upper(s, r)]);
      unroll<P>([&](auto k) LVM_INLINE { y[k][r] += y[k][s] * factor; });
    });
  });
  unroll<R>([&](auto r) LVM_INLINE {  // l~ = v - l
    unroll<P>([&](auto k) LVM_INLINE { (y[k][r] - V::load(l + r * l_stride + k * W)).store(out + r * out_stride + k * W); });
  });
  for (q = 0; q < m; ++q) {  // a~ = a - v B
    V x[P];
    unroll<P>([&](auto k) LVM_INLINE { x[k] = V::load(a + q * S + k * W); });
    unroll<R>([&](auto r) LVM_INLINE {
      const V factor(b[q * R + r]);
      unroll<P>([&](auto k) LVM_INLINE { x[k] = x[k] - y[k][r] * factor; });
    });
    unroll<P>([&](auto k) LVM_INLINE { x[k].store(a + q * S + k * W); });
  }
}

// Few columns of U: the rank-1 recurrence of Gill, Golub, Murray and Saunders (1974, method C1) for each in turn, all on one
// column of L at a time, so that L is read and written once and every step is one multiplication and addition. Column j and
// column q of U: p = a_j / l_jj, D = kappa^2 t_q, D' = D + S p^2, w = S p / D', t_q <- t_q + S p^2 / kappa^2, kappa^2 <- kappa^2 D' / D,
// with kappa = 1 before the first q and t = 1 before the first j; every row below: a <- a - p l, l <- l + w a; in the end
// l~ = kappa l. Kept per column: p (M), w (M), kappa.
template <class T, int M>
struct Narrow {
  using V = Pack<T>;
  static constexpr int W = V::W, kSize = 2 * M + 1;

  // R columns through one pack of rows.
  template <int R>
  static LVM_HD void columns(V (&y)[R], V (&x)[M], const T* b) {
    unroll<R>([&](auto r) LVM_INLINE {
      const T* p = b + r * kSize;
      unroll<M>([&](auto q) LVM_INLINE {
        x[q] = x[q] - y[r] * V(p[q]);
        y[r] += x[q] * V(p[M + q]);
      });
      y[r] = y[r] * V(p[2 * M]);
    });
  }

  // One block of R columns down `tiles` column-major tiles of S rows, of which the first P packs count.
  template <int R, int P, int S>
  static void down(const T* l, int64_t l_stride, T* out, int64_t out_stride, T* a, const T* b, int64_t tiles) {
    T kept[R * kSize];
    memcpy(kept, b, sizeof(kept));
    for (int64_t i = 0; i < tiles; ++i, l += S, out += S, a += M * S) {
      unroll<P>([&](auto k) LVM_INLINE {
        V x[M], y[R];
        unroll<M>([&](auto q) LVM_INLINE { x[q] = V::load(a + q * S + k * W); });
        unroll<R>([&](auto r) LVM_INLINE { y[r] = V::load(l + r * l_stride + k * W); });
        columns(y, x, kept);
        unroll<R>([&](auto r) LVM_INLINE { y[r].store(out + r * out_stride + k * W); });
        unroll<M>([&](auto q) LVM_INLINE { x[q].store(a + q * S + k * W); });
      });
    }
  }

  // `blocks` blocks of R columns along one pack of rows of a row-major matrix. Column q of their part of U is at a[q * S].
  template <int R, int S>
  static void along(const T* l, int64_t l_stride, T* out, int64_t out_stride, T* a, const T* b, int64_t blocks) {
    V x[M];
    unroll<M>([&](auto q) LVM_INLINE { x[q] = V::load(a + q * S); });
    for (int64_t c = 0; c < blocks; ++c, l += R, out += R, b += R * kSize) {
      V y[R];
      load_transposed<T, R>(l, l_stride, y);
      columns(y, x, b);
      store_transposed<T, R>(y, out, out_stride);
    }
    unroll<M>([&](auto q) LVM_INLINE { x[q].store(a + q * S); });
  }
};

// p, w and kappa of the columns of one tile, whose square on the diagonal, part, becomes l~; t goes from tile to tile, x is
// used up. Returns the column that is lost, or `columns`; *good is false where a number is not finite.
template <class T, int M, int P>
int recur(T* part, int columns, T* x, int64_t plus, double* t, T* b, bool* good) {
  using V = Pack<T>;
  constexpr int W = V::W, S = P * W;
  T inverse[S];
  for (int j = 0; j < columns; ++j) inverse[j] = T(1) / part[j * (S + 1)];
  for (int j = 0; j < columns; ++j, b += Narrow<T, M>::kSize) {
    T* column = part + j * S;
    const T pivot = column[j];
    V y[P];
    unroll<P>([&](auto k) LVM_INLINE { y[k] = V::load(column + k * W); });
    double kappa2 = 1;
    bool lost = false;
    unroll<M>([&](auto q) LVM_INLINE {
      T* const a = x + q * S;
      const T p = a[j] * inverse[j];
      const double g = q < plus ? p : -p, before = kappa2 * t[q], after = before + g * static_cast<double>(p);
      const T w = static_cast<T>(g / after);
      const V p_pack(p), w_pack(w);
      unroll<P>([&](auto k) LVM_INLINE {
        const V rest = V::load(a + k * W) - y[k] * p_pack;
        rest.store(a + k * W);
        y[k] += rest * w_pack;
      });
      t[q] += g * static_cast<double>(p) / kappa2;
      kappa2 *= after / before;
      b[q] = p;
      b[M + q] = w;
      if (!(after > 0) && !lost) {
        lost = true;
        *good = after <= 0 && p - p == 0;
      }
    });
    if (lost) return j;
    const double kappa = sqrt_(kappa2);
    b[2 * M] = static_cast<T>(kappa);
    if (!(kappa * static_cast<double>(pivot) <= kLargest<T>)) {
      *good = false;
      return j;
    }
    unroll<P>([&](auto k) LVM_INLINE { (y[k] * V(b[2 * M])).store(column + k * W); });
    column[j] = static_cast<T>(kappa * static_cast<double>(pivot));
  }
  return columns;
}

// W^-1 of a block from its b and tau: W_rr = 1 / tau_r, W_sr = b_s S b_r for s < r.
template <class T>
void invert_block(const T* b, const double* tau, int64_t m, int64_t plus, T* inverse) {
  typedef double Row __attribute__((vector_size(kR * sizeof(double))));
  typedef T Stored __attribute__((vector_size(kR * sizeof(T))));
  Row sums[kR] = {};
  for (int64_t q = 0; q < m; ++q) {
    Stored row;
    memcpy(&row, b + q * kR, sizeof(row));
    const Row x = __builtin_convertvector(row, Row), signed_x = q < plus ? x : -x;
    unroll<kR>([&](auto r) LVM_INLINE { sums[r] += signed_x * x[int(r)]; });
  }
  double x[kR * (kR + 1) / 2];
  unroll<kR>([&](auto r) LVM_INLINE {  // X W = I, column by column
    unroll<r>([&](auto s) LVM_INLINE {
      double sum = 0;
      for (int k = s; k < r; ++k) sum += x[upper(s, k)] * sums[r][k];
      x[upper(s, r)] = -tau[r] * sum;
    });
    x[upper(r, r)] = tau[r];
  });
  for (int i = 0; i < kR * (kR + 1) / 2; ++i) inverse[i] = static_cast<T>(x[i]);
}

// The sums of a column once more, near the ends of the range of squares: in units of its largest number. In: its pivot; out:
// pivot and square in that unit, sums with one factor of it. Returns 1 / unit, a power of two; a square that is NaN where a
// number is not finite.
template <class T, int S>
__attribute__((noinline)) double rescale(const T* x, int j, int64_t m, int64_t plus, double* pivot, double* square, T* sums) {
  double largest = *pivot;
  for (int64_t q = 0; q < m; ++q) {
    const double entry = fabs(static_cast<double>(x[q * S + j]));
    if (!(entry <= largest)) largest = entry;
  }
  *square = NAN;
  if (!(largest <= kLargest<T>)) return 1;
  int exponent;
  frexp(largest, &exponent);
  const int most = sizeof(T) == 8 ? 1000 : 120;
  const double unit = ldexp(1.0, -exponent < -most ? -most : -exponent > most ? most : -exponent);
  double sum[S] = {}, own = 0;
  for (int64_t q = 0; q < m; ++q) {
    const double entry = static_cast<double>(x[q * S + j]) * unit, signed_entry = q < plus ? entry : -entry;
    own += entry * signed_entry;
    for (int i = 0; i < S; ++i) sum[i] += static_cast<double>(x[q * S + i]) * signed_entry;
  }
  for (int i = 0; i < S; ++i) sums[i] = static_cast<T>(sum[i]);
  *pivot *= unit;
  *square = *pivot * *pivot + own;
  return unit;
}

// The reflections of the columns of one tile: part is its square on the diagonal, column-major, and becomes l~; x, its part
// of U, is used up. Returns the column that is lost, or `columns`; *good is false where a number is not finite.
template <class T, int P>
int factorise(T* part, int columns, T* x, int64_t m, int64_t plus, T* b, bool* good) {
  using V = Pack<T>;
  constexpr int W = V::W, S = P * W, R = kR;
  double tau[R];
  for (int j = 0; j < columns; ++j) {
    T* column = part + j * S;
    const int r = j % R, first = j / W;  // packs before `first` have done their work
    alignas(64) T sums[S];
    const auto sum_from = [&](auto start) LVM_INLINE {
      V sum[2][P];
      int64_t q = 0;
      const auto add = [&](auto set, int64_t q) LVM_INLINE {
        const V factor(x[q * S + j]);
        unroll<P - start>([&](auto k) LVM_INLINE { sum[set][start + k] += V::load(x + q * S + (start + k) * W) * factor; });
      };
      const auto subtract = [&](auto set, int64_t q) LVM_INLINE {
        const V factor(-x[q * S + j]);
        unroll<P - start>([&](auto k) LVM_INLINE { sum[set][start + k] += V::load(x + q * S + (start + k) * W) * factor; });
      };
      for (; q + 2 <= plus; q += 2) add(Constant<0>(), q), add(Constant<1>(), q + 1);
      if (q < plus) add(Constant<0>(), q++);
      for (; q + 2 <= m; q += 2) subtract(Constant<0>(), q), subtract(Constant<1>(), q + 1);
      if (q < m) subtract(Constant<0>(), q);
      unroll<P - start>([&](auto k) LVM_INLINE { (sum[0][start + k] + sum[1][start + k]).store(sums + (start + k) * W); });
    };
    unroll<P>([&](auto start) LVM_INLINE {
      if (start == first) sum_from(start);
    });
    double unit = 1, pivot = static_cast<double>(column[j]), square = pivot * pivot + static_cast<double>(sums[j]);
    if (!(square > kSquares<T> && square < 1 / kSquares<T>)) {
      unit = rescale<T, S>(x, j, m, plus, &pivot, &square, sums);
    }
    const double root = sqrt_(square), scale = 1.0 / (pivot + root);
    if (!(square > 0 && root <= kLargest<T> * unit)) {
      *good = square <= 0;
      return j;
    }
    tau[r] = (pivot + root) / root;
    const V scales(static_cast<T>(scale)), taus(static_cast<T>(tau[r]));
    const T own = static_cast<T>(scale * unit);
    T* const block = b + r;
    const auto update_from = [&](auto start) LVM_INLINE {
      V v[P];
      unroll<P - start>([&](auto k) LVM_INLINE {
        T* at = column + (start + k) * W;
        const V l = V::load(at);
        v[start + k] = (l + V::load(sums + (start + k) * W) * scales) * taus;
        (v[start + k] - l).store(at);
      });
      for (int64_t q = 0; q < m; ++q) {
        const T entry = x[q * S + j] * own;
        block[q * R] = entry;
        const V factor(entry);
        unroll<P - start>([&](auto k) LVM_INLINE {
          T* at = x + q * S + (start + k) * W;
          (V::load(at) - v[start + k] * factor).store(at);
        });
      }
    };
    unroll<P>([&](auto start) LVM_INLINE {
      if (start == first) update_from(start);
    });
    column[j] = static_cast<T>(root / unit);
    if (r == R - 1 || j == columns - 1) {
      for (int k = r + 1; k < R; ++k) {  // beyond the last column: reflections that do nothing
        tau[k] = 2;
        for (int64_t q = 0; q < m; ++q) b[q * R + k] = T(0);
      }
      invert_block<T>(b, tau, m, plus, b + m * R);
      b += block_size<R>(m);
    }
  }
  return columns;
}

}  // namespace lvm::cpu::LVM_ARCH

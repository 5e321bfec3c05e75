// Rank-m update and downdate of a Cholesky factor by blocked hyperbolic Householder reflections.
//
// Column j of [L, U] is reduced by the reflection that takes (l_jj, u_j) to (l~_jj, 0) and keeps l^2 + u S u^T, S the
// signs. R reflections together act on a row (l, a) as v = (l + a S B^T) W^-1, l~ = v - l, a~ = a - v B (Pas and
// Patrinos 2025, arXiv:2503.15372). Rows are taken in tiles: a tile meets the reflections of all rows above it in
// order, its part of U in cache throughout, then makes its own. So L is read and written once, and the tiles
// follow one another down the matrix on as many threads as there are, each behind the one above.
#include <sched.h>

#include "cpu/arch.hpp"
#include "cpu/pack.hpp"
#include "cpu/tasks.hpp"
#include "cpu/transpose.hpp"
#include "cpu/unroll.hpp"

namespace lvm::cpu::LVM_ARCH {
namespace {

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
typedef double BlockRow __attribute__((vector_size(kR * sizeof(double))));
typedef int64_t BlockMask __attribute__((vector_size(kR * sizeof(double))));

template <class T>
constexpr double kLargestPivot = sizeof(T) == 8 ? 1.7976931348623157e308 : 3.4028234663852886e38;

// Reflections of R columns, one after the other: b[q * R + r], then the upper triangle of W^-1 by columns.
constexpr int upper(int row, int col) { return col * (col + 1) / 2 + row; }
template <int R>
constexpr int64_t block_size(int64_t m) {
  return m * R + R * (R + 1) / 2;
}
// R columns of a tile of P packs of rows through R reflections; column r at l[r * l_stride], column q of the tile's part
// of U at a[q * a_stride].
template <class T, int R, int P>
LVM_HD void reflect(const T* l, int64_t l_stride, T* out, int64_t out_stride, T* a, int64_t a_stride, const T* b, int64_t m,
                    int64_t plus) {
  using V = Pack<T>;
  constexpr int W = V::W;
  const T* inverse = b + m * R;
  V y[P][R];
  unroll<R>([&](auto r) LVM_INLINE {
    unroll<P>([&](auto k) LVM_INLINE { y[k][r] = V::load(l + r * l_stride + k * W); });
  });
  int64_t q = 0;
  for (; q < plus; ++q) {
    V x[P];
    unroll<P>([&](auto k) LVM_INLINE { x[k] = V::load(a + q * a_stride + k * W); });
    unroll<R>([&](auto r) LVM_INLINE {
      const V factor(b[q * R + r]);
      unroll<P>([&](auto k) LVM_INLINE { y[k][r] += x[k] * factor; });
    });
  }
  for (; q < m; ++q) {
    V x[P];
    unroll<P>([&](auto k) LVM_INLINE { x[k] = V::load(a + q * a_stride + k * W); });
    unroll<R>([&](auto r) LVM_INLINE {
      const V factor(b[q * R + r]);
      unroll<P>([&](auto k) LVM_INLINE { y[k][r] = y[k][r] - x[k] * factor; });
    });
  }
  unroll<R>([&](auto reversed) LVM_INLINE {
    constexpr int r = R - 1 - reversed;
    const V diagonal(inverse[upper(r, r)]);
    unroll<P>([&](auto k) LVM_INLINE { y[k][r] = y[k][r] * diagonal; });
    unroll<r>([&](auto s) LVM_INLINE {
      const V factor(inverse[upper(s, r)]);
      unroll<P>([&](auto k) LVM_INLINE { y[k][r] += y[k][s] * factor; });
    });
  });
  unroll<R>([&](auto r) LVM_INLINE {
    unroll<P>([&](auto k) LVM_INLINE {
      (y[k][r] - V::load(l + r * l_stride + k * W)).store(out + r * out_stride + k * W);
    });
  });
  for (q = 0; q < m; ++q) {
    V x[P];
    unroll<P>([&](auto k) LVM_INLINE { x[k] = V::load(a + q * a_stride + k * W); });
    unroll<R>([&](auto r) LVM_INLINE {
      const V factor(b[q * R + r]);
      unroll<P>([&](auto k) LVM_INLINE { x[k] = x[k] - y[k][r] * factor; });
    });
    unroll<P>([&](auto k) LVM_INLINE { x[k].store(a + q * a_stride + k * W); });
  }
}

// For M <= 3 columns of U the recurrence of Gill, Golub, Murray and Saunders (1974) costs less: with G = S at first, column j
// gives p = u_j / l_jj, g = G p, d = 1 + p.g, k = sqrt(d), w = g / k, G <- G - w w^T, and takes a row (l, a) to
// a~ = a - l p, l~ = k l + w.a~. Kept per column: p (M), w (M), k.
template <class T, int M>
struct Narrow {
  using V = Pack<T>;
  static constexpr int W = V::W, kSize = 2 * M + 1;

  // R columns through one pack of rows.
  template <int R>
  static LVM_HD void columns(V (&y)[R], V (&x)[M], const T* b) {
    unroll<R>([&](auto r) LVM_INLINE {
      const T* p = b + r * kSize;
      unroll<M>([&](auto q) LVM_INLINE { x[q] = x[q] - y[r] * V(p[q]); });
      y[r] = y[r] * V(p[2 * M]);
      unroll<M>([&](auto q) LVM_INLINE { y[r] += x[q] * V(p[M + q]); });
    });
  }

  // One block of R columns down `tiles` tiles of a column-major matrix.
  template <int R, int P>
  static void down(const T* l, int64_t l_stride, T* out, int64_t out_stride, T* a, const T* b, int64_t tiles) {
    T kept[R * kSize];
    memcpy(kept, b, sizeof(kept));
    for (int64_t i = 0; i < tiles; ++i, l += P * W, out += P * W, a += M * P * W) {
      unroll<P>([&](auto k) LVM_INLINE {
        V x[M], y[R];
        unroll<M>([&](auto q) LVM_INLINE { x[q] = V::load(a + (q * P + k) * W); });
        unroll<R>([&](auto r) LVM_INLINE { y[r] = V::load(l + r * l_stride + k * W); });
        columns(y, x, kept);
        unroll<R>([&](auto r) LVM_INLINE { y[r].store(out + r * out_stride + k * W); });
        unroll<M>([&](auto q) LVM_INLINE { x[q].store(a + (q * P + k) * W); });
      });
    }
  }
};

// p of the first `columns` columns of a square column-major tile and, from them, w and k; g carries G (for M = 1 its
// inverse) from tile to tile. x, the tile's part of U, is used up. Returns the column that is lost, or `columns`.
template <class T, int M, int P>
int recur(const T* l, int columns, T* x, int64_t plus, double* g, T* b, bool* good) {
  using V = Pack<T>;
  constexpr int S = P * V::W;
  double inverse[S];
  for (int j = 0; j < columns; ++j) inverse[j] = 1.0 / static_cast<double>(l[j * (S + 1)]);
  double p[S][M], w[S][M], d[S];
  int lost = columns;
  for (int j = 0; j < columns; ++j) {
    T rounded[M];
    for (int q = 0; q < M; ++q) {
      rounded[q] = static_cast<T>(static_cast<double>(x[q * S + j]) * inverse[j]);
      p[j][q] = static_cast<double>(rounded[q]);
    }
    unroll<M>([&](auto q) LVM_INLINE {
      const V factor(rounded[q]);
      unroll<P>([&](auto k) LVM_INLINE {
        T* at = x + q * S + k * V::W;
        (V::load(at) - V::load(l + j * S + k * V::W) * factor).store(at);
      });
    });
    if constexpr (M == 1) {
      const double before = g[0], after = plus ? before + p[j][0] * p[j][0] : before - p[j][0] * p[j][0];
      g[0] = after;
      d[j] = after / before;
      w[j][0] = plus ? p[j][0] / before : -p[j][0] / before;
      if (!(after > 0) && lost == columns) lost = j;
    } else {
      d[j] = 1;
      for (int q = 0; q < M; ++q) {
        w[j][q] = 0;
        for (int r = 0; r < M; ++r) w[j][q] += g[q * M + r] * p[j][r];
        d[j] += w[j][q] * p[j][q];
      }
      const double scale = 1.0 / d[j];
      for (int q = 0; q < M; ++q) {
        for (int r = 0; r < M; ++r) g[q * M + r] -= w[j][q] * w[j][r] * scale;
      }
      if (!(d[j] > 0) && lost == columns) lost = j;
    }
  }
  for (int j = 0; j < lost; ++j, b += 2 * M + 1) {
    const double k = sqrt_(d[j]);
    for (int q = 0; q < M; ++q) {
      b[q] = static_cast<T>(p[j][q]);
      b[M + q] = static_cast<T>(w[j][q] / k);
    }
    b[2 * M] = static_cast<T>(k);
    if (!(k * static_cast<double>(l[j * (S + 1)]) <= kLargestPivot<T>)) lost = j;
  }
  *good = lost == columns || d[lost] <= 0;
  return lost;
}

// The reflections of R columns from the R x R block l[i + r * l_stride] and its rows a[q * a_stride + i] of U, in
// double; l becomes l~ (lower triangle). Returns the column that is lost, or R; *good is false where a number is
// not finite.
template <class T>
int factorise(const T* l, int64_t l_stride, const T* a, int64_t a_stride, int64_t m, int64_t plus, T* b, T* inverse, T* out,
              bool* good) {
  constexpr int R = kR;
  typedef T Row __attribute__((vector_size(kR * sizeof(T))));
  BlockRow x[kUpdateColumns], column[R];
  double tau[R], w[R][R];  // w[r][s] = b_s S b_r
  for (int64_t q = 0; q < m; ++q) {
    Row row;
    memcpy(&row, a + q * a_stride, sizeof(Row));
    x[q] = __builtin_convertvector(row, BlockRow);
  }
  unroll<R>([&](auto r) LVM_INLINE {
    Row row;
    memcpy(&row, l + r * l_stride, sizeof(Row));
    column[r] = __builtin_convertvector(row, BlockRow);
  });
  int done = R;
  unroll<R>([&](auto r) LVM_INLINE {
    if (done < R) return;
    BlockRow sum0 = {}, sum1 = {}, sum2 = {}, sum3 = {};
    const auto entry = [&](int64_t q) LVM_INLINE { return x[q][int(r)] - BlockRow{}; };
    int64_t q = 0;
    for (; q + 4 <= plus; q += 4) {
      sum0 += x[q] * entry(q);
      sum1 += x[q + 1] * entry(q + 1);
      sum2 += x[q + 2] * entry(q + 2);
      sum3 += x[q + 3] * entry(q + 3);
    }
    for (; q < plus; ++q) sum0 += x[q] * entry(q);
    for (; q + 4 <= m; q += 4) {
      sum0 -= x[q] * entry(q);
      sum1 -= x[q + 1] * entry(q + 1);
      sum2 -= x[q + 2] * entry(q + 2);
      sum3 -= x[q + 3] * entry(q + 3);
    }
    for (; q < m; ++q) sum0 -= x[q] * entry(q);
    const BlockRow sum = (sum0 + sum1) + (sum2 + sum3);
    const double pivot = column[r][int(r)], square = pivot * pivot + sum[int(r)];
    const double root = sqrt_(square), scale = 1.0 / (pivot + root);
    if (!(square > 0 && root <= kLargestPivot<T>)) {
      *good = square <= 0;
      done = r;
      return;
    }
    tau[r] = (pivot + root) / root;
    BlockRow v = (column[r] + sum * scale) * tau[r];
    column[r] = v - column[r];
    column[r][int(r)] = root;
    BlockMask later = {};  // lanes before r hold -b already, lane r gets it now
    BlockRow own = {};
    own[int(r)] = 1;
    unroll<R>([&](auto s) LVM_INLINE {
      later[int(s)] = s > r ? -1 : 0;
      w[r][s] = sum[int(s)] * scale;
    });
    v = later ? v : own;
    const BlockRow keep = 1 - own;
    for (q = 0; q < m; ++q) {
      const BlockRow factor = entry(q) * scale;
      x[q] = x[q] * keep - v * factor;
    }
  });
  if (done < R) return done;
  unroll<R>([&](auto r) LVM_INLINE {
    const Row row = __builtin_convertvector(column[r], Row);
    memcpy(out + r * R, &row, sizeof(Row));
  });
  for (int64_t q = 0; q < m; ++q) {
    const Row row = __builtin_convertvector(-x[q], Row);
    memcpy(b + q * R, &row, sizeof(Row));
  }
  double x_inverse[R * (R + 1) / 2];
  unroll<R>([&](auto r) LVM_INLINE {  // X W = I, column by column
    unroll<r>([&](auto s) LVM_INLINE {
      double sum = 0;
      for (int k = s; k < r; ++k) sum -= x_inverse[upper(s, k)] * w[r][k];
      x_inverse[upper(s, r)] = -tau[r] * sum;
    });
    x_inverse[upper(r, r)] = tau[r];
  });
  for (int i = 0; i < R * (R + 1) / 2; ++i) inverse[i] = static_cast<T>(x_inverse[i]);
  *good = true;
  return R;
}

// A mask of the lanes from `first` on.
template <class T>
LVM_HD typename Pack<T>::VI lanes_from(int64_t first) {
  typename Pack<T>::VI lane;
  for (int i = 0; i < kWidth<T>; ++i) lane[i] = i;
  return lane >= static_cast<typename Pack<T>::Int>(first);
}

inline void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// The number of columns, at least `wanted`, whose reflections are known; -1 once a column was lost.
template <class T>
int64_t wait_for(const CholeskyUpdateTask<T>& t, int64_t wanted) {
  for (int spin = 0;; ++spin) {
    const int64_t ready = __atomic_load_n(t.ready, __ATOMIC_ACQUIRE);
    if (ready >= wanted) return ready;
    if (__atomic_load_n(t.lost, __ATOMIC_RELAXED) >= 0) return -1;
    spin < 2000 ? pause_cpu() : static_cast<void>(sched_yield());
  }
}

template <class T>
__attribute__((noinline)) void copy_line(const T* from, int64_t from_step, T* to, int64_t to_step, int64_t count) {
  for (; count > 0; --count, from += from_step, to += to_step) *to = *from;
}

// What the widths of an update have in common. M = 0: any number of columns.
template <class T, int M, bool ByRows>
struct Sweep {
  static constexpr int W = kWidth<T>, P = kP, S = P * W;
  static_assert(S % kR == 0, "a block of columns belongs to one tile");
  static constexpr int kSpan = ByRows ? 64 : kR;  // columns of a row-major tile that are transposed at a time
  const CholeskyUpdateTask<T>& t;
  const int64_t size = M ? kR * (2 * M + 1) : block_size<kR>(t.m);

  explicit Sweep(const CholeskyUpdateTask<T>& task) : t(task) {}

  // `count` blocks of columns of a column-major tile.
  void blocks(const T* l, int64_t l_stride, T* out, int64_t out_stride, T* x, const T* b, int64_t count) {
    for (int64_t c = 0; c < count; ++c) {
      const T* from = l + c * kR * l_stride;
      T* to = out + c * kR * out_stride;
      if constexpr (M > 0) {
        Narrow<T, M>::template down<kR, P>(from, l_stride, to, out_stride, x, b + c * size, 1);
      } else {
        reflect<T, kR, P>(from, l_stride, to, out_stride, x, S, b + c * size, t.m, t.plus);
      }
    }
  }

  // Blocks [begin, end) of all rows from `row` on, below `last`, whose part of U is x.
  void sweep(int64_t row, int64_t last, T* x, int64_t begin, int64_t end) {
    if constexpr (M > 0 && !ByRows) {
      const int64_t tiles = (last - row) / S;
      for (int64_t c = begin; c < end; ++c) {
        Narrow<T, M>::template down<kR, P>(t.l + row + c * kR * t.l_stride, t.l_stride, t.out + row + c * kR * t.out_stride,
                                           t.out_stride, x, t.reflections + c * size, tiles);
      }
      row += tiles * S;
      x += tiles * S * M;
    }
    for (; row < last; row += S, x += S * t.m) sweep_tile(row, last - row < S ? last - row : S, x, begin, end);
  }

  void sweep_tile(int64_t row, int64_t rows, T* x, int64_t begin, int64_t end) {
    const T* b = t.reflections + begin * size;
    const T* l = t.l + row * (ByRows ? t.l_stride : 1) + begin * kR * (ByRows ? 1 : t.l_stride);
    T* out = t.out + row * (ByRows ? t.out_stride : 1) + begin * kR * (ByRows ? 1 : t.out_stride);
    if (!ByRows && rows == S) return blocks(l, t.l_stride, out, t.out_stride, x, b, end - begin);
    alignas(64) T part[kSpan * S];
    if (rows < S) memset(part, 0, sizeof(part));
    for (int64_t c = begin; c < end; c += kSpan / kR) {
      const int columns = static_cast<int>(end - c < kSpan / kR ? end - c : kSpan / kR) * kR;
      load_part(l, static_cast<int>(rows), columns, part);
      blocks(part, S, part, S, x, b, columns / kR);
      store_part(part, static_cast<int>(rows), columns, out);
      l += columns * (ByRows ? 1 : t.l_stride);
      out += columns * (ByRows ? 1 : t.out_stride);
      b += columns / kR * size;
    }
  }

  // Rows and columns (a multiple of kR) of the matrix to and from a column-major tile.
  void load_part(const T* l, int rows, int columns, T* part) {
    int i = 0;
    for (; i + W <= rows; i += W) {
      for (int j = 0; j < columns; j += kR) {
        Pack<T> y[kR];
        if constexpr (ByRows) {
          load_transposed<T, kR>(l + i * t.l_stride + j, t.l_stride, y);
        } else {
          unroll<kR>([&](auto r) LVM_INLINE { y[r] = Pack<T>::load(l + i + (j + r) * t.l_stride); });
        }
        unroll<kR>([&](auto r) LVM_INLINE { y[r].store(part + (j + r) * S + i); });
      }
    }
    for (; i < rows; ++i) {
      copy_line(l + i * (ByRows ? t.l_stride : 1), ByRows ? 1 : t.l_stride, part + i, S, columns);
    }
  }
  void store_part(const T* part, int rows, int columns, T* out) {
    int i = 0;
    for (; i + W <= rows; i += W) {
      for (int j = 0; j < columns; j += kR) {
        Pack<T> y[kR];
        unroll<kR>([&](auto r) LVM_INLINE { y[r] = Pack<T>::load(part + (j + r) * S + i); });
        if constexpr (ByRows) {
          store_transposed<T, kR>(y, out + i * t.out_stride + j, t.out_stride);
        } else {
          unroll<kR>([&](auto r) LVM_INLINE { y[r].store(out + i + (j + r) * t.out_stride); });
        }
      }
    }
    for (; i < rows; ++i) {
      copy_line(part + i, S, out + i * (ByRows ? t.out_stride : 1), ByRows ? 1 : t.out_stride, columns);
    }
  }

  // The tile's own columns: new reflections. False where a column is lost.
  bool diagonal(int64_t row, int64_t rows, T* x) {
    alignas(64) T part[S * S], old[S * S];
    load_square(t.l + row * (t.l_stride + 1), rows, part);
    memcpy(old, part, sizeof(part));
    T* b = t.reflections + row / kR * size;
    if constexpr (M > 0) {
      alignas(64) T kept[M * S];
      memcpy(kept, x, sizeof(kept));
      bool good = true;
      const int lost = recur<T, M, P>(part, static_cast<int>(rows), x, t.plus, t.g, b, &good);
      if (lost < rows) return lose(row + lost, good);
      for (int64_t j = 0; j < rows; ++j) {  // whole packs from the diagonal on
        const int64_t k = j / W * W;
        T* column = part + j * S;
        for (int64_t i = k; i < S; i += W) {
          Pack<T> y[1] = {Pack<T>::load(column + i)}, u[M];
          unroll<M>([&](auto q) LVM_INLINE { u[q] = Pack<T>::load(kept + q * S + i); });
          Narrow<T, M>::columns(y, u, b + j * (2 * M + 1));
          y[0].store(column + i);
          unroll<M>([&](auto q) LVM_INLINE { u[q].store(kept + q * S + i); });
        }
      }
    } else {
      for (int64_t c = 0; c < rows; c += kR, b += size) {
        bool good = true;
        T block[kR * kR];
        const int r = factorise<T>(part + c * (S + 1), S, x + c, S, t.m, t.plus, b, b + t.m * kR, block, &good);
        if (r < kR) return lose(row + c + r, good);
        for (int64_t k = (c + kR) / W * W; k < S; k += W) {  // the rows below, a pack at a time
          reflect<T, kR, 1>(part + k + c * S, S, part + k + c * S, S, x + k, S, b, t.m, t.plus);
        }
        for (int64_t r = 0; r < kR; ++r) memcpy(part + c + (c + r) * S, block + r * kR, kR * sizeof(T));
      }
    }
    store_square(part, old, rows, t.out + row * (t.out_stride + 1));
    return true;
  }
  bool lose(int64_t column, bool finite) {
    *t.finite = finite;
    __atomic_store_n(t.lost, column, __ATOMIC_RELEASE);
    return false;
  }

  // The square on the diagonal; rows beyond the last one are those of the identity. What is above the diagonal is
  // carried along and not used.
  void load_square(const T* l, int64_t rows, T* part) {
    if (rows == S) {
      if constexpr (ByRows) {
        T lines[S * S + W];  // load_transposed may read beyond a line
        for (int64_t i = 0; i < S; ++i) memcpy(lines + i * S, l + i * t.l_stride, S * sizeof(T));
        for (int64_t i = 0; i < S; i += W) {
          for (int64_t j = 0; j < S; j += kR) {
            Pack<T> y[kR];
            load_transposed<T, kR>(lines + i * S + j, S, y);
            unroll<kR>([&](auto r) LVM_INLINE { y[r].store(part + (j + r) * S + i); });
          }
        }
      } else {
        for (int64_t j = 0; j < S; ++j) memcpy(part + j * S, l + j * t.l_stride, S * sizeof(T));
      }
      return;
    }
    memset(part, 0, S * S * sizeof(T));
    for (int64_t j = 0; j < S; ++j) {
      part[j * (S + 1)] = 1;
      for (int64_t i = j; i < rows; ++i) part[i + j * S] = ByRows ? l[i * t.l_stride + j] : l[i + j * t.l_stride];
    }
  }
  // The lower triangle; above it goes what was there, or zero.
  void store_square(T* part, const T* old, int64_t rows, T* out) {
    if (rows == S) {
      using V = typename Pack<T>::V;
      for (int64_t j = 1; j < S; ++j) {
        for (int64_t k = 0; k <= j; k += W) {
          T* at = part + j * S + k;
          const V above = t.clear_upper ? V{} : Pack<T>::load(old + j * S + k).v;
          Pack<T>(lanes_from<T>(j - k) ? Pack<T>::load(at).v : above).store(at);
        }
      }
      return store_part(part, S, S, out);
    }
    for (int64_t j = 0; j < rows; ++j) {
      for (int64_t i = j; i < rows; ++i) (ByRows ? out[i * t.out_stride + j] : out[i + j * t.out_stride]) = part[i + j * S];
    }
  }

  void clear_upper(int64_t row, int64_t rows) {
    if (ByRows) {
      for (int64_t i = row; i < row + rows; ++i) memset(t.out + i * t.out_stride + i + 1, 0, (t.n - i - 1) * sizeof(T));
    } else {
      for (int64_t j = row + 1; j < t.n; ++j) memset(t.out + row + j * t.out_stride, 0, (j - row < rows ? j - row : rows) * sizeof(T));
    }
  }

  void group(int64_t index) {
    const int64_t first = index * t.tiles * S;
    const int64_t tiles = (t.n - first + S - 1) / S < t.tiles ? (t.n - first + S - 1) / S : t.tiles;
    const int64_t last = first + tiles * S < t.n ? first + tiles * S : t.n;
    T* a = t.a + first * t.m;
    const auto row_of = [&](int64_t k) { return first + k * S; };
    const auto rows_of = [&](int64_t k) { return t.n - row_of(k) < S ? t.n - row_of(k) : S; };
    for (int64_t k = 0; k < tiles; ++k) {
      T* x = a + k * S * t.m;
      const int64_t rows = rows_of(k);
      for (int64_t q = 0; q < t.m; ++q) {
        const T* u = t.u + t.order[q] * t.u_col + row_of(k) * t.u_row;
        for (int64_t i = 0; i < S; ++i) x[q * S + i] = i < rows ? u[i * t.u_row] : T(0);
      }
    }
    // The columns above the group, a few at a time, so that each is met by all tiles while its reflections are near.
    int64_t known = __atomic_load_n(t.ready, __ATOMIC_ACQUIRE);
    for (int64_t c = 0; c < first / kR;) {
      if (known < (c + 1) * kR) known = wait_for(t, (c + 1) * kR);
      if (known < 0) return;
      int64_t end = known / kR < first / kR ? known / kR : first / kR;
      if (t.tiles > 1 && end > c + t.span) end = c + t.span;
      sweep(first, last, a, c, end);
      c = end;
    }
    // Its own columns.
    for (int64_t k = 0; k < tiles; ++k) {
      if (!diagonal(row_of(k), rows_of(k), a + k * S * t.m)) return;
      __atomic_store_n(t.ready, row_of(k) + S, __ATOMIC_RELEASE);
      for (int64_t c = row_of(k) / kR; c < row_of(k + 1) / kR; c += t.span) {
        const int64_t end = c + t.span < row_of(k + 1) / kR ? c + t.span : row_of(k + 1) / kR;
        sweep(row_of(k + 1), last, a + (k + 1) * S * t.m, c, end);
      }
    }
    if (t.clear_upper) {
      for (int64_t k = 0; k < tiles; ++k) clear_upper(row_of(k), rows_of(k));
    }
  }
};

template <class T, int M>
void run_group(const CholeskyUpdateTask<T>& t, int64_t index) {
  if (t.by_rows) {
    Sweep<T, M, true>(t).group(index);
  } else {
    Sweep<T, M, false>(t).group(index);
  }
}

}  // namespace

template <class T>
int64_t cholesky_update_rows(int64_t) {
  return kWidth<T> * kP;
}
template <class T>
int64_t cholesky_update_size(int64_t n, int64_t m) {
  const int64_t size = m <= kNarrowColumns ? kR * (2 * m + 1) : block_size<kR>(m);
  return (n + kR - 1) / kR * size;
}
template <class T>
void cholesky_update_group(const CholeskyUpdateTask<T>& t, int64_t index) {
  switch (t.m) {
    case 1: return run_group<T, 1>(t, index);
    case 2: return run_group<T, 2>(t, index);
    case 3: return run_group<T, 3>(t, index);
    default: return run_group<T, 0>(t, index);
  }
}

template int64_t cholesky_update_rows<double>(int64_t);
template int64_t cholesky_update_rows<float>(int64_t);
template int64_t cholesky_update_size<double>(int64_t, int64_t);
template int64_t cholesky_update_size<float>(int64_t, int64_t);
template void cholesky_update_group<double>(const CholeskyUpdateTask<double>&, int64_t);
template void cholesky_update_group<float>(const CholeskyUpdateTask<float>&, int64_t);

}  // namespace lvm::cpu::LVM_ARCH

// Rank-m update and downdate of a Cholesky factor.
//
// Rows are taken in tiles: a tile meets the reflections of all rows above it in order, its part of U in cache
// throughout, then makes its own. So L is read and written once, and the tiles follow one another down the matrix on as
// many threads as there are, each behind the one above.
#include <sched.h>

#include "cpu/arch.hpp"
#include "cpu/pack.hpp"
#include "cpu/reflections.hpp"
#include "cpu/tasks.hpp"
#include "cpu/transpose.hpp"
#include "cpu/unroll.hpp"
#include "device/pause.hpp"

namespace lvm::cpu::LVM_ARCH {
namespace {

// A mask of the lanes from `first` on.
template <class T>
LVM_HD typename Pack<T>::VI lanes_from(int64_t first) {
  typename Pack<T>::VI lane;
  for (int i = 0; i < kWidth<T>; ++i) lane[i] = i;
  return lane >= static_cast<typename Pack<T>::Int>(first);
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
  const int64_t size = M ? kR * (2 * M + 1) : block_size<kR>(t.m);  // numbers of a block's reflections

  explicit Sweep(const CholeskyUpdateTask<T>& task) : t(task) {}

  // Blocks [begin, end) of the columns of column-major tiles, Q packs of rows in each.
  template <int Q>
  void blocks(const T* l, int64_t l_stride, T* out, int64_t out_stride, T* x, int64_t tiles, int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c, l += kR * l_stride, out += kR * out_stride) {
      const T* b = t.reflections + c * size;
      if constexpr (M > 0) {
        Narrow<T, M>::template down<kR, Q, S>(l, l_stride, out, out_stride, x, b, tiles);
      } else {
        for (int64_t i = 0; i < tiles; ++i) {
          reflect<T, kR, Q, S>(l + i * S, l_stride, out + i * S, out_stride, x + i * S * t.m, b, t.m, t.plus);
        }
      }
    }
  }

  // Blocks [begin, end) of the columns, rows [row, last); x is their part of U.
  void sweep(int64_t row, int64_t last, T* x, int64_t begin, int64_t end) {
    if constexpr (!ByRows) {
      const T* l = t.l + row + begin * kR * t.l_stride;
      T* out = t.out + row + begin * kR * t.out_stride;
      const int64_t tiles = (last - row) / S, whole = tiles * S, left = last - row - whole;
      if (tiles > 0) blocks<P>(l, t.l_stride, out, t.out_stride, x, tiles, begin, end);
      row += whole;
      x += whole * t.m;
      unroll<P>([&](auto packs) LVM_INLINE {
        if constexpr (packs > 0) {
          if (left == packs * W) {
            blocks<packs>(l + whole, t.l_stride, out + whole, t.out_stride, x, 1, begin, end);
            row = last;
          }
        }
      });
    }
    for (; row < last; row += S, x += S * t.m) sweep_part(row, last - row < S ? last - row : S, x, begin, end);
  }

  // The same for one tile through a column-major copy.
  void sweep_part(int64_t row, int64_t rows, T* x, int64_t begin, int64_t end) {
    const T* l = t.l + row * (ByRows ? t.l_stride : 1) + begin * kR * (ByRows ? 1 : t.l_stride);
    T* out = t.out + row * (ByRows ? t.out_stride : 1) + begin * kR * (ByRows ? 1 : t.out_stride);
    if constexpr (ByRows && M > 0) {
      if (rows % W == 0) {  // a pack at a time, in registers; the reflections of a span stay in the first cache
        constexpr int64_t kFar = 512 / kR;
        for (int64_t c = begin; c < end; c += kFar) {
          const int64_t count = end - c < kFar ? end - c : kFar, shift = (c - begin) * kR;
          for (int64_t k = 0; k < rows; k += W) {
            Narrow<T, M>::template along<kR, S>(l + k * t.l_stride + shift, t.l_stride, out + k * t.out_stride + shift,
                                                t.out_stride, x + k, t.reflections + c * size, count);
          }
        }
        return;
      }
    }
    alignas(64) T part[kSpan * S];
    if (rows < S) memset(part, 0, sizeof(part));
    for (int64_t c = begin; c < end; c += kSpan / kR) {
      const int64_t stop = end - c < kSpan / kR ? end : c + kSpan / kR;
      const int columns = static_cast<int>(stop - c) * kR;
      load_part(l, static_cast<int>(rows), columns, part);
      blocks<P>(part, S, part, S, x, 1, c, stop);
      store_part(part, static_cast<int>(rows), columns, out);
      l += columns * (ByRows ? 1 : t.l_stride);
      out += columns * (ByRows ? 1 : t.out_stride);
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
    if (!t.clear_upper) memcpy(old, part, sizeof(part));
    T* b = t.reflections + row / kR * size;
    const int columns = static_cast<int>(rows);
    bool good = true;
    int lost;
    if constexpr (M > 0) {
      lost = recur<T, M, P>(part, columns, x, t.plus, t.t, b, &good);
    } else {
      lost = factorise<T, P>(part, columns, x, t.m, t.plus, b, &good);
    }
    if (lost < columns) return lose(row + lost, good);
    store_square(part, old, rows, t.out + row * (t.out_stride + 1));
    return true;
  }
  bool lose(int64_t column, bool finite) {
    *t.finite = finite;
    __atomic_store_n(t.lost, column, __ATOMIC_RELEASE);
    return false;
  }

  // The square on the diagonal, column-major; rows beyond the last one are those of the identity. What is above the
  // diagonal is carried along and not used.
  void load_square(const T* l, int64_t rows, T* part) {
    alignas(64) T lines[S * S + W];  // load_transposed may read beyond a line
    T* const to = ByRows ? lines : part;
    if (rows < S) memset(to, 0, S * S * sizeof(T));
    for (int64_t i = 0; i < rows; ++i) copy_few(l + i * t.l_stride, to + i * S, rows);
    if constexpr (ByRows) {
      for (int64_t i = 0; i < S; i += W) {
        for (int64_t j = 0; j < S; j += kR) {
          Pack<T> y[kR];
          load_transposed<T, kR>(lines + i * S + j, S, y);
          unroll<kR>([&](auto r) LVM_INLINE { y[r].store(part + (j + r) * S + i); });
        }
      }
    }
    for (int64_t i = rows; i < S; ++i) part[i * (S + 1)] = 1;
  }
  // The lower triangle goes to out; above it what was there, or zero.
  void store_square(T* part, const T* old, int64_t rows, T* out) {
    using V = typename Pack<T>::V;
    for (int64_t j = 1; j < rows; ++j) {
      for (int64_t k = 0; k <= j; k += W) {
        T* at = part + j * S + k;
        const V above = t.clear_upper ? V{} : Pack<T>::load(old + j * S + k).v;
        Pack<T>(lanes_from<T>(j - k) ? Pack<T>::load(at).v : above).store(at);
      }
    }
    alignas(64) T lines[S * S];
    if constexpr (ByRows) {
      if (rows == S) return store_part(part, S, S, out);
      for (int64_t i = 0; i < rows; i += W) {
        for (int64_t j = 0; j < rows; j += kR) {
          Pack<T> y[kR];
          unroll<kR>([&](auto r) LVM_INLINE { y[r] = Pack<T>::load(part + (j + r) * S + i); });
          store_transposed<T, kR>(y, lines + i * S + j, S);
        }
      }
    }
    for (int64_t i = 0; i < rows; ++i) copy_few((ByRows ? lines : part) + i * S, out + i * t.out_stride, rows);
  }
  static void copy_few(const T* from, T* to, int64_t count) {
    if (count == S) {
      memcpy(to, from, S * sizeof(T));
      return;
    }
    int64_t i = 0;
    for (; i + W <= count; i += W) Pack<T>::load(from + i).store(to + i);
    for (; i < count; ++i) to[i] = from[i];
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
        if (rows == S && t.u_row == 1) {
          memcpy(x + q * S, u, S * sizeof(T));
        } else {
          copy_line(u, t.u_row, x + q * S, 1, rows);
          for (int64_t i = rows; i < S; ++i) x[q * S + i] = T(0);
        }
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
int64_t cholesky_update_rows() {
  return kWidth<T> * kP;
}
template <class T>
int64_t cholesky_update_size(int64_t n, int64_t m) {
  const int64_t size = m <= kNarrowColumns && block_size<kR>(m) < kR * (2 * m + 1) ? kR * (2 * m + 1) : block_size<kR>(m);
  return (n + kR - 1) / kR * size;
}
template <class T>
void cholesky_update_group(const CholeskyUpdateTask<T>& t, int64_t index) {
  static_assert(kNarrowColumns == 4, "the widths below");
  switch (narrow_update(t.m, t.plus) ? t.m : 0) {
    case 1: return run_group<T, 1>(t, index);
    case 2: return run_group<T, 2>(t, index);
    case 3: return run_group<T, 3>(t, index);
    case 4: return run_group<T, 4>(t, index);
    default: return run_group<T, 0>(t, index);
  }
}

template int64_t cholesky_update_rows<double>();
template int64_t cholesky_update_rows<float>();
template int64_t cholesky_update_size<double>(int64_t, int64_t);
template int64_t cholesky_update_size<float>(int64_t, int64_t);
template void cholesky_update_group<double>(const CholeskyUpdateTask<double>&, int64_t);
template void cholesky_update_group<float>(const CholeskyUpdateTask<float>&, int64_t);

}  // namespace lvm::cpu::LVM_ARCH

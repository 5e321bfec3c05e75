// The CPU as a device: what the algorithms in csrc/algo may ask of it.
//
// A device offers BLAS/LAPACK (column-major), loops (parallel_for, ordered reductions), scratch memory, and the
// tuned kernels: scaled points, kernel matrix, its pull-back, row-independent products. csrc/algo is
// written against these names only, so that the CUDA device can offer the same.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "cpu/dispatch.hpp"
#include "device/blas.hpp"
#include "device/buffer.hpp"
#include "device/matrix.hpp"
#include "device/status.hpp"
#include "device/thread_pool.hpp"

namespace lvm {

struct Cpu {
  template <class T>
  using Scratch = Buffer<T>;

  template <class T>
  using Blas = lvm::Blas<T>;

  static constexpr int64_t kUpdateColumns = cpu::kUpdateColumns;

  static int64_t threads() { return ThreadPool::instance().size(); }

  // f(begin, end) over [0, n) in pieces of `grain`; on the calling thread when there is little to do.
  template <class F>
  static void for_ranges(int64_t n, int64_t grain, const F& f) {
    const int64_t chunks = (n + grain - 1) / grain;
    parallel_for(chunks, [&](int64_t c) { f(c * grain, std::min(n, (c + 1) * grain)); });
  }

  // sum over ranges of f(begin, end), added in the order of the ranges whatever thread computed them.
  template <class F>
  static double sum_ranges(int64_t n, int64_t grain, const F& f) {
    std::vector<double> partial((n + grain - 1) / grain);
    for_ranges(n, grain, [&](int64_t begin, int64_t end) { partial[begin / grain] = f(begin, end); });
    double total = 0;
    for (double p : partial) total += p;
    return total;
  }

  // Points for the kernel-matrix kernels: (x - centre) / lengthscale, one dimension after the other.
  template <class T>
  class Points {
   public:
    // x: (count, q) row-major, or the rows index[0..count) of it; centre and lengthscale: (q,).
    void assign(const T* x, int64_t count, int64_t q, const int64_t* index, const double* centre,
                const T* lengthscale) {
      const int64_t pad = cpu::kPad;
      count_ = count;
      stride_ = (count + 3 + pad - 1) / pad * pad;
      T* data = data_.reserve(stride_ * q);
      for (int64_t k = 0; k < q; ++k) {
        T* out = data + k * stride_;
        const double c = centre[k], scale = 1.0 / static_cast<double>(lengthscale[k]);
        for (int64_t i = 0; i < count; ++i) {
          out[i] = static_cast<T>((static_cast<double>(x[(index ? index[i] : i) * q + k]) - c) * scale);
        }
        std::fill(out + count, out + stride_, T(0));
      }
    }
    cpu::ScaledPoints<T> view() const { return {data_.data(), stride_, count_}; }
    int64_t count() const { return count_; }

   private:
    Buffer<T> data_;
    int64_t stride_ = 0, count_ = 0;
  };

  // out[i, j] = k(rows_i, cols_j), row-major; with lower only j <= i is defined afterwards.
  template <class T>
  static void gram(StationaryKind kind, int64_t q, const Points<T>& rows, const Points<T>& cols, T variance,
                   T* out, int64_t out_stride, bool lower) {
    const cpu::GramTask<T> task{kind, q, rows.view(), cols.view(), variance, out, out_stride, lower};
    const auto& kernel = cpu::kernels_for<T>();
    const int64_t n = rows.count(), grain = small(n, cols.count()) ? std::max<int64_t>(n, 1) : 32;
    for_ranges(n, grain, [&](int64_t begin, int64_t end) {
      if (lower) {  // the longest rows first: the short ones then even out the threads
        kernel.gram_rows(task, n - end, n - begin);
      } else {
        kernel.gram_rows(task, begin, end);
      }
    });
  }

  // The gradients of sum_ij S[i, j] k(rows_i, cols_j) in scaled coordinates; see cpu::PullbackTask.
  // d_rows: (rows, q), overwritten; d_lengthscale: (q,), overwritten.
  template <class T>
  static void gram_pullback(StationaryKind kind, int64_t q, const Points<T>& rows, const Points<T>& cols,
                            const T* c, int64_t c_stride, Cotangent layout, double* d_rows,
                            double* d_lengthscale, double* d_variance) {
    const int64_t n = rows.count(), grain = cpu::kPullbackRows, chunks = (n + grain - 1) / grain;
    const cpu::PullbackTask<T> task{kind, q, rows.view(), cols.view(), c, c_stride, layout, d_rows};
    const auto& kernel = cpu::kernels_for<T>();
    std::vector<double> partial(chunks * (q + 1));
    std::fill(d_rows, d_rows + n * q, 0.0);
    const auto chunk = [&](int64_t i) {
      double* sums = partial.data() + i * (q + 1);
      kernel.pullback_rows(task, i * grain, std::min(n, (i + 1) * grain), sums, sums + q);
    };
    if (small(n, cols.count())) {
      for (int64_t i = 0; i < chunks; ++i) chunk(i);
    } else {
      parallel_for(chunks, chunk);
    }
    std::fill(d_lengthscale, d_lengthscale + q, 0.0);
    *d_variance = 0;
    for (int64_t i = 0; i < chunks; ++i) {
      for (int64_t k = 0; k < q; ++k) d_lengthscale[k] += partial[i * (q + 1) + k];
      *d_variance += partial[i * (q + 1) + q];
    }
  }

  // out = in m, each row by itself (see cpu::RowGemmTask); all row-major.
  template <class T>
  static void row_gemm(int64_t rows, int64_t cols, int64_t depth, const T* in, int64_t in_stride, const T* m,
                       int64_t m_stride, T* out, int64_t out_stride) {
    if (rows == 0 || cols == 0) return;
    const cpu::RowGemmTask<T> task{rows, depth, cols, in, in_stride, m, m_stride, out, out_stride};
    const auto& kernel = cpu::kernels_for<T>();
    for_ranges(cols, 4 * cpu::kPad, [&](int64_t begin, int64_t end) { kernel.row_gemm_columns(task, begin, end); });
  }

  // out out^T = l l^T + u S u^T for one pass of at most kUpdateColumns columns (see cpu::CholeskyUpdateTask).
  template <class T>
  static Status cholesky_update(int64_t n, const SignedColumns& columns, const Factor<const T>& l, const Factor<T>& out,
                                const Strided<const T>& u, bool clear_upper) {
    const auto& kernel = cpu::kernels_for<T>();
    const int64_t m = columns.count, rows = kernel.cholesky_update_rows(), tiles = (n + rows - 1) / rows;
    const int64_t skew = 80;  // numbers: keeps scratch off the cache sets of the matrix's columns
    static thread_local Buffer<T> scratch;
    const int64_t size_a = (tiles * rows * m + 15) / 16 * 16;
    T* a = scratch.reserve(size_a + kernel.cholesky_update_size(n, m) + 2 * skew) + skew;
    double t[cpu::kNarrowColumns];
    std::fill(t, t + cpu::kNarrowColumns, 1.0);
    int64_t ready = 0, lost = -1;
    bool finite = true;
    const bool narrow = cpu::narrow_update(m, columns.plus);
    // Long columns and few operations on them: one thread reads memory nearly as fast as two.
    const int64_t worth = (narrow && !l.by_rows ? 24 : 1) * kWorthThreads;
    const int64_t threads = n * n * (m + 8) > worth ? ThreadPool::instance().size() : 1;
    cpu::CholeskyUpdateTask<T> task{n, m, columns.plus, l.by_rows, clear_upper, l.data, l.stride, out.data, out.stride,
                                    u.data, u.row, u.col, columns.order, 1, 1, a, a + size_a + skew, t, &ready, &lost,
                                    &finite};
    if (!l.by_rows) {
      // A few columns of u: long ways down the matrix, as long as the threads allow. More: what stays in the first cache.
      const int64_t most = narrow ? tiles : 12;
      task.tiles = threads == 1 ? most : std::clamp<int64_t>(tiles / ((narrow ? 4 : 2) * threads), 1, most);
      task.span = narrow ? 1 : 4;
    }
    const int64_t groups = (tiles + task.tiles - 1) / task.tiles;
    if (threads == 1) {
      for (int64_t k = 0; k < groups; ++k) kernel.cholesky_update_group(task, k);
    } else {
      parallel_for(groups, [&](int64_t k) { kernel.cholesky_update_group(task, k); });
    }
    if (scratch.bytes() > kKeptScratch) scratch = Buffer<T>();
    if (lost < 0) return {};
    return {finite ? Code::not_positive_definite : Code::non_finite, lost};
  }

  // y = exp(x), by the exponential that the kernels use.
  template <class T>
  static void exp(const T* x, T* y, int64_t n) {
    cpu::kernels_for<T>().exp(x, y, n);
  }

  // Copies the lower triangle of a row-major square matrix onto the upper one.
  template <class T>
  static void mirror_lower(T* a, int64_t n, int64_t stride) {
    constexpr int64_t kBlock = 32;
    for_ranges(n, kBlock, [&](int64_t begin, int64_t end) {
      for (int64_t j0 = 0; j0 < end; j0 += kBlock) {
        for (int64_t i = begin; i < end; ++i) {
          for (int64_t j = j0; j < std::min(j0 + kBlock, i); ++j) a[j * stride + i] = a[i * stride + j];
        }
      }
    });
  }

  template <class T>
  static void copy(const T* from, T* to, int64_t n) {
    for_ranges(n, int64_t(1) << 16, [&](int64_t b, int64_t e) { std::memcpy(to + b, from + b, (e - b) * sizeof(T)); });
  }

 private:
  static constexpr int64_t kWorthThreads = int64_t(1) << 20;  // numbers touched, about
  static constexpr int64_t kKeptScratch = int64_t(1) << 24;   // bytes that a thread keeps between calls

  static bool small(int64_t rows, int64_t cols) { return rows * cols < 16384; }
};

}  // namespace lvm

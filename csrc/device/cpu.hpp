// The CPU as a device: what the algorithms in csrc/algo may ask of it.
//
// A device offers BLAS/LAPACK (column-major), loops (parallel_for, ordered reductions), scratch memory, and the
// tuned kernels: scaled points, kernel matrix, its pull-back, row-independent products. csrc/algo is
// written against these names only, so that the CUDA device can offer the same.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include "cpu/dispatch.hpp"
#include "device/blas.hpp"
#include "device/buffer.hpp"
#include "device/cpu_gram.hpp"
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

  // Kernel matrices (see device/cpu_gram.hpp); rows are n points, cols m points, or the same points.
  template <class T>
  using PreparedKernel = lvm::PreparedKernel<T>;
  template <class T>
  using PointBlocks = lvm::PointBlocks<T>;
  template <class T>
  using KernelPoints = lvm::KernelPoints<T>;
  using LeafSums = lvm::LeafSums;
  template <class T>
  using Gram = CpuGram<T>;
  template <class T>
  static bool by_differences(const cpu::PairTask<T>& task) {
    return CpuGram<T>::directly(task);
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

  // out[i] = draw start + i of a distribution (see core/draws.hpp), whatever the threads and their ranges.
  template <class T>
  static void fill_uniform(T* out, int64_t n, int64_t start, uint64_t seed) {
    fill_random(Distribution::uniform, out, n, start, seed);
  }
  template <class T>
  static void fill_normal(T* out, int64_t n, int64_t start, uint64_t seed) {
    fill_random(Distribution::normal, out, n, start, seed);
  }
  template <class T>
  static void fill_exponential(T* out, int64_t n, int64_t start, uint64_t seed) {
    fill_random(Distribution::exponential, out, n, start, seed);
  }
  // T = uint64_t or uint32_t; the kernels only move these bits.
  template <class T>
  static void fill_bits(T* out, int64_t n, int64_t start, uint64_t seed) {
    using Real = std::conditional_t<sizeof(T) == 8, double, float>;
    fill_random(Distribution::bits, reinterpret_cast<Real*>(out), n, start, seed);
  }
  // The draws of blocks of four words each.
  template <class T>
  static void draws_of_words(Distribution distribution, const uint32_t* words, int64_t blocks, T* out) {
    cpu::kernels_for<T>().draws_of_words(distribution, words, blocks, out);
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
  template <class T>
  static void fill_random(Distribution distribution, T* out, int64_t n, int64_t start, uint64_t seed) {
    const auto& kernel = cpu::kernels_for<T>();
    for_ranges(n, kFillGrain, [&](int64_t begin, int64_t end) {
      kernel.fill_random(distribution, seed, start + begin, start + end, out + begin);
    });
  }

  static constexpr int64_t kFillGrain = int64_t(1) << 14;     // draws: tens of microseconds
  static constexpr int64_t kWorthThreads = int64_t(1) << 20;  // numbers touched, about
  static constexpr int64_t kKeptScratch = int64_t(1) << 24;   // bytes that a thread keeps between calls
};

}  // namespace lvm

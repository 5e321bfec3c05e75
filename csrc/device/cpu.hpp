// The CPU as a device: what the algorithms in csrc/algo may ask of it.
//
// A device offers BLAS/LAPACK (column-major), loops (parallel_for, ordered reductions), scratch memory, and the
// tuned kernels: scaled points, kernel matrix, its pull-back, row-independent products. csrc/algo is
// written against these names only, so that the CUDA device can offer the same.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/expectation.hpp"
#include "cpu/dispatch.hpp"
#include "device/blas.hpp"
#include "device/buffer.hpp"
#include "device/cpu_gram.hpp"
#include "device/leaf_map.hpp"
#include "device/matrix.hpp"
#include "device/polya_gamma_tables.hpp"
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

  // Work that is cut into lanes of its own memory: f(lane), each on one thread. Their number makes the order of sums.
  static constexpr int64_t kLanes = 16;
  template <class F>
  static void for_lanes(int64_t n, const F& f) {
    parallel_for(n, f);
  }
  // As many lanes for n rows as serve the threads.
  static int64_t lanes_for(int64_t n) {
    int64_t lanes = 1;
    while (lanes < std::min(threads(), kLanes) && 2 * lanes * 128 <= n) lanes *= 2;
    return lanes;
  }
  // f(begin, end) over [0, n), for BLAS calls that hold for any part.
  template <class F>
  static void for_parts(int64_t n, const F& f) {
    for_ranges(n, std::clamp<int64_t>((n / 4 + 63) / 64 * 64, 64, 256), f);  // a call packs what stands on the other side
  }
  // Rows of a tile of so many bytes a row: it stays in the outer cache, with another one beside it.
  static int64_t tile_rows(int64_t row_bytes) {
    return std::clamp<int64_t>((int64_t(1) << 22) / row_bytes / 64 * 64, 64, 2048);
  }

  // f(i) for i in [0, n), in any order, `grain` of them together on a thread.
  template <class F>
  static void map(int64_t n, const F& f, int64_t grain = kMapGrain) {
    for_ranges(n, grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) f(i);
    });
  }

  // f(i, j) for i in [0, rows), j in [0, columns), likewise.
  template <class F>
  static void map_entries(int64_t rows, int64_t columns, const F& f) {
    for_ranges(columns, std::max<int64_t>(1, 4 * kMapGrain / std::max<int64_t>(rows, 1)), [&](int64_t begin, int64_t end) {
      for (int64_t j = begin; j < end; ++j) {
        for (int64_t i = 0; i < rows; ++i) f(i, j);
      }
    });
  }

  // The same of points whose nodes of quadrature go in packs.
  template <class T>
  static void map(int64_t n, const ExpectationsOfPoints<T>& f, int64_t grain = kMapGrain) {
    const auto& kernel = cpu::kernels_for<T>();
    for_ranges(n, grain, [&](int64_t begin, int64_t end) { kernel.expectations(f, begin, end); });
  }

  // out[w] = (or +=) sum over i in [0, n) of f(w, i), w < width, in double; the order of the additions depends on n alone.
  template <class F>
  static void sums(int64_t width, int64_t n, const F& f, double* out, bool add = false) {
    std::vector<double> partial((n + kMapGrain - 1) / kMapGrain * width);
    for_ranges(n, kMapGrain, [&](int64_t begin, int64_t end) {
      for (int64_t w = 0; w < width; ++w) {
        double lane[4] = {};  // one would wait for itself
        int64_t i = begin;
        for (; i + 4 <= end; i += 4) {
          for (int c = 0; c < 4; ++c) lane[c] += f(w, i + c);
        }
        for (; i < end; ++i) lane[0] += f(w, i);
        partial[begin / kMapGrain * width + w] = (lane[0] + lane[1]) + (lane[2] + lane[3]);
      }
    });
    if (!add) std::fill_n(out, width, 0.0);
    for (size_t k = 0; k < partial.size(); ++k) out[k % width] += partial[k];
  }

  // The host's memory is this device's.
  template <class T>
  static void upload(const T* host, T* device, int64_t n) {
    std::copy_n(host, n, device);
  }
  template <class T>
  static void zero(T* x, int64_t n) {
    std::fill_n(x, n, T(0));
  }

  // Numbers that the host writes and the device reads, or the other way round.
  template <class T>
  class Shared {
   public:
    T* reserve(int64_t n) { return data_.reserve(n); }
    T* host() { return data_.data(); }
    T* device() { return data_.data(); }
    void push(int64_t) {}  // host to device
    void pull(int64_t) {}  // device to host, where it can be read when the call returns

   private:
    Buffer<T> data_;
  };

  static void wait() {}  // until all is done that was enqueued

  // Whether what was enqueued is done, and its failures are known, when the call that enqueues it returns.
  static constexpr bool kImmediate = true;

  // Work that comes again and again: here it is done again.
  struct Recorder {
    template <class F>
    void run(bool, const F& enqueue) {
      enqueue();
    }
  };

  // *failure = the first (1-based) leading minor of a column-major triangle that is not positive, 0 if there is none.
  template <class T>
  static void potrf(char uplo, int64_t n, T* a, int64_t lda, int* failure) {
    *failure = static_cast<int>(Blas<T>::potrf(uplo, n, a, lda));
  }
  // *failure = 1 + the first i with f(i), unless there is a failure already.
  template <class F>
  static void note_first(int64_t n, const F& f, int* failure) {
    if (*failure) return;
    for (int64_t i = 0; i < n && !*failure; ++i) {
      if (f(i)) *failure = static_cast<int>(i + 1);
    }
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
  static constexpr bool kNorms = true;  // points carry their squared norms

  template <class T>
  static void prepare(PreparedKernel<T>& prepared, const KernelTree& tree, std::vector<PairTask<T>> tasks) {
    prepared = {&tree, std::move(tasks)};
  }
  template <class T>
  static void set_numbers(PreparedKernel<T>& prepared, const LeafMap* maps) {
    for (PairTask<T>& task : prepared.tasks) {
      task.variance = static_cast<T>(maps->variance());
      task.shape = static_cast<T>((maps++)->shape());
    }
  }
  template <class T>
  static SumForm sum_form(const PairTask<T>& task) {
    if (task.is_dot()) return SumForm::dots;
    return CpuGram<T>::directly(task) ? SumForm::differences : SumForm::products;
  }
  // Many features: distances by dot products, unless their squares leave the range of T.
  template <class T>
  static void choose_distances(PreparedKernel<T>& prepared, const KernelPoints<T>& rows, const KernelPoints<T>& cols) {
    for (size_t l = 0; l < prepared.tasks.size(); ++l) {
      PairTask<T>& task = prepared.tasks[l];
      task.by_dot = !task.is_dot() && task.features > kDirectFeatures && small_squares(rows[l]) && small_squares(cols[l]);
    }
  }

  // Median of each column of x (n, q), of at most 65 rows that lie evenly. (A mean would be moved by one far point, which
  // would cost the others their digits.)
  template <class T>
  static void column_centres(const T* x, int64_t n, int64_t q, double* centre) {
    constexpr int64_t kMost = 65;
    const int64_t count = std::min(n, kMost);
    std::vector<double> column(count);
    std::fill_n(centre, q, 0.0);
    for (int64_t k = 0; k < q && n > 0; ++k) {
      for (int64_t i = 0; i < count; ++i) {
        const double value = static_cast<double>(x[i * n / count * q + k]);
        column[i] = std::isfinite(value) ? value : 0.0;
      }
      std::nth_element(column.begin(), column.begin() + count / 2, column.end());
      centre[k] = column[count / 2];
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
  // out[i] = PG(b[i % b_period], z[i % z_period]), of element start + i (see core/polya_gamma.hpp).
  template <class T>
  static void fill_polya_gamma(T* out, int64_t n, int64_t start, uint64_t seed, const T* b, int64_t b_period, const T* z,
                               int64_t z_period) {
    const cpu::PolyaGammaTask<T> task = {&polya_gamma_tables(), seed, start, b, b_period, z, z_period};
    const auto& kernel = cpu::kernels_for<T>();
    for_ranges(n, kPolyaGammaGrain, [&](int64_t begin, int64_t end) {
      kernel.fill_polya_gamma(task, begin, end, out + begin);
    });
  }
  // The draws of blocks of four words each.
  template <class T>
  static void draws_of_words(Distribution distribution, const uint32_t* words, int64_t blocks, T* out) {
    cpu::kernels_for<T>().draws_of_words(distribution, words, blocks, out);
  }

  // Row-major square matrices: the lower triangle to another one with zeros above; onto the upper triangle; the mean of a
  // matrix and its transpose.
  template <class T>
  static void copy_lower(const T* from, T* to, int64_t n) {
    for_ranges(n, 64, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        std::copy(from + i * n, from + i * n + i + 1, to + i * n);
        std::fill(to + i * n + i + 1, to + (i + 1) * n, T(0));
      }
    });
  }
  template <class T>
  static void mirror_lower(T* a, int64_t n, int64_t stride) {
    below_diagonal(n, [&](int64_t i, int64_t j) { a[j * stride + i] = a[i * stride + j]; });
  }
  template <class T>
  static void symmetrise(T* a, int64_t n) {
    below_diagonal(n, [&](int64_t i, int64_t j) { a[i * n + j] = a[j * n + i] = T(0.5) * (a[i * n + j] + a[j * n + i]); });
  }

  template <class T>
  static void copy(const T* from, T* to, int64_t n) {
    for_ranges(n, int64_t(1) << 16, [&](int64_t b, int64_t e) { std::memcpy(to + b, from + b, (e - b) * sizeof(T)); });
  }

 private:
  template <class T>
  static bool small_squares(const lvm::PointBlocks<T>& points) {
    const double most = sizeof(T) == sizeof(double) ? 1e300 : 1e36;
    for (int64_t i = 0; i < points.count(); ++i) {
      if (static_cast<double>(points.at(i, points.features() + 1)) > most) return false;
    }
    return true;
  }

  // f(i, j) for all j < i < n, in blocks that stay in the cache both ways.
  template <class F>
  static void below_diagonal(int64_t n, const F& f) {
    constexpr int64_t kBlock = 32;
    for_ranges(n, kBlock, [&](int64_t begin, int64_t end) {
      for (int64_t j0 = 0; j0 < end; j0 += kBlock) {
        for (int64_t i = begin; i < end; ++i) {
          for (int64_t j = j0; j < std::min(j0 + kBlock, i); ++j) f(i, j);
        }
      }
    });
  }

  template <class T>
  static void fill_random(Distribution distribution, T* out, int64_t n, int64_t start, uint64_t seed) {
    const auto& kernel = cpu::kernels_for<T>();
    for_ranges(n, kFillGrain, [&](int64_t begin, int64_t end) {
      kernel.fill_random(distribution, seed, start + begin, start + end, out + begin);
    });
  }

  static constexpr int64_t kFillGrain = int64_t(1) << 14;     // draws: tens of microseconds
  static constexpr int64_t kPolyaGammaGrain = int64_t(1) << 11;
  static constexpr int64_t kMapGrain = 1024;
  static constexpr int64_t kDirectFeatures = 16;
  static constexpr int64_t kWorthThreads = int64_t(1) << 20;  // numbers touched, about
  static constexpr int64_t kKeptScratch = int64_t(1) << 24;   // bytes that a thread keeps between calls
};

}  // namespace lvm

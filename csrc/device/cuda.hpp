// The GPU as a device: what the algorithms in csrc/algo may ask of it, as device/cpu.hpp offers it on the host. Everything
// is enqueued on the stream of the present call (cuda_context) and nothing waits but `wait`.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "cuda/loops.cuh"
#include "cuda/random.cuh"
#include "device/cuda_blas.hpp"
#include "device/cuda_context.hpp"
#include "device/cuda_gram.hpp"
#include "device/cuda_graph.hpp"
#include "device/cuda_polya_gamma.hpp"
#include "device/leaf_map.hpp"
#include "device/matrix.hpp"
#include "device/pinned_block.hpp"
#include "device/status.hpp"

namespace lvm {

struct Cuda {
  template <class T>
  using Scratch = CudaBuffer<T>;
  template <class T>
  using Blas = CudaBlas<T>;

  static constexpr bool kImmediate = false;

  // A launch fills the GPU: one lane, one part, and tiles as large as 256 MB.
  static constexpr int64_t kLanes = 1;
  template <class F>
  static void for_lanes(int64_t n, const F& f) {
    for (int64_t lane = 0; lane < n; ++lane) f(lane);
  }
  static int64_t lanes_for(int64_t) { return 1; }
  template <class F>
  static void for_parts(int64_t n, const F& f) {
    f(int64_t(0), n);
  }
  static int64_t tile_rows(int64_t row_bytes) {
    return std::clamp<int64_t>((int64_t(1) << 28) / row_bytes / 64 * 64, 64, int64_t(1) << 17);
  }

  // f(i) for i in [0, n).
  template <class F>
  static void map(int64_t n, const F& f, int64_t = 0) {
    cuda::map(n, f);
  }
  // f(i, j) for i in [0, rows), j in [0, columns); neighbours in i side by side.
  template <class F>
  static void map_entries(int64_t rows, int64_t columns, const F& f) {
    cuda::map(rows * columns, cuda::Entries<F>{f, rows});
  }
  // out[w] = (or +=) sum over i in [0, n) of f(w, i), w < width; the order of the additions depends on n and width alone.
  template <class F>
  static void sums(int64_t width, int64_t n, const F& f, double* out, bool add = false) {
    CudaBuffer<double> partial;
    cuda::sums(width, n, f, out, add, partial);
  }
  // *failure = 1 + the first i with f(i), unless there is a failure already.
  template <class F>
  static void note_first(int64_t n, const F& f, int* failure) {
    cuda::note_first(n, f, failure);
  }

  template <class T>
  static void upload(const T* host, T* device, int64_t n) {
    copy_bytes(device, host, n * sizeof(T), cudaMemcpyHostToDevice);
  }
  template <class T>
  static void copy(const T* from, T* to, int64_t n) {
    copy_bytes(to, from, n * sizeof(T), cudaMemcpyDeviceToDevice);
  }
  template <class T>
  static void zero(T* x, int64_t n) {
    if (n > 0) check_cuda(cudaMemsetAsync(x, 0, n * sizeof(T), cuda_context().stream), "cudaMemsetAsync");
  }
  static void wait() { check_cuda(cudaStreamSynchronize(cuda_context().stream), "cudaStreamSynchronize"); }

  // Numbers that the host writes and the device reads, or the other way round: pinned on the host, so that copies run
  // beside it. The host may write again when a `wait` has come after the `push`.
  template <class T>
  class Shared {
   public:
    T* reserve(int64_t n) {
      device_.reserve(n);
      return static_cast<T*>(pinned_.reserve(n * sizeof(T)));
    }
    T* host() { return static_cast<T*>(pinned_.data()); }
    T* device() { return device_.data(); }
    void push(int64_t n) { copy_bytes(device_.data(), host(), n * sizeof(T), cudaMemcpyHostToDevice); }
    void pull(int64_t n) { copy_bytes(host(), device_.data(), n * sizeof(T), cudaMemcpyDeviceToHost); }

   private:
    CudaBuffer<T> device_;
    PinnedBlock pinned_;
  };

  // out[i] = draw start + i of a distribution (see core/draws.hpp).
  template <class T>
  static void fill_uniform(T* out, int64_t n, int64_t start, uint64_t seed) {
    cuda::fill_uniform(cuda_context().stream, out, n, start, seed);
    check_launch("fill_uniform");
  }
  template <class T>
  static void fill_normal(T* out, int64_t n, int64_t start, uint64_t seed) {
    cuda::fill_normal(cuda_context().stream, out, n, start, seed);
    check_launch("fill_normal");
  }
  template <class T>
  static void fill_exponential(T* out, int64_t n, int64_t start, uint64_t seed) {
    cuda::fill_exponential(cuda_context().stream, out, n, start, seed);
    check_launch("fill_exponential");
  }
  template <class T>
  static void fill_bits(T* out, int64_t n, int64_t start, uint64_t seed) {
    cuda::fill_bits(cuda_context().stream, out, n, start, seed);
    check_launch("fill_bits");
  }

  // out[i] = PG(b[i % b_period], z[i % z_period]), of element start + i (see core/polya_gamma.hpp).
  template <class T>
  static void fill_polya_gamma(T* out, int64_t n, int64_t start, uint64_t seed, const T* b, int64_t b_period, const T* z,
                               int64_t z_period) {
    cuda_fill_polya_gamma(out, n, start, seed, b, b_period, z, z_period);
  }

  // Work that comes again and again.
  using Recorder = CudaGraph;

  template <class T>
  static void potrf(char uplo, int64_t n, T* a, int64_t lda, int* failure) {
    CudaBlas<T>::potrf(uplo, n, a, lda, failure);
  }

  // Kernel matrices (see device/cuda_gram.hpp).
  template <class T>
  using PreparedKernel = CudaPreparedKernel<T>;
  template <class T>
  using PointBlocks = CudaPoints<T>;
  template <class T>
  using KernelPoints = CudaKernelPoints<T>;
  using LeafSums = CudaLeafSums;
  template <class T>
  using Gram = CudaGram<T>;
  static constexpr bool kNorms = false;

  template <class T>
  static void prepare(PreparedKernel<T>& prepared, const KernelTree& tree, const std::vector<PairTask<T>>& tasks) {
    prepared.assign(tree, tasks);
  }
  template <class T>
  static void set_numbers(PreparedKernel<T>& prepared, const LeafMap* maps) {
    map(static_cast<int64_t>(prepared.tasks.size()), cuda::LeafNumbers<T>{maps, prepared.numbers()});
  }
  template <class T>
  static SumForm sum_form(const PairTask<T>& task) {
    return task.is_dot() ? SumForm::dots : SumForm::differences;
  }
  template <class T>
  static void choose_distances(PreparedKernel<T>&, const KernelPoints<T>&, const KernelPoints<T>&) {}

  template <class T>
  static void column_centres(const T* x, int64_t n, int64_t q, double* centre) {
    cuda::column_centres(x, n, q, centre);
  }

  // out = in m, all row-major (cuBLAS: a row's bits may depend on the rows that come with it).
  template <class T>
  static void row_gemm(int64_t rows, int64_t cols, int64_t depth, const T* in, int64_t in_stride, const T* m,
                       int64_t m_stride, T* out, int64_t out_stride) {
    if (rows == 0 || cols == 0) return;
    if (depth == 0) return zero(out, rows * out_stride);
    Blas<T>::gemm('N', 'N', cols, rows, depth, T(1), m, m_stride, in, in_stride, T(0), out, out_stride);
  }

  // Row-major square matrices: the lower triangle to another one with zeros above; onto the upper triangle; the mean of a
  // matrix and its transpose.
  template <class T>
  static void copy_lower(const T* from, T* to, int64_t n) {
    map(n * n, cuda::CopyLower<T>{from, to, n});
  }
  template <class T>
  static void mirror_lower(T* a, int64_t n, int64_t stride) {
    map(n * n, cuda::MirrorLower<T>{a, n, stride});
  }
  template <class T>
  static void symmetrise(T* a, int64_t n) {
    map(n * n, cuda::Symmetrise<T>{a, n});
  }

 private:
  static void copy_bytes(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
    if (bytes > 0) check_cuda(cudaMemcpyAsync(to, from, bytes, kind, cuda_context().stream), "cudaMemcpyAsync");
  }
};

}  // namespace lvm

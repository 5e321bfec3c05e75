// Kernel matrices on the GPU, as device/cpu_gram.hpp makes them on the host. Everything is enqueued on the stream of
// the present call; nothing of the size of the kernel matrix is ever held.
//
// Sums are added in an order that depends on the numbers of points, features and multiprocessors alone. The variances
// and shapes are read from device memory when the kernels run, so that what a CUDA graph has captured can be replayed
// with others; scratch memory belongs to the CudaPreparedKernel, which has to live as long as such a graph.
#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "cuda/gram_products.cuh"
#include "cuda/gram_pull.cuh"
#include "cuda/gram_tree.cuh"
#include "cuda/gram_values.cuh"
#include "device/cotangent.hpp"
#include "device/cuda_context.hpp"
#include "device/kernel_tree.hpp"
#include "device/pair_task.hpp"

namespace lvm {

// Numbers per point, feature-major: feature f of point i at data[f * stride + i], zero beyond the last point.
template <class T>
class CudaPoints {
 public:
  // Room for `count` points of `features` numbers each, all zero, and `extra` zero features.
  void resize(int64_t count, int64_t features, int64_t extra) {
    count_ = count;
    features_ = features;
    stride_ = (count + 63) / 64 * 64;
    const int64_t size = stride_ * (features + extra);
    if (size == 0) return;
    T* data = data_.reserve(size);
    check_cuda(cudaMemsetAsync(data, 0, size * sizeof(T), cuda_context().stream), "cudaMemsetAsync");
  }
  int64_t count() const { return count_; }
  int64_t features() const { return features_; }
  int64_t stride() const { return stride_; }
  T* data() const { return data_.data(); }

  template <class U>
  struct View {
    U* data;
    int64_t stride;
    LVM_HD U& at(int64_t point, int64_t feature) const { return data[feature * stride + point]; }
  };
  View<T> view() { return {data_.data(), stride_}; }
  View<const T> view() const { return {data_.data(), stride_}; }
  cuda::pairs::Points<T> points() const { return {data_.data(), stride_}; }

 private:
  CudaBuffer<T> data_;
  int64_t count_ = 0, features_ = 0, stride_ = 0;
};

template <class T>
using CudaKernelPoints = std::vector<CudaPoints<T>>;  // one per leaf

// What a pull-back leaves, per leaf, with w = cotangent * slope: for every point sums over the others of w times the
// differences of the features, for dot products of w times the other's features. scalars: the sums of cotangent *
// value, of cotangent * d value / d shape, and for each feature of w times the squared differences.
struct CudaLeafSums {
  CudaPoints<double> rows, cols;
  CudaBuffer<double> scalars;
};

// A tree whose parameters are known, for one precision.
template <class T>
class CudaPreparedKernel {
 public:
  const KernelTree* tree = nullptr;
  std::vector<PairTask<T>> tasks;  // one per leaf; their variance and shape are not used

  void assign(const KernelTree& own_tree, std::vector<PairTask<T>> own_tasks) {
    if (own_tree.leaves.size() > cuda::pairs::kMostLeaves) {
      throw std::invalid_argument("a kernel of " + std::to_string(own_tree.leaves.size()) +
                                  " leaves; on the GPU there may be " + std::to_string(cuda::pairs::kMostLeaves));
    }
    tree = &own_tree;
    tasks = std::move(own_tasks);
    numbers_.reserve(2 * static_cast<int64_t>(tasks.size()) + 1);
    int64_t levels = 0, most = 0;
    cuda::pairs::tree_steps(tree->program(), &most);
    for (size_t l = 0; l < tasks.size(); ++l) {
      cuda::pairs::tree_steps(tree->context(static_cast<int64_t>(l)), &levels);
      most = std::max(most, levels);
    }
    if (most) stack_.reserve(stack_blocks() * most * cuda::pairs::kTile * cuda::pairs::kTile);
  }

  // {variance, shape} of every leaf, in device memory.
  T* numbers() const { return numbers_.data(); }
  T* stack() const { return stack_.data(); }
  static int64_t stack_blocks() { return 2 * cuda_context().processors; }

  // Memory for the time of a call. What becomes too small is kept: a captured graph may use it.
  double* scratch(int64_t size) const {
    if (scratch_.empty() || scratch_.back().size() < size) {
      const int64_t before = scratch_.empty() ? 0 : scratch_.back().size();
      scratch_.emplace_back(std::max(size, 2 * before));
    }
    return scratch_.back().data();
  }

 private:
  CudaBuffer<T> numbers_, stack_;
  mutable std::vector<CudaBuffer<double>> scratch_;
};

template <class T>
class CudaGram {
 public:
  using Tiles = cuda::pairs::CotangentTiles<T>;

  // same: rows and cols are the same points, so that White counts.
  CudaGram(const CudaPreparedKernel<T>& kernel, const CudaKernelPoints<T>& rows, const CudaKernelPoints<T>& cols,
           int64_t n, int64_t m, bool same)
      : kernel_(kernel), rows_(rows), cols_(cols), sides_{n, m, same} {}

  // out[i, j] for all j, or for j <= i (lower: more of a row may be overwritten). With `same` the matrix is exactly
  // symmetric, and `diagonal`, if not null, replaces its diagonal.
  void values(T* out, int64_t stride, bool lower, const T* diagonal) const {
    if (sides_.n == 0 || sides_.m == 0) return;
    with_tile(false, [&](const auto& tile, int64_t most) {
      cuda::pairs::values(tile, sides_, most, out, stride, lower && sides_.same, diagonal);
    });
  }

  // d_rows += K v, d_cols += K^T u; v (m points) and u (n points) hold columns as features. d_cols null, as with
  // `same`: K v only.
  void products(const CudaPoints<T>& v, const CudaPoints<T>* u, CudaPoints<double>& d_rows,
                CudaPoints<double>* d_cols) const {
    const Sides other = exchanged();
    const int64_t scratch = std::max(cuda::pairs::product_scratch(sides_, v.features()),
                                     d_cols ? cuda::pairs::product_scratch(other, u->features()) : 0);
    if (sides_.n == 0 || sides_.m == 0 || scratch == 0) return;
    double* partial = kernel_.scratch(scratch);
    one_product(false, sides_, v, partial, d_rows);
    if (d_cols) one_product(true, other, *u, partial, *d_cols);
  }

  // Gradients of sum_ij S[i, j] k(x_i, z_j), for the cotangents S below. by_columns: the columns' sums too, which are
  // the rows' with `same`.
  void pullback(const Tiles& cotangent, bool by_columns, std::vector<CudaLeafSums>& sums) const {
    const int64_t leaves = static_cast<int64_t>(kernel_.tasks.size());
    const Sides other = exchanged();
    int64_t scratch = 0;
    sums.resize(leaves);
    for (int64_t l = 0; l < leaves; ++l) {
      const int64_t features = kernel_.tasks[l].features, width = 2 + features;
      sums[l].rows.resize(sides_.n, features, 0);
      if (columns_too(by_columns)) sums[l].cols.resize(sides_.m, features, 0);
      check_cuda(cudaMemsetAsync(sums[l].scalars.reserve(width), 0, width * sizeof(double), cuda_context().stream),
                 "cudaMemsetAsync");
      const auto size = [features](const Sides& sides) { return cuda::pairs::pull_scratch(sides, features); };
      scratch = std::max({scratch, size(sides_), size(other)});
    }
    if (sides_.n == 0 || sides_.m == 0) return;
    double* memory = kernel_.scratch(scratch);
    for (int64_t l = 0; l < leaves; ++l) pull_leaf(l, cotangent, by_columns, memory, sums[l]);
  }

  // S = c (n, m) row-major as `layout` says (direct or transposed for different points, the others for the same).
  Tiles cotangent_of(const T* c, int64_t stride, Cotangent layout) const {
    return cuda::pairs::cotangent_tiles(c, stride, layout);
  }
  // S = a b^T; a (n points), b (m points) hold columns as features. With `same`, its symmetric part.
  Tiles cotangent_of_product(const CudaPoints<T>& a, const CudaPoints<T>& b) const {
    return cuda::pairs::product_tiles(a.points(), b.points(), a.features(), sides_.same);
  }

 private:
  using Sides = cuda::pairs::Sides;

  Sides exchanged() const { return {sides_.m, sides_.n, sides_.same}; }
  bool columns_too(bool by_columns) const { return by_columns && !sides_.same; }

  cuda::pairs::Leaf<T> leaf(int64_t l, bool turned) const {
    const PairTask<T>& task = kernel_.tasks[l];
    const auto rows = (turned ? cols_ : rows_)[l].points(), cols = (turned ? rows_ : cols_)[l].points();
    const int features = static_cast<int>(task.features);
    return {rows, cols, kernel_.numbers() + 2 * l, features, task.degree, task.function, task.stationary};
  }

  cuda::pairs::TreeTile<T> tree_tile(const std::vector<KernelStep>& program, bool turned) const {
    cuda::pairs::TreeTile<T> tile{};
    for (size_t l = 0; l < kernel_.tasks.size(); ++l) tile.leaves[l] = leaf(static_cast<int64_t>(l), turned);
    int64_t levels;
    const std::vector<cuda::pairs::TreeStep> steps = cuda::pairs::tree_steps(program, &levels);
    std::copy(steps.begin(), steps.end(), tile.steps);
    tile.count = static_cast<int>(steps.size());
    tile.levels = static_cast<int>(levels);
    tile.stack = kernel_.stack();
    return tile;
  }
  static int64_t most_blocks(const cuda::pairs::TreeTile<T>& tile) {
    return tile.levels ? CudaPreparedKernel<T>::stack_blocks() : 0;
  }

  // f(tile, most blocks) with what makes tiles of this kernel.
  template <class F>
  void with_tile(bool turned, const F& f) const {
    const PairFunction function = kernel_.tasks[0].function;
    if (kernel_.tasks.size() > 1 || function == PairFunction::constant || function == PairFunction::white) {
      const auto tile = tree_tile(kernel_.tree->program(), turned);
      return f(tile, most_blocks(tile));
    }
    visit_pair_function(function, [&](auto pair) {
      f(cuda::pairs::LeafTile<decltype(pair), T>{leaf(0, turned)}, int64_t(0));
    });
  }

  void one_product(bool turned, const Sides& sides, const CudaPoints<T>& v, double* partial,
                   CudaPoints<double>& d) const {
    if (v.features() == 0) return;
    with_tile(turned, [&](const auto& tile, int64_t most) {
      cuda::pairs::products(tile, sides, most, v.points(), v.features(), partial, d.data(), d.stride());
    });
  }

  void pull_leaf(int64_t l, const Tiles& cotangent, bool by_columns, double* memory, CudaLeafSums& sums) const {
    const std::vector<KernelStep> program = kernel_.tree->context(l);
    const auto side = [&](bool turned, CudaPoints<double>& points, double* scalars) {
      const Sides sides = turned ? exchanged() : sides_;
      const Tiles tiles = turned ? cotangent.exchanged() : cotangent;
      const auto run = [&](const auto& context, int64_t most) {
        cuda::pairs::pull(sides, leaf(l, turned), tiles, context, most, memory, points.data(), points.stride(),
                          scalars);
      };
      if (program.empty()) return run(cuda::pairs::NoContext{}, 0);
      const auto context = tree_tile(program, turned);
      run(context, most_blocks(context));
    };
    side(false, sums.rows, sums.scalars.data());
    if (columns_too(by_columns) && kernel_.tasks[l].features) side(true, sums.cols, nullptr);
  }

  const CudaPreparedKernel<T>& kernel_;
  const CudaKernelPoints<T>&rows_, &cols_;
  Sides sides_;
};

}  // namespace lvm

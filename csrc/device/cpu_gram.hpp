// Kernel matrices on the CPU: which tile is made when, by whom, and what becomes of it.
//
// Nothing of the size of the kernel matrix is ever held: values, products with vectors and pull-backs all go through
// tiles of kBlock x kBlock numbers in a thread's scratch memory. Pull-backs and symmetric products use every tile for
// its rows and for its columns; the points are cut into at most kParties parties that meet in rounds, each party once a
// round (as in a tournament), so that no two threads ever add to the same numbers and the order of every sum is fixed by
// the number of points alone: the bits do not depend on the threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "cpu/dispatch.hpp"
#include "device/buffer.hpp"
#include "device/cotangent.hpp"
#include "device/kernel_tree.hpp"
#include "device/pause.hpp"
#include "device/thread_pool.hpp"

namespace lvm {

// Numbers per point (features) in blocks of cpu::kBlock points; see cpu::PairTask for the layout.
template <class T>
class PointBlocks {
 public:
  static constexpr int64_t kBlock = cpu::kBlock;

  // Room for `count` points of `features` numbers each, all zero, and `extra` zero features.
  void resize(int64_t count, int64_t features, int64_t extra) {
    count_ = count;
    features_ = features;
    stride_ = (features + extra) * kBlock;
    const int64_t size = std::max<int64_t>(blocks() * stride_, 1);
    std::fill_n(data_.reserve(size), size, T(0));
  }
  int64_t count() const { return count_; }
  int64_t features() const { return features_; }
  int64_t blocks() const { return (count_ + kBlock - 1) / kBlock; }
  int64_t stride() const { return stride_; }
  T* block(int64_t b) { return data_.data() + b * stride_; }
  const T* block(int64_t b) const { return data_.data() + b * stride_; }
  T& at(int64_t point, int64_t feature) {
    return data_[point / kBlock * stride_ + feature * kBlock + point % kBlock];
  }
  T at(int64_t point, int64_t feature) const {
    return data_[point / kBlock * stride_ + feature * kBlock + point % kBlock];
  }

  // The same numbers for code that runs on either device.
  template <class U>
  struct View {
    U* data;
    int64_t stride;
    U& at(int64_t point, int64_t feature) const {
      return data[point / kBlock * stride + feature * kBlock + point % kBlock];
    }
  };
  View<T> view() { return {data_.data(), stride_}; }
  View<const T> view() const { return {data_.data(), stride_}; }

 private:
  Buffer<T> data_;
  int64_t count_ = 0, features_ = 0, stride_ = 0;
};

// A tree whose parameters are known, for one precision.
template <class T>
struct PreparedKernel {
  const KernelTree* tree;
  std::vector<cpu::PairTask<T>> tasks;  // one per leaf
};

template <class T>
using KernelPoints = std::vector<PointBlocks<T>>;  // one per leaf, without features where it needs none

// What a pull-back leaves, per leaf, of w = cotangent * slope: for every point sums over the others of w times
//
//   the differences of the features                      where there are few (CpuGram::directly), or
//   the other's features, 1, and the differences         where there are more; the last for near points, which the first
//                                                        two leave out: what would be left of their sums is rounding,
//
// and for dot products the other's features and 1; squares: sums of w times the squared differences that were taken.
struct LeafSums {
  PointBlocks<double> rows, cols;
  Buffer<double> scalars;  // sums of cotangent * value, of cotangent * d value / d shape, and the squares by feature
};

template <class T>
class CpuGram {
 public:
  // same: rows and cols are the same points, so that White counts.
  CpuGram(const PreparedKernel<T>& kernel, const KernelPoints<T>& rows, const KernelPoints<T>& cols, int64_t n,
          int64_t m, bool same)
      : kernel_(kernel), tree_(*kernel.tree), rows_(rows), cols_(cols), n_(n), m_(m), same_(same) {}

  // out[i, j] for all j, or for j <= i (lower: more of a row may be overwritten). With `same` the matrix is exactly
  // symmetric, and `diagonal`, if not null, replaces its diagonal.
  void values(T* out, int64_t stride, bool lower, const T* diagonal) const {
    const bool past_cache = !lower && n_ * m_ * static_cast<int64_t>(sizeof(T)) >= kPastCache;
    const int64_t blocks = count_blocks(n_), tiles = 1 + tree_.value_tiles(root());
    run(blocks, n_ * m_, [&](int64_t chunk) {
      T* tile = scratch(tiles);
      const int64_t block = same_ ? blocks - 1 - chunk : chunk;  // the longest first
      const int64_t last = same_ ? block : count_blocks(m_) - 1;
      for (int64_t other = 0; other <= last; ++other) {
        const int64_t i = block * kBlock, rows = std::min(n_ - i, kBlock);
        const int64_t j = other * kBlock, cols = std::min(m_ - j, kBlock);
        value(root(), {block, other, rows}, TileMode::set, tile, tile + kTile);
        if (same_ && other == block) {
          store_diagonal_tile(tile, i, rows, out, stride, lower, diagonal);
          continue;
        }
        table().store_tile(tile, rows, cols, false, past_cache, out + i * stride + j, stride);
        if (same_ && !lower) table().store_tile(tile, rows, cols, true, past_cache, out + j * stride + i, stride);
      }
      if (past_cache) fence_stores();
    });
  }

  // d_rows += K v, d_cols += K^T u, per block of points; v (m points) and u (n points) hold columns as features. With
  // `same`, d_cols is d_rows and v is u. d_cols null: K v only.
  void products(const PointBlocks<T>& v, const PointBlocks<T>* u, PointBlocks<double>& d_rows,
                PointBlocks<double>* d_cols) const {
    const int64_t tiles = 1 + tree_.value_tiles(root());
    const auto place = [&](const Place& p, bool diagonal) {
      T* tile = scratch(tiles);
      value(root(), p, TileMode::set, tile, tile + kTile);
      const bool both = same_ ? !diagonal : d_cols != nullptr;
      const T* left = same_ ? v.block(p.block) : u ? u->block(p.block) : nullptr;
      double* d_other = both ? (same_ ? d_rows : *d_cols).block(p.other) : nullptr;
      table().tile_products(tile, p.rows, v.features(), left, v.block(p.other), d_rows.block(p.block), d_other);
    };
    if (same_ || d_cols) {
      each_pair(same_, [&](int64_t, const Place& p, bool diagonal) { place(p, diagonal); });
    } else {
      each_row([&](const Place& p) { place(p, false); });
    }
  }

  // Gradients of sum_ij S[i, j] k(x_i, z_j). cotangent(place, tile) fills a tile with S, zero beyond the last points;
  // with `same`, only pairs j < i of it (both S[i, j] and S[j, i] in one) and the diagonal (once). by_columns: d_cols
  // too, which are the d_rows with `same`.
  template <class Cotangent>
  void pullback(const Cotangent& cotangent, bool by_columns, std::vector<LeafSums>& sums) {
    first_sum_.clear();
    const int64_t leaves = static_cast<int64_t>(tree_.leaves.size());
    sums.resize(leaves);
    for (int64_t l = 0; l < leaves; ++l) {
      const int64_t features = rows_[l].features();
      const int64_t width = directly(kernel_.tasks[l]) ? features : features ? 2 * features + 1 : 0;
      sums[l].rows.resize(n_, width, 0);
      if (by_columns && !same_) sums[l].cols.resize(m_, width, 0);
      first_sum_.push_back(l == 0 ? 0 : first_sum_.back() + 2 + rows_[l - 1].features());
    }
    const int64_t kSums = leaves ? first_sum_.back() + 2 + rows_.back().features() : 0;
    const int64_t tiles = 2 + tree_.pullback_tiles(root()), chunks = by_columns ? pair_chunks() : count_blocks(n_);
    std::vector<double> partial(chunks * kSums, 0.0);
    const auto one = [&](int64_t chunk, const Place& p) {
      T* tile = scratch(tiles);
      cotangent(p, tile);
      pull(root(), p, tile, tile + kTile, by_columns, sums, partial.data() + chunk * kSums);
    };
    if (by_columns) {
      each_pair(same_, [&](int64_t chunk, const Place& p, bool) { one(chunk, p); });
    } else {
      each_row([&](const Place& p) { one(p.block, p); });
    }
    for (int64_t l = 0; l < leaves; ++l) {
      const int64_t width = 2 + rows_[l].features();
      double* total = sums[l].scalars.reserve(width);
      std::fill_n(total, width, 0.0);
      for (int64_t c = 0; c < chunks; ++c) {
        const double* s = partial.data() + c * kSums + first_sum_[l];
        for (int64_t k = 0; k < width; ++k) total[k] += s[k];
      }
    }
  }

  // A tile: block `block` of the rows, of which `rows` are there, and block `other` of the columns.
  struct Place {
    int64_t block, other, rows;
  };

  // S = c (n, m) row-major as `layout` says (direct or transposed for different points, the others for the same).
  auto cotangent_of(const T* c, int64_t stride, Cotangent layout) const {
    return [=](const Place& p, T* tile) {
      const int64_t i = p.block * kBlock, j = p.other * kBlock, cols = std::min(m_ - j, kBlock);
      const auto& k = table();
      if (!same_) {
        const bool turned = layout == Cotangent::transposed;
        k.load_tile(turned ? c + j * stride + i : c + i * stride + j, stride, p.rows, cols, turned, false, T(1), tile);
      } else if (p.other != p.block) {
        const T scale = layout == Cotangent::symmetric_lower ? T(2) : T(1);
        k.load_tile(c + i * stride + j, stride, p.rows, cols, false, false, scale, tile);
        if (layout != Cotangent::symmetric_lower) {
          k.load_tile(c + j * stride + i, stride, p.rows, cols, true, true, T(1), tile);
        }
      } else {
        std::memset(tile, 0, kTile * sizeof(T));
        for (int64_t r = 0; r < p.rows; ++r) {
          const int64_t row = i + r;
          T* out = tile + r * kBlock;
          for (int64_t s = 0; s < r; ++s) {
            const T below = c[row * stride + i + s];
            out[s] = below + (layout == Cotangent::symmetric_lower ? below : c[(i + s) * stride + row]);
          }
          out[r] = c[row * stride + row];
        }
      }
    };
  }

  // S = a b^T; a (n points), b (m points) hold columns as features. With `same`, S + S^T below the diagonal.
  auto cotangent_of_product(const PointBlocks<T>& a, const PointBlocks<T>& b) const {
    return [this, left = &a, right = &b](const Place& p, T* tile) {
      const PointBlocks<T>&a = *left, &b = *right;
      const cpu::PairTask<T> dot{PairFunction::dot, a.features(), false, false, 1, T(1), T(0)};
      const auto& k = table();
      k.pair_values(dot, a.block(p.block), b.block(p.other), p.rows, TileMode::set, tile);
      if (!same_) return;
      k.pair_values(dot, b.block(p.block), a.block(p.other), p.rows, TileMode::add, tile);
      if (p.block != p.other) return;
      for (int64_t r = 0; r < p.rows; ++r) {
        T* out = tile + r * kBlock;
        out[r] *= T(0.5);
        std::fill(out + r + 1, out + kBlock, T(0));
      }
    };
  }

 private:
  using TileMode = cpu::TileMode;
  static constexpr int64_t kBlock = cpu::kBlock, kTile = cpu::kTile;
  static constexpr int64_t kParties = 16;
  static constexpr int64_t kPastCache = int64_t(1) << 24;  // bytes: what no cache keeps until it is read
  static constexpr int64_t kWorthThreads = 16384;          // pairs of points

  static const cpu::KernelFunctions<T>& table() { return cpu::kernels_for<T>(); }
  static int64_t count_blocks(int64_t n) { return (n + kBlock - 1) / kBlock; }
  int64_t root() const { return static_cast<int64_t>(tree_.nodes.size()) - 1; }

  static T* scratch(int64_t tiles) {
    static thread_local Buffer<T> memory;
    return memory.reserve(tiles * kTile);
  }

  template <class F>
  static void run(int64_t chunks, int64_t pairs, const F& f) {
    if (pairs < kWorthThreads) {
      for (int64_t c = 0; c < chunks; ++c) f(c);
    } else {
      parallel_for(chunks, f);
    }
  }

  // All tiles, row block by row block.
  template <class F>
  void each_row(const F& f) const {
    run(count_blocks(n_), n_ * m_, [&](int64_t block) {
      const int64_t rows = std::min(n_ - block * kBlock, kBlock);
      for (int64_t other = 0; other < count_blocks(m_); ++other) f(Place{block, other, rows});
    });
  }

  int64_t parties() const { return std::min(kParties, std::max(count_blocks(n_), count_blocks(m_))); }
  int64_t pair_chunks() const { return parties() * (parties() + 1); }

  // All tiles (lower: of blocks other <= block), in rounds in which no block of rows or columns is met twice.
  template <class F>
  void each_pair(bool lower, const F& f) const {
    const int64_t p = parties(), blocks = count_blocks(n_), others = count_blocks(m_);
    const auto meet = [&](int64_t chunk, int64_t a, int64_t b) {  // party a of the rows, b of the columns
      for (int64_t block = a * blocks / p; block < (a + 1) * blocks / p; ++block) {
        const int64_t end = lower && a == b ? block + 1 : (b + 1) * others / p;
        const int64_t rows = std::min(n_ - block * kBlock, kBlock);
        for (int64_t other = b * others / p; other < end; ++other) f(chunk, Place{block, other, rows}, block == other);
      }
    };
    const int64_t pairs = n_ * m_;
    if (!lower) {
      for (int64_t round = 0; round < p; ++round) {
        run(p, pairs, [&](int64_t a) { meet(round * p + a, a, (a + round) % p); });
      }
      return;
    }
    run(p, pairs, [&](int64_t a) { meet(a, a, a); });
    const int64_t even = p + p % 2;  // one more, that nobody meets, if there is an odd number
    for (int64_t round = 0; round < even - 1; ++round) {
      run(even / 2, pairs, [&](int64_t k) {
        const int64_t a = k == 0 ? even - 1 : (round + k) % (even - 1);
        const int64_t b = (round + even - 1 - k) % (even - 1);
        if (std::max(a, b) < p) meet(p + round * (even / 2) + k, std::max(a, b), std::min(a, b));
      });
    }
  }

  void store_diagonal_tile(const T* tile, int64_t i, int64_t rows, T* out, int64_t stride, bool lower,
                           const T* diagonal) const {
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t row = i + r;
      for (int64_t k = 0; k < r; ++k) {
        out[row * stride + i + k] = tile[r * kBlock + k];
        if (!lower) out[(i + k) * stride + row] = tile[r * kBlock + k];
      }
      out[row * stride + row] = diagonal ? diagonal[row] : tile[r * kBlock + r];
    }
  }

  // tile (mode)= what the node is worth there.
  void value(int64_t node, const Place& p, TileMode mode, T* tile, T* memory) const {
    const KernelNode& n = tree_.nodes[node];
    if (n.kind == KernelNode::Kind::leaf) return leaf_value(n.leaf, p, mode, tile);
    const TileMode own = n.kind == KernelNode::Kind::sum ? TileMode::add : TileMode::multiply;
    const bool aside = mode != TileMode::set && mode != own;
    T* target = aside ? memory : tile;
    for (size_t k = 0; k < n.parts.size(); ++k) {
      value(n.parts[k], p, k == 0 && (aside || mode == TileMode::set) ? TileMode::set : own, target, memory + kTile);
    }
    if (aside) table().combine_tiles(target, kTile, mode, tile);
  }

  void leaf_value(int64_t leaf, const Place& p, TileMode mode, T* tile) const {
    const cpu::PairTask<T>& task = kernel_.tasks[leaf];
    const bool on_diagonal = same_ && p.block == p.other;
    if (task.function == PairFunction::constant) {
      for (int64_t k = 0; k < kTile; ++k) {
        tile[k] = mode == TileMode::set ? task.variance
                                        : mode == TileMode::add ? tile[k] + task.variance : tile[k] * task.variance;
      }
    } else if (task.function == PairFunction::white) {
      for (int64_t r = 0; r < kBlock; ++r) {
        T* row = tile + r * kBlock;
        const T before = row[r];
        if (mode != TileMode::add) std::fill(row, row + kBlock, T(0));
        if (on_diagonal) {
          row[r] = mode == TileMode::set ? task.variance
                                         : mode == TileMode::add ? before + task.variance : before * task.variance;
        }
      }
    } else {
      table().pair_values(task, rows_[leaf].block(p.block), cols_[leaf].block(p.other), p.rows, mode, tile);
    }
  }

  // tile: the cotangent of the node, used up.
  void pull(int64_t node, const Place& p, T* tile, T* memory, bool by_columns, std::vector<LeafSums>& sums,
            double* partial) const {
    const KernelNode& n = tree_.nodes[node];
    const int64_t parts = static_cast<int64_t>(n.parts.size());
    const auto& k = table();
    if (n.kind == KernelNode::Kind::leaf) {
      return leaf_pull(n.leaf, p, tile, memory, by_columns, sums[n.leaf], partial + first_sum_[n.leaf]);
    }
    T* own = memory;
    T* values = memory + kTile;
    T* rest = values + (n.kind == KernelNode::Kind::product ? parts * kTile : 0);
    if (n.kind == KernelNode::Kind::product) {
      for (int64_t a = 0; a < parts; ++a) value(n.parts[a], p, TileMode::set, values + a * kTile, rest);
    }
    for (int64_t a = 0; a < parts; ++a) {
      std::memcpy(own, tile, kTile * sizeof(T));
      if (n.kind == KernelNode::Kind::product) {
        for (int64_t b = 0; b < parts; ++b) {
          if (b != a) k.combine_tiles(values + b * kTile, kTile, TileMode::multiply, own);
        }
      }
      pull(n.parts[a], p, own, rest, by_columns, sums, partial);
    }
  }

  void leaf_pull(int64_t leaf, const Place& p, T* tile, T* near, bool by_columns, LeafSums& sums,
                 double* partial) const {
    const cpu::PairTask<T>& task = kernel_.tasks[leaf];
    if (task.function == PairFunction::constant) {
      double sum = 0;
      for (int64_t k = 0; k < p.rows * kBlock; ++k) sum += static_cast<double>(tile[k]);
      partial[0] += sum;
      return;
    }
    if (task.function == PairFunction::white) {
      if (same_ && p.block == p.other) {
        for (int64_t r = 0; r < p.rows; ++r) partial[0] += static_cast<double>(tile[r * kBlock + r]);
      }
      return;
    }
    const T* rows = rows_[leaf].block(p.block);
    const T* cols = cols_[leaf].block(p.other);
    const auto& k = table();
    const bool some_near = k.pair_pullback(task, rows, cols, p.rows, tile, near, partial);
    if (same_ && p.block == p.other && task.stationary) {  // leave no rounding of the size of the slope
      for (int64_t r = 0; r < p.rows; ++r) tile[r * kBlock + r] = T(0);
    }
    double* d_rows = sums.rows.block(p.block);
    double* d_cols = by_columns ? (same_ ? sums.rows : sums.cols).block(p.other) : nullptr;
    const int64_t features = task.features, rest = (features + 1) * kBlock;
    if (directly(task)) return k.tile_differences(tile, p.rows, features, rows, cols, d_rows, d_cols, partial + 2);
    k.tile_products(tile, p.rows, features + 1, rows, cols, d_rows, d_cols);
    if (some_near) {
      k.tile_differences(near, p.rows, features, rows, cols, d_rows + rest, d_cols ? d_cols + rest : nullptr,
                         partial + 2);
    }
  }

 public:
  static bool directly(const cpu::PairTask<T>& task) { return !task.is_dot() && task.features <= cpu::kDirect; }

 private:
  const PreparedKernel<T>& kernel_;
  const KernelTree& tree_;
  const KernelPoints<T>&rows_, &cols_;
  int64_t n_, m_;
  bool same_;
  std::vector<int64_t> first_sum_;  // of each leaf, in the scalar sums of a chunk
};

}  // namespace lvm

// Sums and products of covariance functions, tile by tile: a program that every thread runs on its own 4 by 4 pairs.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "cuda/gram_tile.cuh"
#include "device/kernel_tree.hpp"

namespace lvm::cuda::pairs {

// The leaves lie among a kernel's arguments, of which there may be 4 KiB: no upload, nothing to keep.
constexpr int kMostLeaves = 48;

// A leaf's value goes to the top of the stack as `set` (nothing is there yet), `push`, or, if its sum or product with
// the top comes next anyway, straight into that: chains never need the stack, whose other values are in device memory.
struct TreeStep {
  enum Op : int8_t { set, push, add_leaf, multiply_leaf, add, multiply };
  int8_t op, leaf;
};

template <class T>
struct TreeTile {
  static constexpr bool kAny = true;  // as the context of a leaf
  Leaf<T> leaves[kMostLeaves];
  TreeStep steps[2 * kMostLeaves];
  int count, levels;  // steps; values on the stack below its top
  T* stack;           // per block and level 4096 numbers

  __device__ void values(const Sides& sides, int64_t i, int64_t j, At at, T* staged, Micro<T>& top) const {
    T* own = stack + int64_t(blockIdx.x) * levels * (kTile * kTile) + threadIdx.x;
    int level = 0;
    fill(top, T(1));  // what an empty program is worth
    for (int step = 0; step < count; ++step) {
      const int op = steps[step].op;
      if (op == TreeStep::add || op == TreeStep::multiply) {
        --level;
        pop(own + level * (kTile * kTile), op == TreeStep::add, top);
        continue;
      }
      if (op == TreeStep::push) {
        keep(top, own + level * (kTile * kTile));
        ++level;
      }
      leaf_values(leaves[steps[step].leaf], sides, i, j, at, staged, op, top);
    }
  }

 private:
  __device__ static void keep(const Micro<T>& top, T* to) {
    LVM_UNROLL for (int r = 0; r < kMicro; ++r) {
      LVM_UNROLL for (int c = 0; c < kMicro; ++c) to[(r * kMicro + c) * kThreads] = top[r][c];
    }
  }
  __device__ static void pop(const T* from, bool add, Micro<T>& top) {
    LVM_UNROLL for (int r = 0; r < kMicro; ++r) {
      LVM_UNROLL for (int c = 0; c < kMicro; ++c) {
        const T below = from[(r * kMicro + c) * kThreads];
        top[r][c] = add ? below + top[r][c] : below * top[r][c];
      }
    }
  }
  __device__ static T combine(int op, T top, T value) {
    return op == TreeStep::add_leaf ? top + value : op == TreeStep::multiply_leaf ? top * value : value;
  }

  __device__ static void leaf_values(const Leaf<T>& leaf, const Sides& sides, int64_t i, int64_t j, At at, T* staged,
                                     int op, Micro<T>& top) {
    Micro<T> s;
    fill(s, T(0));
    const T variance = leaf.numbers[0];
    if (leaf.function == PairFunction::constant || leaf.function == PairFunction::white) {
      const bool white = leaf.function == PairFunction::white, diagonal = sides.same && i == j;
      LVM_UNROLL for (int r = 0; r < kMicro; ++r) {
        LVM_UNROLL for (int c = 0; c < kMicro; ++c) {
          const bool there = !white || (diagonal && at.row<T>(r) == at.col<T>(c));
          top[r][c] = combine(op, top[r][c], there ? variance : T(0));
        }
      }
      return;
    }
    const bool dot = leaf.function == PairFunction::dot || leaf.function == PairFunction::power;
    if (dot) {
      add_numbers<false>(leaf.rows, leaf.cols, i, j, leaf.features, at, staged, s);
    } else {
      add_numbers<true>(leaf.rows, leaf.cols, i, j, leaf.features, at, staged, s);
    }
    const Shape<T> shape{leaf.numbers[1], leaf.degree};
    LVM_NO_UNROLL for (int turn = 0; turn < kMicro; ++turn) {
      T value[kMicro];
      row_values(leaf.function, shape, s[0], value);
      LVM_UNROLL for (int c = 0; c < kMicro; ++c) top[0][c] = combine(op, top[0][c], variance * value[c]);
      turn_rows(s);
      turn_rows(top);
    }
  }

  template <class F>
  __device__ static void row_of(const Shape<T>& shape, const T (&s)[kMicro], T (&value)[kMicro]) {
    LVM_UNROLL for (int c = 0; c < kMicro; ++c) value[c] = F::value(s[c], shape);
  }
  __device__ static void row_values(PairFunction function, const Shape<T>& shape, const T (&s)[kMicro],
                                    T (&value)[kMicro]) {
    switch (function) {
      case PairFunction::rbf: return row_of<Rbf>(shape, s, value);
      case PairFunction::matern12: return row_of<Matern12>(shape, s, value);
      case PairFunction::matern32: return row_of<Matern32>(shape, s, value);
      case PairFunction::matern52: return row_of<Matern52>(shape, s, value);
      case PairFunction::rational_quadratic: return row_of<RationalQuadratic>(shape, s, value);
      case PairFunction::power: return row_of<Power>(shape, s, value);
      default: return row_of<Dot>(shape, s, value);
    }
  }
};

// A program in the steps above; how many values it has on the stack below the top.
inline std::vector<TreeStep> tree_steps(const std::vector<KernelStep>& program, int64_t* levels) {
  if (KernelTree::depth(program) > KernelTree::kDeepest) {
    throw std::invalid_argument("a kernel's sums and products are nested deeper than " +
                                std::to_string(KernelTree::kDeepest));
  }
  std::vector<TreeStep> steps;
  int64_t level = 0;
  *levels = 0;
  for (size_t k = 0; k < program.size(); ++k) {
    const int8_t leaf = static_cast<int8_t>(program[k].leaf);
    if (program[k].op != KernelStep::push) {
      steps.push_back({program[k].op == KernelStep::add ? TreeStep::add : TreeStep::multiply, 0});
      --level;
    } else if (k == 0) {
      steps.push_back({TreeStep::set, leaf});
    } else if (k + 1 < program.size() && program[k + 1].op != KernelStep::push) {
      steps.push_back({program[++k].op == KernelStep::add ? TreeStep::add_leaf : TreeStep::multiply_leaf, leaf});
    } else {
      steps.push_back({TreeStep::push, leaf});
      *levels = std::max(*levels, ++level);
    }
  }
  return steps;
}

}  // namespace lvm::cuda::pairs

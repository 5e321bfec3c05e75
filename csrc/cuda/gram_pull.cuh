// Launches of pull-backs, and what becomes of the parts that their blocks leave.
#pragma once

#include "cuda/gram_products.cuh"
#include "cuda/gram_pullback.cuh"

namespace lvm::cuda::pairs {

// The sums of units, of one scalar after the other.
struct UnitScalars {
  const double* scalars;
  int64_t units;
  __device__ double operator()(int64_t which, int64_t unit) const { return scalars[which * units + unit]; }
};
struct Reserved {  // scratch that is there
  double* data;
  double* reserve(int64_t) const { return data; }
};
constexpr int64_t kPartsOfSums = 256;  // of a sum over units, at most

template <class F, class Context, class T>
void launch_pull(const PullTask<T>& task, const Context& context, unsigned grid) {
  const int64_t bytes = PullShared<T>::bytes(task.leaf.features);
  allow_shared(pull_kernel<F, Context, T>, bytes);
  LVM_LAUNCH((pull_kernel<F, Context, T>), grid, kThreads, bytes, cuda_context().stream, task, context);
}

template <class Context, class T>
void launch_pull(const PullTask<T>& task, const Context& context, unsigned grid) {
  switch (task.leaf.function) {
    case PairFunction::rbf: return launch_pull<Rbf>(task, context, grid);
    case PairFunction::matern12: return launch_pull<Matern12>(task, context, grid);
    case PairFunction::matern32: return launch_pull<Matern32>(task, context, grid);
    case PairFunction::matern52: return launch_pull<Matern52>(task, context, grid);
    case PairFunction::rational_quadratic: return launch_pull<RationalQuadratic>(task, context, grid);
    case PairFunction::dot: return launch_pull<Dot>(task, context, grid);
    case PairFunction::power: return launch_pull<Power>(task, context, grid);
    default: break;
  }
  const int64_t bytes = PullShared<T>::bytes(0);
  allow_shared(plain_pull_kernel<Context, T>, bytes);
  LVM_LAUNCH((plain_pull_kernel<Context, T>), grid, kThreads, bytes, cuda_context().stream, task, context);
}

// Numbers of scratch for a leaf with so many features.
inline int64_t pull_scratch(const Sides& sides, int64_t features) {
  const int64_t splits = column_splits(sides), units = sides.row_blocks() * splits;
  return (2 + features) * (units + kPartsOfSums) + splits * features * sides.row_blocks() * kTile;
}

// One side's sums: rows(i, f), and [value, shape, squares] in scalars unless that is null. most: blocks, as for values.
template <class Context, class T>
void pull(const Sides& sides, const Leaf<T>& leaf, const CotangentTiles<T>& cotangent, const Context& context,
          int64_t most, double* scratch, double* rows, int64_t rows_stride, double* scalars) {
  const int64_t splits = column_splits(sides), units = sides.row_blocks() * splits, width = 2 + leaf.features;
  double* sums = scratch + width * kPartsOfSums;
  const int64_t stride = sides.row_blocks() * kTile;
  const PullTask<T> task{sides, splits, units, leaf, cotangent, sums + width * units, scalars ? sums : nullptr, stride};
  launch_pull(task, context, grid_of(units, most));
  check_launch("pull");
  if (leaf.features) {
    const int64_t lines = leaf.features;
    map(lines * sides.n, PartialLines{task.rows, splits, lines, stride, sides.n, rows, rows_stride, false});
  }
  Reserved parts{scratch};
  if (scalars) cuda::sums(width, units, UnitScalars{sums, units}, scalars, false, parts);
}

}  // namespace lvm::cuda::pairs

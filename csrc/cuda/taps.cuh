// Convolutions and their pull-backs as implicit products of matrices: which kernel does what.
//
// A layer with P pixels of its small image, K taps, C and F channels takes 2 n P K C F flops each way and for its weights, and
// moves n (inputs + outputs) numbers; taps come from the caches. What float32 on an H200 (67 TFLOP/s, 4.8 TB/s) allows for 128
// images of 28 x 28, strides of 2, forward:
//
//   layer                    MFLOP    MB    flops     bytes     kernel
//   14 x 14: 1 -> 32            14     4    0.2 us    0.8 us    few_inputs
//   7 x 7: 32 -> 64            231     5    3.5 us    1.0 us    small
//   14 x 14: 64 -> 64, back    462     8    6.9 us    1.7 us    tall
//   28 x 28: 64 -> 32, back    925    19     14 us    4.0 us    tall
//   28 x 28: 32 -> 1            58    13    0.9 us    2.8 us    few_outputs
//
// 29 us forward and about 90 for a step at best. Of what the main loops issue (sm_90, nvcc 13), multiply-adds are 1024 of 1500
// instructions for `wide`, 512 of 870 for `tall`, 512 of 890 for weights: 60 to 70 % of the peak is the bound to expect. Registers
// and warps of a multiprocessor: wide 168, 12; tall 128, 16; small 96, 20; weights 155, 12; few terms 64, 32; few inputs 58,
// 32; few outputs 48, 40. Not measured: there was no GPU.
#pragma once

#include "cuda/tap_narrow.cuh"
#include "cuda/tap_outer.cuh"
#include "cuda/tap_products.cuh"
#include "cuda/tap_pull.cuh"

namespace lvm::cuda {

namespace taps {

template <class T>
struct ProductTiles {
  static constexpr bool kDouble = sizeof(T) == sizeof(double);
  using Wide = std::conditional_t<kDouble, Tile<T, 64, 64, 8, 4, 8, 3>, Tile<T, 128, 64, 8, 8, 16, 3>>;
  using Tall = std::conditional_t<kDouble, Tile<T, 64, 32, 4, 4, 8, 5>, Tile<T, 128, 32, 8, 4, 16, 4>>;
  using Small = std::conditional_t<kDouble, Tile<T, 64, 32, 4, 4, 8, 5>, Tile<T, 64, 32, 4, 4, 16, 5>>;
};

// The largest tile that still gives a large GPU blocks enough: two for every multiprocessor of the widest.
template <class T>
TapKernel choice(const TapProduct<T>& task) {
  if (task.columns <= kFewColumns && few_outputs_bytes(task) <= kMostShared) return TapKernel::few_outputs;
  if (task.depth == 1 && few_inputs_bytes(task) <= kMostShared) return TapKernel::few_inputs;
  constexpr int64_t kWideEnough = 256, kEnough = 128;
  const int64_t rows = task.n * task.shape.most_pixels() * task.shape.phases();
  const auto blocks = [&](int64_t high, int64_t wide) { return (rows + high - 1) / high * ((task.columns + wide - 1) / wide); };
  using Tiles = ProductTiles<T>;
  if (task.columns > 32 && blocks(Tiles::Wide::kRows, Tiles::Wide::kColumns) >= kWideEnough) return TapKernel::wide;
  return blocks(Tiles::Tall::kRows, Tiles::Tall::kColumns) >= kEnough ? TapKernel::tall : TapKernel::small;
}

}  // namespace taps

template <class T>
void tap_product(const TapProduct<T>& task, TapKernel kernel) {
  if (task.n == 0) return;
  using Tiles = taps::ProductTiles<T>;
  switch (kernel == TapKernel::any ? taps::choice(task) : kernel) {
    case TapKernel::wide: return taps::product_of<typename Tiles::Wide>(task);
    case TapKernel::tall: return taps::product_of<typename Tiles::Tall>(task);
    case TapKernel::few_inputs: return taps::few_inputs(task);
    case TapKernel::few_outputs: return taps::few_outputs(task);
    default: return taps::product_of<typename Tiles::Small>(task);
  }
}
template <class T>
int64_t tap_outer_splits(const TapOuter<T>& task) {
  return taps::outer_splits(task);
}
template <class T>
void tap_outer(const TapOuter<T>& task) {
  taps::outer(task);
}
template <class T>
int64_t tap_pull_size(int64_t rows, int64_t columns) {
  return taps::pull_parts(rows, columns) * columns;
}
template <class T>
void tap_pull(const TapPull<T>& task) {
  taps::pull(task);
}

}  // namespace lvm::cuda

// Work of narrow dense networks, for kernels that are compiled once per instruction set.
//
// A tile of rows goes through all layers, to the loss and back, while it is in the first cache: [number, row], rows in packs.
#pragma once

#include <stdint.h>

#include "core/ratio_loss.hpp"

namespace lvm::cpu {

constexpr int64_t kNarrowTile = 128;         // rows
constexpr int64_t kNarrowLayers = 8;         // at most
constexpr int64_t kNarrowWidth = 64;         // of a layer, at most
constexpr int64_t kNarrowParameters = 8192;  // at most: their sums, in packs, stay in the second cache

struct NarrowLayer {
  int64_t inputs, outputs, kernel, bias;  // where they start in theta; kernel (inputs, outputs)
  Activation activation;                  // not gelu, whose slope is not one of its value
};

// A network with one output s.
template <class T>
struct NarrowRatio {
  NarrowLayer layers[kNarrowLayers];
  int64_t count;
  const T* theta;
  const T* x;        // tiles (inputs, kNarrowTile)
  const T* weights;  // of rows: > 0 of p, < 0 of q, 0 without effect; null: s alone
  RatioLossShape loss;
  T* s;  // (rows,), or null
};

template <class T>
struct NarrowFunctions {
  int64_t (*lanes_of_sum)();                            // numbers beside each other that make one sum
  int64_t (*scratch)(const NarrowRatio<T>&, bool back);  // numbers
  // rows [begin, begin + count) of x (n, d) to a tile, zeros after them
  void (*pack_tile)(const T* x, int64_t d, int64_t count, T* tile);
  // tiles [begin, end): *loss += sum |w| term; sums (parameters, lanes_of_sum), or null, += those of the gradient
  void (*ratio)(const NarrowRatio<T>&, int64_t begin, int64_t end, T* sums, double* loss, T* scratch);
  // gradient[i] = the sum over `parts` of sums (parts, parameters, lanes_of_sum)
  void (*reduce)(const T* sums, int64_t parts, int64_t parameters, T* gradient);
};

}  // namespace lvm::cpu

// What a layer of a network with parameters is: a convolution between a large and a small image, or its transpose.
#pragma once

#include <cstdint>

#include "core/activation.hpp"

namespace lvm {

// small[i, j, f] = sum_{u, v, c} large[i stride - top + u, j stride - left + v, c] kernel[u, v, c, f], zeros outside, or,
// transposed, the adjoint of that map. Images are channels last. A dense layer has images of one pixel and a kernel of one.
struct LayerShape {
  int64_t input;  // the layer whose output it takes; -1: that of the network
  bool transposed;
  Activation activation;
  int64_t kernel, bias;  // where they start in the parameters; kernel (rows, cols, large_channels, small_channels)
  int64_t large_rows, large_cols, large_channels, small_rows, small_cols, small_channels;
  int64_t rows, cols, row_stride, col_stride, top, left;

  int64_t taps() const { return rows * cols; }
  int64_t large_pixels() const { return large_rows * large_cols; }
  int64_t small_pixels() const { return small_rows * small_cols; }
  int64_t large_size() const { return large_pixels() * large_channels; }
  int64_t small_size() const { return small_pixels() * small_channels; }
  int64_t inputs() const { return transposed ? small_size() : large_size(); }
  int64_t outputs() const { return transposed ? large_size() : small_size(); }
  int64_t channels() const { return transposed ? large_channels : small_channels; }  // of the output
  int64_t pixels() const { return transposed ? large_pixels() : small_pixels(); }
  int64_t weights() const { return taps() * large_channels * small_channels; }
  bool dense() const { return taps() == 1 && large_pixels() == 1; }
};

// A network's layer on a device and what steps of optimizers need there: device/cpu_network.hpp, device/cuda_network.hpp.
template <class Device, class T>
class NetworkLayer;
template <class Device, class T>
struct NetworkSteps;

}  // namespace lvm

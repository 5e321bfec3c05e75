// Narrow dense networks on a device that has kernels of their own for them: device/cpu_narrow.hpp.
#pragma once

#include <cstdint>
#include <vector>

#include "core/ratio_loss.hpp"
#include "device/layer_shape.hpp"

namespace lvm {

// suits: whether a network can be taken. take: rows x (n, d), weights (n,), which may go then. loss: of these rows, with the
// gradient unless it is null. log_ratio: s (n,) of rows x. Here: none can.
template <class Device, class T>
class NarrowRows {
 public:
  NarrowRows(const std::vector<LayerShape>&, int64_t, const RatioLossShape&) {}
  static bool suits(const std::vector<LayerShape>&, int64_t) { return false; }
  void take(const T*, const T*, int64_t) {}
  void loss(const T*, T*, double*) {}
  void log_ratio(const T*, const T*, int64_t, T*) {}
};

}  // namespace lvm

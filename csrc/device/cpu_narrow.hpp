// Narrow dense networks on the CPU: every thread takes its rows through all layers, to the loss and back.
//
// A pass of the general engine hands work over to the threads some four times for each layer, and moves every value through the
// memory. Here there is one hand-over. Work: 6 n p flops for p parameters; moved: the rows. Sums of the gradient are cut into
// lanes by the number of rows alone.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cpu/narrow_tasks.hpp"
#include "device/cpu.hpp"
#include "device/narrow_rows.hpp"

namespace lvm {

template <class T>
class NarrowRows<Cpu, T> {
 public:
  NarrowRows(const std::vector<LayerShape>& shapes, int64_t parameters, const RatioLossShape& loss) : parameters_(parameters) {
    task_.loss = loss;
    task_.count = static_cast<int64_t>(shapes.size());
    for (int64_t l = 0; l < std::min(task_.count, cpu::kNarrowLayers); ++l) {
      const LayerShape& s = shapes[l];
      task_.layers[l] = {s.large_channels, s.small_channels, s.kernel, s.bias, s.activation};
    }
  }

  static bool suits(const std::vector<LayerShape>& shapes, int64_t parameters) {
    const int64_t count = static_cast<int64_t>(shapes.size());
    bool good = count <= cpu::kNarrowLayers && parameters <= cpu::kNarrowParameters;
    for (int64_t l = 0; l < count; ++l) {
      const LayerShape& s = shapes[l];
      good = good && s.dense() && !s.transposed && s.input == l - 1 && s.activation != Activation::gelu;
      good = good && s.large_channels <= cpu::kNarrowWidth && s.small_channels <= cpu::kNarrowWidth;
    }
    return good && shapes.back().small_channels == 1 && shapes.back().activation == Activation::linear;
  }

  void take(const T* x, const T* weights, int64_t n) {
    const int64_t d = task_.layers[0].inputs, size = d * cpu::kNarrowTile;
    tiles_ = (n + cpu::kNarrowTile - 1) / cpu::kNarrowTile;
    T *packed = packed_.reserve(tiles_ * size), *w = weights_.reserve(tiles_ * cpu::kNarrowTile);
    std::copy_n(weights, n, w);
    std::fill_n(w + n, tiles_ * cpu::kNarrowTile - n, T(0));
    const auto& kernel = cpu::narrow_kernels_for<T>();
    Cpu::for_ranges(tiles_, std::max<int64_t>(1, 4096 / size), [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        kernel.pack_tile(x + t * size, d, std::min(cpu::kNarrowTile, n - t * cpu::kNarrowTile), packed + t * size);
      }
    });
  }

  void loss(const T* theta, T* gradient, double* out) {
    const auto& kernel = cpu::narrow_kernels_for<T>();
    int64_t lanes = 1;
    while (lanes < kMostLanes && 8 * lanes <= tiles_) lanes *= 2;
    const int64_t size = parameters_ * kernel.lanes_of_sum();
    T* sums = gradient ? sums_.reserve(lanes * size) : nullptr;
    double parts[kMostLanes] = {};
    cpu::NarrowRatio<T> task = task_;
    task.theta = theta;
    task.x = packed_.data();
    task.weights = weights_.data();
    task.s = nullptr;
    parallel_for(lanes, [&](int64_t lane) {
      T* own = sums ? sums + lane * size : nullptr;
      if (own) std::fill_n(own, size, T(0));
      kernel.ratio(task, tiles_ * lane / lanes, tiles_ * (lane + 1) / lanes, own, parts + lane, scratch(kernel.scratch(task, own)));
    });
    if (gradient) kernel.reduce(sums, lanes, parameters_, gradient);
    *out = 0;
    for (int64_t lane = 0; lane < lanes; ++lane) *out += parts[lane];
  }

  void log_ratio(const T* theta, const T* x, int64_t n, T* s) {
    const auto& kernel = cpu::narrow_kernels_for<T>();
    const int64_t d = task_.layers[0].inputs, size = d * cpu::kNarrowTile, tiles = (n + cpu::kNarrowTile - 1) / cpu::kNarrowTile;
    Cpu::for_ranges(tiles, 8, [&](int64_t begin, int64_t end) {
      cpu::NarrowRatio<T> task = task_;
      T* tile = scratch(size + cpu::kNarrowTile + kernel.scratch(task, false));
      task.theta = theta;
      task.x = tile;
      task.weights = nullptr;
      task.s = tile + size;
      for (int64_t t = begin; t < end; ++t) {
        const int64_t count = std::min(cpu::kNarrowTile, n - t * cpu::kNarrowTile);
        kernel.pack_tile(x + t * size, d, count, tile);
        kernel.ratio(task, 0, 1, nullptr, nullptr, task.s + cpu::kNarrowTile);
        std::copy_n(task.s, count, s + t * cpu::kNarrowTile);
      }
    });
  }

 private:
  static constexpr int64_t kMostLanes = 16;
  static T* scratch(int64_t numbers) {
    static thread_local Buffer<T> buffer;
    return buffer.reserve(numbers);
  }

  cpu::NarrowRatio<T> task_{};
  int64_t parameters_, tiles_ = 0;
  Buffer<T> packed_, weights_, sums_;
};

}  // namespace lvm

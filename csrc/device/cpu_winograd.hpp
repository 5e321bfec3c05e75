// Convolutions of 3 x 3 taps and stride 1 by Winograd's algorithm: how the work of csrc/cpu/winograd.cpp is cut for threads.
#pragma once

#include <algorithm>
#include <cstdint>

#include "device/cpu.hpp"
#include "device/layer_shape.hpp"

namespace lvm {

template <class T>
class Winograd {
 public:
  explicit Winograd(const LayerShape& s)
      : shape_(s),
        to_small_{s.large_rows, s.large_cols, s.small_rows, s.small_cols, s.top, s.left},
        to_large_{s.small_rows, s.small_cols, s.large_rows, s.large_cols, 2 - s.top, 2 - s.left} {}

  // Whether it is worth its transforms; of the shape alone, so that a row's result does not depend on its batch.
  static bool suits(const LayerShape& s) {
    return s.rows == 3 && s.cols == 3 && s.row_stride == 1 && s.col_stride == 1 && s.top <= 2 && s.left <= 2 &&
           std::min(s.large_channels, s.small_channels) >= cpu::kWinogradLeast && s.small_pixels() >= 16;
  }

  // As NetworkLayer::product.
  void product(int64_t n, bool to_small, const T* w, const T* zeros, const T* in, T* out, bool add, const T* bias, T* pre) {
    const int64_t depth = to_small ? shape_.large_channels : shape_.small_channels;
    const int64_t columns = to_small ? shape_.small_channels : shape_.large_channels;
    const cpu::WinogradImage& image = to_small ? to_small_ : to_large_;
    const auto& kernel = cpu::network_kernels_for<T>();
    const int64_t panel = kernel.panel(), panels = (columns + panel - 1) / panel;
    T* packed = packed_.reserve(16 * panels * panel * depth);
    parallel_for(panels, [&](int64_t i) {
      kernel.winograd_weights(w, depth, columns, !to_small, i * panel, std::min(columns, (i + 1) * panel), packed);
    });
    const cpu::WinogradProduct<T> task{image, in, out, pre, bias, packed, zeros, depth, columns, shape_.activation, add};
    const int64_t all = n * image.blocks();
    const int64_t parts = std::max((all + cpu::kWinogradBlocks - 1) / cpu::kWinogradBlocks, std::min(all / 6, 4 * Cpu::threads()));
    parallel_for(parts, [&](int64_t i) {
      const int64_t begin = all * i / parts, end = all * (i + 1) / parts;
      kernel.winograd_product(task, begin, end, scratch(kernel.winograd_scratch(depth, columns)));
    });
  }

  // As NetworkLayer::pull_weights: d_w = G^T (sum) G.
  void pull_weights(int64_t n, const T* zeros, const T* large, const T* small, T* d_w) {
    const int64_t depth = shape_.large_channels, columns = shape_.small_channels, size = depth * columns;
    const int64_t all = n * to_small_.blocks(), lanes = std::clamp<int64_t>(all / kLaneBlocks, 1, 16);
    T* results = results_.reserve(lanes * 16 * size);
    const auto& kernel = cpu::network_kernels_for<T>();
    parallel_for(lanes, [&](int64_t lane) {
      const cpu::WinogradOuter<T> task{to_small_, large, small, results + lane * 16 * size, zeros, depth, columns};
      kernel.winograd_outer(task, all * lane / lanes, all * (lane + 1) / lanes, scratch(kernel.winograd_scratch(depth, columns)));
    });
    Cpu::for_ranges(size, 1024, [&](int64_t begin, int64_t end) {
      for (int point = 0; point < 16; ++point) {
        T* sum = results + point * size;
        for (int64_t lane = 1; lane < lanes; ++lane) {
          const T* more = results + (lane * 16 + point) * size;
          for (int64_t i = begin; i < end; ++i) sum[i] += more[i];
        }
      }
      for (int64_t i = begin; i < end; ++i) {
        T t[3][4];
        for (int v = 0; v < 4; ++v) pull(results + v * size + i, 4 * size, &t[0][v], 4);
        for (int u = 0; u < 3; ++u) pull(t[u], 1, d_w + 3 * u * size + i, size);
      }
    });
  }

 private:
  static constexpr int64_t kLaneBlocks = 384;

  // G^T of four numbers.
  static void pull(const T* from, int64_t step, T* to, int64_t to_step) {
    const T half_sum = T(0.5) * (from[step] + from[2 * step]);
    to[0] = from[0] + half_sum;
    to[to_step] = T(0.5) * (from[step] - from[2 * step]);
    to[2 * to_step] = half_sum + from[3 * step];
  }
  static void* scratch(int64_t bytes) {
    static thread_local Buffer<char> buffer;
    return buffer.reserve(bytes);
  }

  LayerShape shape_;
  cpu::WinogradImage to_small_, to_large_;
  Buffer<T> packed_, results_;
};

}  // namespace lvm

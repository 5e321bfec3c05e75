// A layer of a network on the CPU: how its work is cut for the threads and the kernels of csrc/cpu/network.cpp.
//
// No number depends on the threads: sums over rows are cut into lanes by the number of rows alone.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "device/cpu.hpp"
#include "device/cpu_winograd.hpp"
#include "device/layer_shape.hpp"
#include "device/tap_plan.hpp"

namespace lvm {

template <class T>
class NetworkLayer<Cpu, T> {
 public:
  explicit NetworkLayer(const LayerShape& shape) : shape_(shape), to_small_(shape, true), to_large_(shape, false) {
    const int64_t most = std::max(shape.large_channels, shape.small_channels);
    std::fill_n(zeros_.reserve(most), most, T(0));
    if (Winograd<T>::suits(shape)) winograd_ = std::make_unique<Winograd<T>>(shape);
  }

  // y = sigma(x * w + b); pre: what goes into sigma, or null.
  void forward(int64_t n, const T* w, const T* b, const T* x, T* y, T* pre) {
    product(n, !shape_.transposed, w, x, y, false, b, pre);
  }
  // d_x = (or +=) the adjoint of * w on g.
  void pull_input(int64_t n, const T* w, const T* g, T* d_x, bool add) {
    product(n, shape_.transposed, w, g, d_x, add, nullptr, nullptr);
  }
  // g = d sigma'; returns where it is: d itself where sigma is linear. y: the output, of a gelu what went into it.
  const T* pull_activation(int64_t n, const T* d, const T* y, T* g, T* d_bias) {
    const int64_t columns = shape_.channels(), rows = n * shape_.pixels();
    const int64_t lanes = std::clamp<int64_t>(rows * columns >> 15, 1, kMostLanes);
    double* sums = sums_.reserve(lanes * columns);
    std::fill_n(sums, lanes * columns, 0.0);
    const auto& kernel = cpu::network_kernels_for<T>();
    parallel_for(lanes, [&](int64_t lane) {
      const int64_t from = rows * lane / lanes, to = rows * (lane + 1) / lanes, at = from * columns;
      kernel.pull_activation(shape_.activation, to - from, columns, d + at, y + at, g + at, sums + lane * columns);
    });
    for (int64_t j = 0; j < columns; ++j) {
      double sum = 0;
      for (int64_t lane = 0; lane < lanes; ++lane) sum += sums[lane * columns + j];
      d_bias[j] = static_cast<T>(sum);
    }
    return shape_.activation == Activation::linear ? d : g;
  }
  // d_w = the sum over images of input and g.
  void pull_weights(int64_t n, const T* x, const T* g, T* d_w) {
    const T *large = shape_.transposed ? g : x, *small = shape_.transposed ? x : g;
    if (winograd_) return winograd_->pull_weights(n, zeros_.data(), large, small, d_w);
    // The side with the packs should have channels to fill them.
    const bool turned = shape_.small_channels <= cpu::kNarrow && shape_.large_channels > shape_.small_channels;
    const TapPlan& plan = turned ? to_large_ : to_small_;
    const int64_t depth = turned ? shape_.small_channels : shape_.large_channels;
    const int64_t columns = turned ? shape_.large_channels : shape_.small_channels;
    const int64_t rows = n * (turned ? shape_.large_pixels() : shape_.small_pixels());
    const int64_t lanes = std::clamp<int64_t>(rows / kLaneRows, 1, kMostLanes), size = shape_.weights();
    const bool direct = lanes == 1 && !turned;
    T* results = direct ? d_w : results_.reserve(lanes * size);
    const auto& kernel = cpu::network_kernels_for<T>();
    const int64_t panel = kernel.panel(), panels = (columns + panel - 1) / panel;
    const bool worth = rows * size > kWorth;
    const int64_t parts = worth ? std::min(panels, (tasks_for(rows * size) + lanes - 1) / lanes) : 1;
    const int64_t width = (panels + parts - 1) / parts * panel;
    const auto task = [&](int64_t i) {
      const int64_t lane = i / parts, first = i % parts * width, last = std::min(columns, first + width);
      if (first >= last) return;
      for (const cpu::TapGroup& group : plan.groups()) {
        const int64_t all = n * group.rows;
        const cpu::TapOuter<T> outer{group, turned ? small : large, turned ? large : small, results + lane * size, zeros_.data(),
                                     depth, columns, turned ? shape_.small_size() : shape_.large_size(),
                                     turned ? shape_.large_size() : shape_.small_size(), false};
        kernel.tap_outer(outer, all * lane / lanes, all * (lane + 1) / lanes, first, last,
                         scratch(kernel.outer_scratch(group.taps, depth)));
      }
    };
    spread(worth, lanes * parts, task);
    if (direct) return;
    std::fill_n(d_w, size, T(0));  // a tap without a group touches no pixel
    Cpu::for_ranges(shape_.taps() * depth, std::max<int64_t>(1, 4096 / columns), [&](int64_t begin, int64_t end) {
      for (const cpu::TapGroup& group : plan.groups()) {
        const int64_t from = std::max(begin, group.first * depth), to = std::min(end, (group.first + group.taps) * depth);
        for (int64_t tk = from; tk < to; ++tk) {
          const int64_t k = tk % depth, tap = plan.order()[tk / depth];
          T* out = d_w + tap * depth * columns + (turned ? k : k * columns);
          for (int64_t j = 0; j < columns; ++j) {
            T sum = results[tk * columns + j];
            for (int64_t lane = 1; lane < lanes; ++lane) sum += results[lane * size + tk * columns + j];
            out[j * (turned ? depth : 1)] = sum;
          }
        }
      }
    });
  }

 private:
  static constexpr int64_t kMostLanes = 16;
  static constexpr int64_t kLaneRows = 2048;
  static constexpr int64_t kWorth = int64_t(1) << 17;  // multiply-adds: some microseconds

  // Tasks of so many multiply-adds. Threads take turns at them, which costs more than it evens out where they are short.
  static int64_t tasks_for(int64_t multiply_adds) {
    const int64_t threads = Cpu::threads();
    return threads == 1 ? 1 : multiply_adds < 32 * kWorth ? threads : 4 * threads;
  }
  // On the pool's threads, or on this one where there is little to do.
  template <class F>
  static void spread(bool worth, int64_t tasks, const F& task) {
    if (worth) return parallel_for(tasks, task);
    for (int64_t i = 0; i < tasks; ++i) task(i);
  }
  static void* scratch(int64_t bytes) {
    static thread_local Buffer<char> buffer;
    return buffer.reserve(bytes);
  }

  // The small image from the large one, or the other way round.
  void product(int64_t n, bool to_small, const T* w, const T* in, T* out, bool add, const T* bias, T* pre) {
    if (winograd_) return winograd_->product(n, to_small, w, zeros_.data(), in, out, add, bias, pre);
    const TapPlan& plan = to_small ? to_small_ : to_large_;
    const int64_t depth = to_small ? shape_.large_channels : shape_.small_channels;
    const int64_t columns = to_small ? shape_.small_channels : shape_.large_channels, taps = shape_.taps();
    const auto& kernel = cpu::network_kernels_for<T>();
    const bool narrow = columns <= cpu::kNarrow;
    const int64_t panel = kernel.panel(), panels = narrow ? 1 : (columns + panel - 1) / panel;
    // Chunks of all groups in turn, so that those of the same images come together.
    const int64_t groups = static_cast<int64_t>(plan.groups().size());
    int64_t most_rows = 0, rows = cpu::kNetworkRows;
    for (const cpu::TapGroup& group : plan.groups()) most_rows = std::max(most_rows, n * group.rows);
    int64_t chunks = groups * ((most_rows + rows - 1) / rows);
    int64_t parts = 1;
    const int64_t all_rows = n * (to_small ? shape_.small_pixels() : shape_.large_pixels());
    const bool worth = all_rows * shape_.weights() > kWorth;
    if (worth) {
      const int64_t wanted = tasks_for(all_rows * shape_.weights());
      if (chunks < wanted) parts = std::min(panels, (wanted + chunks - 1) / chunks);
      if (chunks * parts < wanted) {
        rows = std::max<int64_t>(12, (rows * chunks * parts / wanted + 11) / 12 * 12);
        chunks = groups * ((most_rows + rows - 1) / rows);
      }
    }
    const int64_t width = narrow ? columns : (panels + parts - 1) / parts * panel;
    T* packed = packed_.reserve(taps * depth * (narrow ? columns : panels * panel));
    const bool pack_first = chunks > 1;
    const auto pack = [&](int64_t first, int64_t last) {
      kernel.pack_weights(w, plan.order(), taps, depth, columns, !to_small, first, last, packed);
    };
    if (pack_first) {
      if (shape_.weights() < kWorth || narrow) {
        pack(0, columns);
      } else {
        parallel_for(panels, [&](int64_t i) { pack(i * panel, std::min(columns, (i + 1) * panel)); });
      }
    }
    const auto task = [&](int64_t i) {
      const int64_t first = i % parts * width, last = std::min(columns, first + width);
      const cpu::TapGroup& group = plan.groups()[i / parts % groups];
      const int64_t begin = i / parts / groups * rows, end = std::min(n * group.rows, begin + rows);
      if (first >= last || begin >= end) return;
      if (!pack_first) pack(first, last);
      const cpu::TapProduct<T> product{group, in, out, pre, bias, packed, zeros_.data(), depth, columns, taps,
                                       to_small ? shape_.large_size() : shape_.small_size(),
                                       to_small ? shape_.small_size() : shape_.large_size(), shape_.activation, add};
      kernel.tap_product(product, begin, end, first, last, scratch(kernel.product_scratch(group.taps, depth)));
    };
    spread(worth, chunks * parts, task);
  }

  LayerShape shape_;
  std::unique_ptr<Winograd<T>> winograd_;
  TapPlan to_small_, to_large_;
  Buffer<T> zeros_, packed_, results_;
  Buffer<double> sums_;
};

template <class T>
struct NetworkSteps<Cpu, T> {
  static void run(int64_t n, const AdamStep<T>& step) { ranges(n, cpu::network_kernels_for<T>().adam, step); }
  static void run(int64_t n, const RmspropStep<T>& step) { ranges(n, cpu::network_kernels_for<T>().rmsprop, step); }
  static void run(int64_t n, const SgdStep<T>& step) { ranges(n, cpu::network_kernels_for<T>().sgd, step); }
  // *out = sum of x^2, in parts that depend on n alone.
  static void square_sum(int64_t n, const T* x, double* out) {
    constexpr int64_t kParts = 16;
    double parts[kParts] = {};
    const auto& kernel = cpu::network_kernels_for<T>();
    const int64_t grain = std::max<int64_t>(kGrain, (n + kParts - 1) / kParts);
    Cpu::for_ranges(n, grain, [&](int64_t begin, int64_t end) { parts[begin / grain] = kernel.square_sum(x + begin, end - begin); });
    *out = 0;
    for (double part : parts) *out += part;
  }

 private:
  static constexpr int64_t kGrain = int64_t(1) << 14;
  template <class Kernel, class Step>
  static void ranges(int64_t n, Kernel kernel, const Step& step) {
    const int64_t shares = Cpu::threads() * std::max<int64_t>(1, n / (16 * kGrain));
    Cpu::for_ranges(n, std::max<int64_t>(kGrain / 4, (n + shares - 1) / shares), [&](int64_t begin, int64_t end) { kernel(step, begin, end); });
  }
};

}  // namespace lvm

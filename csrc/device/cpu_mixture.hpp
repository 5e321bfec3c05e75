// Mixtures of spherical normal distributions on the CPU.
#pragma once

#include <algorithm>
#include <cstdint>

#include "algo/mixture_mesh.hpp"
#include "cpu/mixture_tasks.hpp"
#include "device/cpu.hpp"

namespace lvm {

template <class T>
struct MixtureRows<Cpu, T> {
  // log_p of n points, and their weights if these are wanted, or if they are given as products: then in the same place.
  static void run(const MixtureTask<T>& task, const MixtureResults<T>& results, int64_t n) {
    Cpu::for_ranges(n, grain(task), [&](int64_t begin, int64_t end) { range(task, results, {}, begin, end); });
  }

  // The gradients in one pass, where distances are by differences: d_x (n, d) or null, and sums (d + 1, stride), set to
  // weights times x_i - f_k and the weights. Lanes depend on n and m alone, so that the bits do not depend on the threads.
  static constexpr bool kFused = true;
  static void pull(const MixtureTask<T>& task, const MixtureResults<T>& results, int64_t n, T* d_x, double* sums) {
    const int64_t width = (task.d + 1) * task.stride;
    const int64_t lanes = std::clamp<int64_t>(std::min(n / kBlock, kLaneNumbers / width), 1, Cpu::kLanes);
    Buffer<double> partial(lanes * width);
    Cpu::for_lanes(lanes, [&](int64_t lane) {
      Buffer<T> block(width);
      double* to = partial.data() + lane * width;
      std::fill_n(to, width, 0.0);
      const int64_t last = (lane + 1) * n / lanes;
      for (int64_t begin = lane * n / lanes; begin < last; begin += kBlock) {
        std::fill_n(block.data(), width, T(0));
        range(task, results, {d_x, block.data()}, begin, std::min(last, begin + kBlock));
        for (int64_t k = 0; k < width; ++k) to[k] += static_cast<double>(block[k]);
      }
    });
    Cpu::for_ranges(width, 4096, [&](int64_t begin, int64_t end) {
      for (int64_t k = begin; k < end; ++k) {
        double sum = 0;
        for (int64_t lane = 0; lane < lanes; ++lane) sum += partial[lane * width + k];
        sums[k] = sum;
      }
    });
  }

  // Points begin to end on this thread.
  static void range(const MixtureTask<T>& task, const MixtureResults<T>& results, const cpu::MixturePull<T>& pull,
                    int64_t begin, int64_t end) {
    static thread_local Buffer<T> scratch;
    cpu::mixture_kernels_for<T>().rows(task, results, pull, begin, end, scratch.reserve(task.stride));
  }

 private:
  static constexpr int64_t kBlock = 64;                         // points whose gradients are summed in T
  static constexpr int64_t kLaneNumbers = int64_t(1) << 21;     // of all lanes together
  static constexpr int64_t kWorth = int64_t(1) << 14;           // terms that are worth a thread
  static int64_t grain(const MixtureTask<T>& task) { return std::max<int64_t>(1, kWorth / task.stride); }
};

template <>
struct MeshEnd<Cpu> {
  static void logarithms(const MeshLogarithm& f, int64_t across, int64_t count) {
    const auto logarithms = cpu::mixture_kernels_for<double>().logarithms;
    for (int64_t r = 0; r < count; ++r) logarithms(f.leading[r], f.last, kMeshLeast, f.out + r * f.columns, across);
  }
  static void rest(const MeshAxes& mesh, const MixtureTask<double>& task, double* out, int64_t n) {
    constexpr int64_t kGather = 64;
    Cpu::for_ranges(n, 16 * kGather, [&](int64_t begin, int64_t end) {
      double x[kGather * kMeshAxes], log_p[kGather];
      int64_t place[kGather], count = 0;
      MixtureTask<double> points = task;
      points.x = x;
      const MixtureResults<double> results = {log_p, nullptr, nullptr, 0};
      for (int64_t i = begin; i < end; ++i) {
        if (out[i] != out[i]) {
          mesh.point(i, task.d, x + count * task.d);
          place[count++] = i;
        }
        if (count < kGather && i + 1 < end) continue;
        MixtureRows<Cpu, double>::range(points, results, {}, 0, count);
        for (int64_t c = 0; c < count; ++c) out[place[c]] = log_p[c];
        count = 0;
      }
    });
  }
};

}  // namespace lvm

// Programs of bijectors on the CPU.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/chain_tasks.hpp"
#include "device/chain_points.hpp"
#include "device/cpu.hpp"

namespace lvm {

template <class T>
struct ChainRun<Cpu, T> {
  static void run(const ChainPoints<T>& points, int64_t n) {
    const auto& kernel = cpu::chain_kernels_for<T>();
    const int64_t bytes = kernel.scratch_bytes(points.program.d);
    Cpu::for_ranges(n, std::max<int64_t>(512, kGrain / points.program.d / 512 * 512), [&](int64_t begin, int64_t end) {
      static thread_local Buffer<double> scratch;
      const auto at = reinterpret_cast<uintptr_t>(scratch.reserve(bytes / 8 + 8));
      kernel.points(points, begin, end, reinterpret_cast<void*>((at + 63) / 64 * 64));
    });
  }

 private:
  static constexpr int64_t kGrain = int64_t(1) << 14;  // numbers
};

}  // namespace lvm

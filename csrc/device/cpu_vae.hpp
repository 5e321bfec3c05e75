// What a variational autoencoder's decoder asks of the CPU.
#pragma once

#include <algorithm>
#include <cstdint>

#include "device/cpu.hpp"
#include "device/vae_rows.hpp"

namespace lvm {

template <class T>
struct VaeRows<Cpu, T> {
  static void terms(const DecoderTerms<T>& t, int64_t rows) {
    const auto& kernel = cpu::network_kernels_for<T>();
    for_rows(rows, t.features, [&](int64_t begin, int64_t end) { kernel.decoder_terms(t, begin, end); });
  }
  static void scale_rows(int64_t rows, int64_t columns, const double* weight, T* d) {
    for_rows(rows, columns, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        for (int64_t j = 0; j < columns; ++j) d[r * columns + j] *= T(weight[r]);
      }
    });
  }
  static void column_sums(int64_t rows, int64_t columns, const T* a, double* out) {
    const auto& kernel = cpu::network_kernels_for<T>();
    in_lanes(rows, columns, out, [&](int64_t begin, int64_t end, double* sums) { kernel.add_rows(a, columns, begin, end, sums); });
  }
  static void variance_slopes(const DecoderTerms<T>& t, int64_t rows, const double* weight, double* out) {
    const auto& kernel = cpu::network_kernels_for<T>();
    in_lanes(rows, t.features, out,
             [&](int64_t begin, int64_t end, double* sums) { kernel.add_variance_slopes(t, weight, begin, end, sums); });
  }
  // out[i] = row rows[i] of x
  static void gather(const T* x, const int64_t* rows, int64_t n, int64_t columns, T* out) {
    for_rows(n, columns, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) std::copy_n(x + rows[i] * columns, columns, out + i * columns);
    });
  }
  static void join(const T* x, int64_t features, int64_t samples, const T* e, int64_t stride, int64_t more, int64_t rows,
                   T* out) {
    for_rows(rows, features + more, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        T* to = std::copy_n(x + r / samples * features, features, out + r * (features + more));
        std::copy_n(e + r * stride, more, to);
      }
    });
  }

 private:
  static constexpr int64_t kGrain = int64_t(1) << 12;  // numbers
  template <class F>
  static void for_rows(int64_t rows, int64_t columns, const F& f) {
    Cpu::for_ranges(rows, std::max<int64_t>(1, kGrain / columns), f);
  }
  // Sums of lanes of rows, in an order that depends on the sizes alone.
  template <class F>
  static void in_lanes(int64_t rows, int64_t columns, double* out, const F& f) {
    const int64_t lanes = std::clamp<int64_t>(rows * columns >> 14, 1, std::min<int64_t>(rows, 16));
    static thread_local Buffer<double> scratch;
    double* sums = scratch.reserve(lanes * columns);
    std::fill_n(sums, lanes * columns, 0.0);
    Cpu::for_lanes(lanes, [&](int64_t k) { f(rows * k / lanes, rows * (k + 1) / lanes, sums + k * columns); });
    std::copy_n(sums, columns, out);
    for (int64_t k = 1; k < lanes; ++k) {
      for (int64_t j = 0; j < columns; ++j) out[j] += sums[k * columns + j];
    }
  }
};

}  // namespace lvm

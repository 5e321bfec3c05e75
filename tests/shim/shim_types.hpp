// CUDA's qualifiers and vector types.
#pragma once

#define __global__
#define __device__
#define __host__
#define __constant__
#define __managed__
#define __forceinline__ inline __attribute__((always_inline))
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __grid_constant__

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

// Aligned as in CUDA: a misaligned access faults here or is reported by the undefined-behaviour sanitizer.
#define LVM_SHIM_VECTORS(type, name)                                                 \
  struct alignas(2 * sizeof(type)) name##2 {                                         \
    type x, y;                                                                       \
  };                                                                                 \
  struct alignas(4 * sizeof(type) > 16 ? 16 : 4 * sizeof(type)) name##4 {            \
    type x, y, z, w;                                                                 \
  };                                                                                 \
  inline name##2 make_##name##2(type x, type y) { return {x, y}; }                   \
  inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
LVM_SHIM_VECTORS(int, int)
LVM_SHIM_VECTORS(unsigned, uint)
LVM_SHIM_VECTORS(float, float)
LVM_SHIM_VECTORS(double, double)
#undef LVM_SHIM_VECTORS

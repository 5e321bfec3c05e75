// What device code calls: indices, barriers, shuffles, atomics.
#pragma once

#include <stdint.h>
#include <string.h>

#include "shim_fibers.hpp"
#include "shim_types.hpp"

inline constexpr const uint3& threadIdx = ::shim::now.thread;
inline constexpr const uint3& blockIdx = ::shim::now.block;
inline constexpr const dim3& blockDim = ::shim::now.block_dim;
inline constexpr const dim3& gridDim = ::shim::now.grid_dim;
inline constexpr int warpSize = 32;

#define LVM_SHARED(name) unsigned char* const name = ::shim::now.shared
#define LVM_SPIN() ::shim::yield()

// The call's place, to name it when threads meet at different barriers.
#define LVM_SHIM_PLACE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(LVM_SHIM_PLACE) { ::shim::barrier({file, line}, false); }
inline int __syncthreads_count(int x, LVM_SHIM_PLACE) { return ::shim::barrier({file, line}, x != 0).count; }
inline int __syncthreads_or(int x, LVM_SHIM_PLACE) { return ::shim::barrier({file, line}, x != 0).count != 0; }
inline int __syncthreads_and(int x, LVM_SHIM_PLACE) { return ::shim::barrier({file, line}, x != 0).all; }

inline void __syncwarp(unsigned mask = 0xFFFFFFFFu, LVM_SHIM_PLACE) {
  ::shim::warp_wait(::shim::WarpCall::kSync, mask, 0, 0, {file, line});
}
inline unsigned __ballot_sync(unsigned mask, int x, LVM_SHIM_PLACE) {
  return static_cast<unsigned>(::shim::warp_wait(::shim::WarpCall::kBallot, mask, x != 0, 0, {file, line}));
}
inline int __any_sync(unsigned mask, int x, LVM_SHIM_PLACE) { return __ballot_sync(mask, x, file, line) != 0; }
inline int __all_sync(unsigned mask, int x, LVM_SHIM_PLACE) { return __ballot_sync(mask, !x, file, line) == 0; }

namespace shim {

template <class T>
T shuffle(unsigned mask, T value, int source, Place place) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move 4 or 8 bytes");
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof(T));
  bits = warp_wait(WarpCall::kShuffle, mask, bits, source, place);
  memcpy(&value, &bits, sizeof(T));
  return value;
}

}  // namespace shim

// Lanes shuffle within groups of `width`; one that asks beyond its group gets its own value.
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, LVM_SHIM_PLACE) {
  return ::shim::shuffle(mask, value, (::shim::lane() & -width) | (source & (width - 1)), {file, line});
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, LVM_SHIM_PLACE) {
  const int lane = ::shim::lane(), source = lane - static_cast<int>(delta);
  return ::shim::shuffle(mask, value, source < (lane & -width) ? lane : source, {file, line});
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, LVM_SHIM_PLACE) {
  const int lane = ::shim::lane(), source = lane + static_cast<int>(delta);
  return ::shim::shuffle(mask, value, source >= (lane & -width) + width ? lane : source, {file, line});
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, LVM_SHIM_PLACE) {
  const int lane = ::shim::lane(), source = lane ^ bits;
  return ::shim::shuffle(mask, value, source >= (lane & -width) + width ? lane : source, {file, line});
}

// Fibers switch only inside these functions, so plain reads and writes make an atomic; what comes before it may run
// long before, hence maybe_yield.
#define LVM_SHIM_ATOMIC(name, type, expression)       \
  inline type name(type* address, type value) {       \
    ::shim::maybe_yield();                            \
    const type old = *address;                        \
    *address = (expression);                          \
    return old;                                       \
  }
#define LVM_SHIM_ATOMICS(type)                                       \
  LVM_SHIM_ATOMIC(atomicAdd, type, old + value)                      \
  LVM_SHIM_ATOMIC(atomicExch, type, value)                           \
  LVM_SHIM_ATOMIC(atomicMax, type, old > value ? old : value)        \
  LVM_SHIM_ATOMIC(atomicMin, type, old < value ? old : value)        \
  LVM_SHIM_ATOMIC(atomicOr, type, old | value)                       \
  LVM_SHIM_ATOMIC(atomicAnd, type, old & value)                      \
  inline type atomicCAS(type* address, type expected, type value) {  \
    ::shim::maybe_yield();                                           \
    const type old = *address;                                       \
    if (old == expected) *address = value;                           \
    return old;                                                      \
  }
LVM_SHIM_ATOMICS(int)
LVM_SHIM_ATOMICS(unsigned)
LVM_SHIM_ATOMICS(unsigned long long)
LVM_SHIM_ATOMIC(atomicAdd, float, old + value)
LVM_SHIM_ATOMIC(atomicAdd, double, old + value)
LVM_SHIM_ATOMIC(atomicExch, float, value)
LVM_SHIM_ATOMIC(atomicSub, int, old - value)
LVM_SHIM_ATOMIC(atomicSub, unsigned, old - value)
#undef LVM_SHIM_ATOMICS
#undef LVM_SHIM_ATOMIC
#undef LVM_SHIM_PLACE

inline void __threadfence() { ::shim::maybe_yield(); }
inline void __threadfence_block() { ::shim::maybe_yield(); }
inline void __threadfence_system() { ::shim::maybe_yield(); }
inline void __nanosleep(unsigned) { ::shim::yield(); }

// Volatile: a value that another block writes is read anew, and not kept from before.
template <class T>
T __ldg(const T* address) {
  return *address;
}
template <class T>
T __ldcg(const T* address) {
  const T value = *address;
  asm volatile("" ::: "memory");
  return value;
}
template <class T>
T __ldcv(const T* address) {
  return __ldcg(address);
}
template <class T>
void __stcg(T* address, T value) {
  *address = value;
  asm volatile("" ::: "memory");
}

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
#if !(defined(__GLIBC__) && (__GLIBC__ > 2 || (__GLIBC__ == 2 && __GLIBC_MINOR__ >= 42)))
inline double rsqrt(double x) { return 1 / ::sqrt(x); }
inline float rsqrtf(float x) { return 1 / ::sqrtf(x); }
#endif
inline float rsqrt(float x) { return 1 / ::sqrtf(x); }

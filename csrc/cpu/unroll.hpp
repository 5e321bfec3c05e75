// Loops that are unrolled before anything else happens to them, so that arrays of packs stay in registers.
#pragma once

#include <utility>

#include "core/config.hpp"

#define LVM_INLINE __attribute__((always_inline))

namespace lvm::cpu::LVM_ARCH {

template <int I>
using Constant = std::integral_constant<int, I>;

template <class F, int... I>
LVM_HD void unroll_(const F& f, std::integer_sequence<int, I...>) {
  (f(Constant<I>()), ...);
}

// f(Constant<0>()), ..., f(Constant<N - 1>())
template <int N, class F>
LVM_HD void unroll(const F& f) {
  unroll_(f, std::make_integer_sequence<int, N>());
}

}  // namespace lvm::cpu::LVM_ARCH

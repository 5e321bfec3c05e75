// What a thread does while it waits for another for a moment.
#pragma once

namespace lvm {

inline __attribute__((always_inline)) void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Stores past the cache of this thread come before what it stores next.
inline void fence_stores() {
#if defined(__x86_64__)
  __builtin_ia32_sfence();
#endif
}

}  // namespace lvm

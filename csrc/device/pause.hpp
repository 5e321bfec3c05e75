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

}  // namespace lvm

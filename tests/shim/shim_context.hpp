// Stacks and the switch between them: a few instructions on x86-64, ucontext elsewhere; the address sanitizer is told.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shim_memory.hpp"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define LVM_SHIM_ASAN 1
#endif

#if !defined(__x86_64__) && !defined(LVM_SHIM_UCONTEXT)
#define LVM_SHIM_UCONTEXT 1
#endif
#if defined(LVM_SHIM_UCONTEXT)
#include <ucontext.h>
#else
extern "C" void lvm_shim_switch(void** save, void* load) asm("lvm_shim_switch");
#endif

namespace shim {

struct Context {
#if defined(LVM_SHIM_UCONTEXT)
  ucontext_t context;
#else
  void* pointer = nullptr;  // of the stack, with the registers that a function keeps on top
#endif
  char* stack = nullptr;  // lowest address; none for the thread's own stack
  size_t bytes = 0;
  void* fake_stack = nullptr;  // the sanitizer's
};

// A stack with a guard page below it, on which `entry` will run; it must never return.
inline void make_context(Context& context, size_t bytes, void (*entry)()) {
  static size_t colour = 0;
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  void* got = mmap(nullptr, bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (got == MAP_FAILED || mprotect(got, page, PROT_NONE)) fail("no memory for the stacks of a kernel's threads");
  context.stack = static_cast<char*>(got) + page;
  context.bytes = bytes;
  // Stacks begin at different places of their pages, or they would compete for the same lines of the cache.
  const size_t skip = (colour += 320) % page / 64 * 64;
#if defined(LVM_SHIM_UCONTEXT)
  getcontext(&context.context);
  context.context.uc_stack.ss_sp = context.stack;
  context.context.uc_stack.ss_size = bytes - skip;
  context.context.uc_link = nullptr;
  makecontext(&context.context, entry, 0);
#else
  void** top = reinterpret_cast<void**>(context.stack + bytes - skip);
  *--top = nullptr;  // where the entry's caller would be: keeps the alignment that a call leaves
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  context.pointer = top;
#endif
}

inline void finish_switch([[maybe_unused]] Context& here, [[maybe_unused]] Context& from) {
#if defined(LVM_SHIM_ASAN)
  const void* bottom;
  size_t bytes;
  __sanitizer_finish_switch_fiber(here.fake_stack, &bottom, &bytes);
  if (!from.stack) {  // the thread's own stack, which it alone knows
    from.stack = static_cast<char*>(const_cast<void*>(bottom));
    from.bytes = bytes;
  }
#endif
}

inline void switch_context(Context& from, Context& to) {
#if defined(LVM_SHIM_ASAN)
  __sanitizer_start_switch_fiber(&from.fake_stack, to.stack, to.bytes);
#endif
#if defined(LVM_SHIM_UCONTEXT)
  swapcontext(&from.context, &to.context);
#else
  lvm_shim_switch(&from.pointer, to.pointer);
#endif
  finish_switch(from, to);
}

}  // namespace shim

#include "shim_fibers.hpp"

#include <string.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "shim_machine.hpp"
#include "shim_memory.hpp"

#if !defined(LVM_SHIM_UCONTEXT)
asm(R"(
.text
.globl lvm_shim_switch
lvm_shim_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");
#if defined(__ELF__)
asm(".hidden lvm_shim_switch\n.type lvm_shim_switch, @function\n");
#endif
#endif

namespace shim {

Now now;

Machine the_machine;

// xorshift64*
uint64_t next_random() {
  uint64_t& x = machine().random;
  x ^= x >> 12;
  x ^= x << 25;
  x ^= x >> 27;
  return x * 0x2545F4914F6CDD1Dull >> 32;
}

const char* kernel_name() { return machine().launch ? machine().launch->name.c_str() : "?"; }

void stop() {  // back to the scheduler until the fiber is chosen again
  Fiber& fiber = *machine().running;
  switch_context(fiber.context, machine().scheduler);
}

Fiber& running(const char* what) {
  if (!machine().running) fail("%s called outside a kernel", what);
  return *machine().running;
}

void make_runnable(Fiber* fiber) {
  fiber->state = Fiber::kRuns;
  machine().runnable.push_back(fiber);
  machine().spins = 0;
}

namespace {

#if defined(LVM_SHIM_ASAN)
constexpr size_t kStackBytes = 512 * 1024;
#else
constexpr size_t kStackBytes = 128 * 1024;
#endif
constexpr size_t kSharedBytes = 256 * 1024;
constexpr unsigned kMostBlocks = 6;
constexpr long kMostSpins = 10'000'000;  // without anything else happening in between

size_t random_below(size_t n) { return static_cast<size_t>(next_random() * n >> 32); }

void entry() {
  finish_switch(machine().running->context, machine().scheduler);
  for (;;) {
    machine().launch->body();
    finish(*machine().running);
    stop();
  }
}

unsigned char* take_shared() {
  Machine& m = machine();
  if (m.shared_regions.empty()) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    void* got = mmap(nullptr, kSharedBytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (got == MAP_FAILED) fail("no memory for a block's shared memory");
    m.shared_regions.push_back(static_cast<unsigned char*>(got) + kSharedBytes);
    mprotect(m.shared_regions.back(), page, PROT_NONE);
  }
  unsigned char* end = m.shared_regions.back();
  m.shared_regions.pop_back();
  return end;
}

void start_block(size_t number) {
  Machine& m = machine();
  const Launch& launch = *m.launch;
  if (m.spare.empty()) m.spare.push_back(std::make_unique<Block>());
  m.blocks.push_back(std::move(m.spare.back()));
  m.spare.pop_back();
  Block& block = *m.blocks.back();
  const unsigned threads = launch.block.x * launch.block.y * launch.block.z;
  block.index = {unsigned(number % launch.grid.x), unsigned(number / launch.grid.x % launch.grid.y),
                 unsigned(number / launch.grid.x / launch.grid.y)};
  block.live = threads;
  block.arrived = 0;
#if defined(LVM_SHIM_MALLOC)
  block.shared = new unsigned char[launch.shared];
#else
  block.shared = take_shared() - (launch.shared + 15) / 16 * 16;
#endif
  memset(block.shared, 0xFF, launch.shared);
  block.fibers.resize(threads);
  for (unsigned t = 0; t < threads; ++t) {
    if (m.idle.empty()) {
      m.idle.push_back(new Fiber);
      make_context(m.idle.back()->context, kStackBytes, entry);
    }
    Fiber* fiber = block.fibers[t] = m.idle.back();
    m.idle.pop_back();
    fiber->block = &block;
    fiber->thread = t;
    fiber->index = {t % launch.block.x, t / launch.block.x % launch.block.y, t / launch.block.x / launch.block.y};
    make_runnable(fiber);
  }
  for (unsigned w = 0; w * kWarp < threads; ++w) {
    const unsigned lanes = std::min(kWarp, threads - w * kWarp);
    block.warps[w] = {lanes == kWarp ? ~0u : (1u << lanes) - 1, 0};
  }
}

void end_block(Block* block) {
  Machine& m = machine();
  m.idle.insert(m.idle.end(), block->fibers.begin(), block->fibers.end());
#if defined(LVM_SHIM_MALLOC)
  delete[] block->shared;
#else
  m.shared_regions.push_back(block->shared + (m.launch->shared + 15) / 16 * 16);
#endif
  const auto it = std::find_if(m.blocks.begin(), m.blocks.end(), [&](const auto& b) { return b.get() == block; });
  m.spare.push_back(std::move(*it));
  m.blocks.erase(it);
}

[[noreturn]] void deadlock() {
  const Machine& m = machine();
  std::string waits;
  for (const auto& block : m.blocks) {
    for (const Fiber* fiber : block->fibers) {
      if (fiber->state == Fiber::kDone || fiber->state == Fiber::kRuns) continue;
      waits = " thread " + std::to_string(fiber->thread) + " of block " + std::to_string(block->index.x) +
              " waits at " + fiber->place.file + ":" + std::to_string(fiber->place.line) +
              (fiber->state == Fiber::kAtBarrier ? " for its block" : " for its warp");
    }
  }
  if (waits.empty()) waits = " threads spin for what never comes";
  fail("kernel %s: deadlock,%s", kernel_name(), waits.c_str());
}

void resume(Fiber* fiber) {
  Machine& m = machine();
  m.running = fiber;
  now.thread = fiber->index;
  now.block = fiber->block->index;
  now.shared = fiber->block->shared;
  switch_context(m.scheduler, fiber->context);
  m.running = nullptr;
  if (fiber->state == Fiber::kDone && fiber->block->live == 0) end_block(fiber->block);
}

// A fiber that can run, at random, or null. Its stack is on its way to the cache when the one before it has run.
Fiber* choose() {
  Machine& m = machine();
  if (m.runnable.empty()) return nullptr;
  std::swap(m.runnable.back(), m.runnable[random_below(m.runnable.size())]);
  Fiber* fiber = m.runnable.back();
  m.runnable.pop_back();
#if !defined(LVM_SHIM_UCONTEXT)
  __builtin_prefetch(fiber->context.pointer);
  __builtin_prefetch(static_cast<char*>(fiber->context.pointer) + 64);
#endif
  return fiber;
}

}  // namespace

void seed(uint64_t value) {
  const std::lock_guard<std::recursive_mutex> lock(mutex());
  machine().random = (value + 1) * 0x9E3779B97F4A7C15ull | 1;
  for (int i = 0; i < 8; ++i) next_random();
}

void run_launch(const Launch& launch) {
  const std::lock_guard<std::recursive_mutex> lock(mutex());
  Machine& m = machine();
  if (m.launch) fail("kernel %s: launched by a kernel", launch.name.c_str());
  const Open open;
  m.launch = &launch;
  now.block_dim = launch.block;
  now.grid_dim = launch.grid;
  m.scheduler = Context{};
  std::vector<size_t> order(size_t(launch.grid.x) * launch.grid.y * launch.grid.z);
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  size_t most = 1 + random_below(kMostBlocks);
  Fiber* next = nullptr;
  while (!order.empty() || !m.blocks.empty()) {
    for (; m.blocks.size() < most && !order.empty(); order.pop_back()) {
      std::swap(order.back(), order[random_below(order.size())]);
      start_block(order.back());
    }
    Fiber* fiber = std::exchange(next, nullptr);
    if (!fiber && !(fiber = choose())) deadlock();
    next = choose();
    const size_t before = m.blocks.size();
    resume(fiber);
    if (m.blocks.size() != before) most = 1 + random_below(kMostBlocks);
    if (m.spins > kMostSpins) deadlock();
  }
  m.launch = nullptr;
}

}  // namespace shim

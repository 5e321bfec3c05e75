// The state behind the fibers: blocks in flight, who can run, who waits for what.
#pragma once

#include <stdint.h>

#include <memory>
#include <vector>

#include "shim_context.hpp"
#include "shim_fibers.hpp"

namespace shim {

constexpr unsigned kWarp = 32;

struct Block;

struct Fiber {
  Context context;
  Block* block = nullptr;
  unsigned thread = 0;
  uint3 index{};
  enum { kRuns, kAtBarrier, kInWarp, kDone } state = kDone;
  Place place{};
  WarpCall call{};
  unsigned mask = 0;
  uint64_t bits = 0, result = 0;
  int source = 0;
  bool vote = false;
  Votes votes{};
};

struct Warp {
  unsigned alive, waiting;  // masks of lanes
};

struct Block {
  uint3 index{};
  unsigned live = 0, arrived = 0;
  std::vector<Fiber*> fibers;
  Warp warps[kWarp]{};
  unsigned char* shared = nullptr;
};

struct Machine {
  uint64_t random = 0x9E3779B97F4A7C15ull;
  const Launch* launch = nullptr;
  Fiber* running = nullptr;
  Context scheduler;
  std::vector<Fiber*> runnable, idle;                  // idle: their stacks wait for the next block
  std::vector<std::unique_ptr<Block>> blocks;          // in flight
  std::vector<std::unique_ptr<Block>> spare;
  std::vector<unsigned char*> shared_regions;          // their ends, each at a guard page
  long spins = 0;
};

extern Machine the_machine;
inline Machine& machine() { return the_machine; }
uint64_t next_random();
const char* kernel_name();
Fiber& running(const char* what);  // the fiber that calls; fails outside a kernel
void stop();                       // back to the scheduler, until the fiber is chosen again
void make_runnable(Fiber* fiber);
void finish(Fiber& fiber);         // its kernel has returned: others may wait for just that

}  // namespace shim

// The threads of a kernel as fibers, and what they wait for: their block's barrier or lanes of their warp.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <functional>
#include <string>

#include "shim_types.hpp"

namespace shim {

struct Launch {
  std::string name;
  dim3 grid, block;
  size_t shared;               // bytes
  std::function<void()> body;  // calls the kernel, once per thread
};

void run_launch(const Launch& launch);
void seed(uint64_t value);  // of the order in which threads and blocks run

// What the running thread sees.
struct Now {
  uint3 thread, block;
  dim3 block_dim, grid_dim;
  unsigned char* shared;
};
extern Now now;

struct Place {
  const char* file;
  int line;
};

void yield();                     // let others run
void maybe_yield();               // the same, now and then: between the instructions of this thread
struct Votes {
  int count, all;
};
Votes barrier(Place place, bool vote);

enum class WarpCall { kSync, kShuffle, kBallot };
// Waits for the lanes in mask. A shuffle returns the bits of lane `source`, a ballot the mask of lanes that gave 1.
uint64_t warp_wait(WarpCall call, unsigned mask, uint64_t bits, int source, Place place);
int lane();

}  // namespace shim

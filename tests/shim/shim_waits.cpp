// Barriers, and the calls in which lanes of a warp meet.
#include <string.h>

#include "shim_machine.hpp"
#include "shim_memory.hpp"

namespace shim {
namespace {

void release_barrier(Block& block) {
  if (!block.arrived || block.arrived < block.live) return;
  Votes votes{0, 1};
  Place place{nullptr, 0};
  for (Fiber* fiber : block.fibers) {
    if (fiber->state != Fiber::kAtBarrier) continue;
    if (!place.file) place = fiber->place;
    if (place.line != fiber->place.line || (place.file != fiber->place.file && strcmp(place.file, fiber->place.file))) {
      fail("kernel %s: threads of a block meet at different barriers, %s:%d and %s:%d", kernel_name(), place.file,
           place.line, fiber->place.file, fiber->place.line);
    }
    votes.count += fiber->vote;
    votes.all &= fiber->vote;
  }
  block.arrived = 0;
  for (Fiber* fiber : block.fibers) {
    if (fiber->state != Fiber::kAtBarrier) continue;
    fiber->votes = votes;
    make_runnable(fiber);
  }
}

Fiber& lane_of(Block& block, unsigned warp, unsigned lane) { return *block.fibers[warp * kWarp + lane]; }

// Lets a group of lanes go if all of it waits: those of the mask that have not returned.
void release_warp(Block& block, unsigned w, const Fiber& first) {
  Warp& warp = block.warps[w];
  const unsigned group = first.mask & warp.alive;
  if ((group & warp.waiting) != group) return;
  unsigned ballot = 0;
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    if (!(group >> lane & 1)) continue;
    const Fiber& fiber = lane_of(block, w, lane);
    const bool same_place = first.call == WarpCall::kSync || fiber.place.line == first.place.line;
    if (fiber.mask != first.mask || fiber.call != first.call || !same_place) {
      fail("kernel %s: lanes of a warp wait for each other with different masks or calls, at %s:%d (mask %08x) and "
           "%s:%d (mask %08x)", kernel_name(), first.place.file, first.place.line, first.mask, fiber.place.file,
           fiber.place.line, fiber.mask);
    }
    ballot |= static_cast<unsigned>(fiber.bits & 1) << lane;
  }
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    if (!(group >> lane & 1)) continue;
    Fiber& fiber = lane_of(block, w, lane);
    fiber.result = ballot;
    if (fiber.call != WarpCall::kShuffle) continue;
    const bool given = group >> fiber.source & 1;  // elsewhere undefined: a NaN or -1
    fiber.result = given ? lane_of(block, w, static_cast<unsigned>(fiber.source)).bits : ~uint64_t(0);
  }
  warp.waiting &= ~group;
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    if (group >> lane & 1) make_runnable(&lane_of(block, w, lane));
  }
}

}  // namespace

void finish(Fiber& fiber) {
  Block& block = *fiber.block;
  const unsigned w = fiber.thread / kWarp;
  fiber.state = Fiber::kDone;
  --block.live;
  machine().spins = 0;
  release_barrier(block);
  Warp& warp = block.warps[w];
  warp.alive &= ~(1u << fiber.thread % kWarp);
  for (unsigned lane = 0; warp.waiting && lane < kWarp; ++lane) {
    if (warp.waiting >> lane & 1) release_warp(block, w, lane_of(block, w, lane));
  }
}

void yield() {
  Machine& m = machine();
  m.runnable.push_back(&running("LVM_SPIN"));
  ++m.spins;
  stop();
}

void maybe_yield() {
  if (next_random() % 8) return;
  Machine& m = machine();
  m.runnable.push_back(&running("an atomic"));
  ++m.spins;
  stop();
}

Votes barrier(Place place, bool vote) {
  Fiber& fiber = running("__syncthreads");
  fiber.state = Fiber::kAtBarrier;
  fiber.place = place;
  fiber.vote = vote;
  ++fiber.block->arrived;
  release_barrier(*fiber.block);
  stop();
  return fiber.votes;
}

int lane() { return static_cast<int>(running("a shuffle").thread % kWarp); }

uint64_t warp_wait(WarpCall call, unsigned mask, uint64_t bits, int source, Place place) {
  Fiber& fiber = running("a warp's call");
  const unsigned w = fiber.thread / kWarp, lane = fiber.thread % kWarp;
  if (!(mask >> lane & 1)) {
    fail("kernel %s: lane %u is not in its own mask %08x at %s:%d", kernel_name(), lane, mask, place.file, place.line);
  }
  fiber.state = Fiber::kInWarp;
  fiber.place = place;
  fiber.call = call;
  fiber.mask = mask;
  fiber.bits = bits;
  fiber.source = source;
  fiber.block->warps[w].waiting |= 1u << lane;
  release_warp(*fiber.block, w, fiber);
  stop();
  return fiber.result;
}

}  // namespace shim

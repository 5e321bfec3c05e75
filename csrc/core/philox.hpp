// Philox4x32-10: 128 random bits as a function of a counter and a key.
//
// J. K. Salmon, M. A. Moraes, R. O. Dror and D. E. Shaw, Parallel random numbers: as easy as 1, 2, 3 (SC'11).
// The same integers on every device; there is no state to keep or to share.
#pragma once

#include "core/config.hpp"

namespace lvm {

struct PhiloxWords {
  uint32_t w[4];
};

constexpr int kPhiloxRounds = 10;
constexpr uint32_t kPhiloxMultiplier0 = 0xD2511F53u, kPhiloxMultiplier1 = 0xCD9E8D57u;
constexpr uint32_t kPhiloxStep0 = 0x9E3779B9u, kPhiloxStep1 = 0xBB67AE85u;  // added to the key after every round

LVM_HD PhiloxWords philox4x32(PhiloxWords c, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const uint64_t p0 = uint64_t(kPhiloxMultiplier0) * c.w[0], p1 = uint64_t(kPhiloxMultiplier1) * c.w[2];
    c = {{uint32_t(p1 >> 32) ^ c.w[1] ^ key0, uint32_t(p1), uint32_t(p0 >> 32) ^ c.w[3] ^ key1, uint32_t(p0)}};
    key0 += kPhiloxStep0;
    key1 += kPhiloxStep1;
  }
  return c;
}

// The block of an element (or of a few that share one), of an attempt at it and of a stream: methods that reject draw
// from attempt 0, 1, ... and never from their neighbours' blocks.
LVM_HD PhiloxWords philox_at(uint64_t seed, uint64_t element, uint32_t attempt, uint32_t stream) {
  const PhiloxWords counter = {{uint32_t(element), uint32_t(element >> 32), attempt, stream}};
  return philox4x32(counter, uint32_t(seed), uint32_t(seed >> 32));
}

}  // namespace lvm

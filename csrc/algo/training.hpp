// What models that are trained by steps in one compiled call share: the optimizer of a call, its update, keys of steps' noise.
#pragma once

#include <algorithm>
#include <cstdint>

#include "algo/network.hpp"
#include "core/step_numbers.hpp"

namespace lvm {

struct StepOptimizer {
  enum Kind : int64_t { adam, rmsprop, sgd } kind;
  double numbers[3];  // adam: beta_1, beta_2, epsilon; rmsprop: rho, momentum, epsilon; sgd: momentum
  double clip;        // the most that the gradient's norm may be, or 0
  bool operator==(const StepOptimizer& o) const {
    return kind == o.kind && clip == o.clip && std::equal(numbers, numbers + 3, o.numbers);
  }
  // Adam has both moments; RMSprop the second; both others the first where they have momentum.
  bool has_first() const { return kind == adam || numbers[kind == rmsprop ? 1 : 0] > 0; }
  bool has_second() const { return kind != sgd; }
};

// The longest gradient that a step takes as it is: of a longer one, optimizers could not keep the squares.
template <class T>
double longest_gradient(const StepOptimizer& o) {
  constexpr double kLongest = sizeof(T) == 4 ? 1e18 : 1e150;
  return o.clip > 0 ? std::min(o.clip, kLongest) : kLongest;
}

// Entries begin, ..., end - 1, with the gradient times *scale at the rate *rate; nothing where *scale is negative. m and v may
// be null where the optimizer has none.
template <class Device, class T>
void update_entries(T* theta, T* m, T* v, const T* gradient, const StepOptimizer& o, int64_t begin, int64_t end,
                    const double* scale, const double* rate) {
  using Steps = NetworkSteps<Device, T>;
  const int64_t p = end - begin;
  theta += begin;
  gradient += begin;
  m = o.has_first() ? m + begin : nullptr;
  v = o.has_second() ? v + begin : nullptr;
  if (o.kind == StepOptimizer::adam) {
    Steps::run(p, AdamStep<T>{theta, m, v, gradient, scale, 0, 1 - o.numbers[0], 1 - o.numbers[1], o.numbers[2], rate});
  } else if (o.kind == StepOptimizer::rmsprop) {
    Steps::run(p, RmspropStep<T>{theta, m, v, gradient, scale, 0, 1 - o.numbers[0], o.numbers[1], o.numbers[2], rate});
  } else {
    Steps::run(p, SgdStep<T>{theta, m, gradient, scale, 0, o.numbers[0], rate});
  }
}

// A key for the noise of every step. Steele, Lea & Flood (2014): the mixing of SplitMix64.
inline uint64_t seed_of_step(uint64_t seed, int64_t step) {
  uint64_t z = seed + 0x9e3779b97f4a7c15u * (static_cast<uint64_t>(step) + 1);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// A part of theta, m and v (some may be null), kept during a step, which comes back if the step is lost.
template <class Device, class T>
class KeptPart {
 public:
  void keep(T* const (&arrays)[3], int64_t begin, int64_t size) {
    T* kept = kept_.reserve(3 * size);
    for (int k = 0; k < 3; ++k) {
      if (arrays[k]) Device::copy(arrays[k] + begin, kept + k * size, size);
    }
  }
  void restore(T* const (&arrays)[3], int64_t begin, int64_t size, const double* scale) {
    for (int k = 0; k < 3; ++k) {
      if (arrays[k]) Device::map(size, RestoreIfLost<T>{scale, kept_.data() + k * size, arrays[k] + begin});
    }
  }

 private:
  typename Device::template Scratch<T> kept_;
};

}  // namespace lvm

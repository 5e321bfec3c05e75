// How a training step of a network of log ratios begins and ends: numbers that change from step to step stand in memory, which
// recorded work reads.
#pragma once

#include "core/ratio_loss.hpp"
#include "core/step_numbers.hpp"

namespace lvm {

enum RatioNumber : int64_t { kRatioRate, kRatioPlace, kRatioFactor, kRatioNumbers };
struct SetRatioNumbers {
  double* numbers;
  double rate, place, factor;
  LVM_HD void operator()(int64_t) const {
    numbers[kRatioRate] = rate;
    numbers[kRatioPlace] = place;
    numbers[kRatioFactor] = factor;
  }
};

// Terms of rows and their slopes, times the factor of the step.
template <class T>
struct RatioTerms {
  const T *s, *w;
  const double* numbers;
  T* d;
  double* terms;
  RatioLossShape loss;
  LVM_HD void operator()(int64_t i) const {
    const double w_i = static_cast<double>(w[i]), size = numbers[kRatioFactor] * (w_i < 0 ? -w_i : w_i);
    T slope = 0;
    terms[i] = size > 0 ? size * static_cast<double>(ratio_term(loss, w_i > 0, s[i], slope)) : 0.0;
    d[i] = T(size) * slope;
  }
};
struct RatioTerm {
  const double* terms;
  LVM_HD double operator()(int64_t, int64_t i) const { return terms[i]; }
};
template <class T>
struct ScaleNumber {
  T* x;
  T factor;
  LVM_HD void operator()(int64_t i) const { x[i] *= factor; }
};

// The loss of a step and the norm of its gradient to their place, and the scale of the gradient, which makes it at most `most`
// long; -1, from which on nothing changes, where a number is not finite.
struct FinishRatioStep {
  const double *numbers, *loss, *square;
  double *out, *scale;
  double most;
  LVM_HD void operator()(int64_t i) const {
    double* to = out + 2 * static_cast<int64_t>(numbers[kRatioPlace]);
    to[0] = *loss;
    to[1] = sqrt_(*square);
    FinishGradient{loss, square, scale, most}(i);
  }
};

}  // namespace lvm

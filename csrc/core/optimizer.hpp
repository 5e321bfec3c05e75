// One step of an optimizer, parameter by parameter, as Keras defines them. Numbers are double whatever T is, so that the
// structures have no gaps.
//
// *scale multiplies the gradient; where it is negative or NaN, nothing changes. The rate is *rate_at, or `rate` where that
// is null: what is read through pointers may change between replays of a recorded step.
#pragma once

#include "core/config.hpp"

namespace lvm {

// What a gradient is multiplied by, so that its norm is at most `most`: 1 where norm^2 = *square is not above most^2.
struct ClipScale {
  const double* square;
  double* scale;
  double most;
  LVM_HD void operator()(int64_t) const {
    const double norm = sqrt_(*square);
    *scale = norm > most ? most / norm : 1.0;
  }
};

// f(scale of the gradient, rate) of a step, unless it is to change nothing.
template <class T, class Step, class F>
LVM_HD void with_numbers(const Step& step, const F& f) {
  const double scale = step.scale ? *step.scale : 1.0;
  if (scale >= 0) f(T(scale), T(step.rate_at ? *step.rate_at : step.rate));
}

// m += (1 - beta_1) (g - m), v += (1 - beta_2) (g^2 - v), theta -= rate m / (sqrt(v) + epsilon). The rate has the
// correction sqrt(1 - beta_2^t) / (1 - beta_1^t). Kingma & Ba (2015), section 2.
template <class T>
struct AdamStep {
  T *theta, *m, *v;
  const T* gradient;
  const double* scale;  // of the gradient, or null: 1
  double rate, one_minus_beta_1, one_minus_beta_2, epsilon;
  const double* rate_at = nullptr;
  LVM_HD void step(int64_t i, T s, T r) const {
    const T g = s * gradient[i];
    const T first = m[i] + T(one_minus_beta_1) * (g - m[i]), second = v[i] + T(one_minus_beta_2) * (g * g - v[i]);
    m[i] = first;
    v[i] = second;
    theta[i] -= r * first / (sqrt_(second) + T(epsilon));
  }
  LVM_HD void operator()(int64_t i) const { with_numbers<T>(*this, [&](T s, T r) { step(i, s, r); }); }
};

// v += (1 - rho) (g^2 - v), u = rate g / sqrt(v + epsilon), m = momentum m + u, theta -= m. m is null without momentum.
template <class T>
struct RmspropStep {
  T *theta, *m, *v;
  const T* gradient;
  const double* scale;
  double rate, one_minus_rho, momentum, epsilon;
  const double* rate_at = nullptr;
  LVM_HD void step(int64_t i, T s, T r) const {
    const T g = s * gradient[i];
    const T second = v[i] + T(one_minus_rho) * (g * g - v[i]);
    v[i] = second;
    T u = r * g / sqrt_(second + T(epsilon));
    if (m) m[i] = u = T(momentum) * m[i] + u;
    theta[i] -= u;
  }
  LVM_HD void operator()(int64_t i) const { with_numbers<T>(*this, [&](T s, T r) { step(i, s, r); }); }
};

// m = momentum m - rate g, theta += m. m is null without momentum.
template <class T>
struct SgdStep {
  T *theta, *m;
  const T* gradient;
  const double* scale;
  double rate, momentum;
  const double* rate_at = nullptr;
  LVM_HD void step(int64_t i, T s, T r) const {
    T u = -r * (s * gradient[i]);
    if (m) m[i] = u = T(momentum) * m[i] + u;
    theta[i] += u;
  }
  LVM_HD void operator()(int64_t i) const { with_numbers<T>(*this, [&](T s, T r) { step(i, s, r); }); }
};

}  // namespace lvm

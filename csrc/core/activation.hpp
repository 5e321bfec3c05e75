// Activations of network layers and their slopes, for a number or a pack.
#pragma once

#include "core/config.hpp"
#include "core/special.hpp"

namespace lvm {

enum class Activation : int64_t { linear, relu, tanh, sigmoid, softplus, elu, gelu };

// sinh(x) / x and cosh(x) up to a common factor, for |x| <= 1/2: tanh x = x n / d, the seventh convergent of Lambert's
// continued fraction x / (1 + x^2 / (3 + x^2 / (5 + ...))), within 1e-16 of itself.
template <class P>
LVM_HD void tanh_parts(P x, P& n, P& d) {
  const P s = x * x;
  n = ((s + P(378.0)) * s + P(17325.0)) * s + P(135135.0);
  d = ((P(28.0) * s + P(3150.0)) * s + P(62370.0)) * s + P(135135.0);
}

template <class P>
LVM_HD P tanh_of(P x) {
  const P size = abs_(x), e = exp_(P(-2.0) * size), large = (P(1.0) - e) / (P(1.0) + e);
  P n, d;
  tanh_parts(x, n, d);
  return if_less_(size, P(0.5), x * n / d, if_less_(x, P(0.0), P(0.0) - large, large));
}

// exp(x) - 1; for x < 0 here.
template <class P>
LVM_HD P expm1_of(P x) {
  const P half = P(0.5) * x;
  P n, d;
  tanh_parts(half, n, d);
  n = half * n;  // exp(x) - 1 = 2 tanh(x / 2) / (1 - tanh(x / 2))
  return if_less_(P(-1.0), x, (n + n) / (d - n), exp_(x) - P(1.0));
}

// Phi(x) and phi(x).
template <class P>
LVM_HD P normal_distribution(P x, P& density) {
  const P e = exp_(P(-0.5) * x * x);
  density = P(0.39894228040143267794) * e;
  const P tail = P(0.5) * e * erfcx_positive(P(0.70710678118654752440) * abs_(x));
  return if_less_(x, P(0.0), tail, P(1.0) - tail);
}

// y = sigma(x): relu max(x, 0); sigmoid 1 / (1 + exp(-x)); softplus log(1 + exp(x)); elu x above 0 and exp(x) - 1 below;
// gelu x Phi(x). NaN stays.
template <Activation kind, class P>
LVM_HD P activated(P x) {
  if constexpr (kind == Activation::relu) {
    return max_(x, P(0.0));
  } else if constexpr (kind == Activation::tanh) {
    return tanh_of(x);
  } else if constexpr (kind == Activation::sigmoid) {
    const P e = exp_(P(0.0) - abs_(x));
    return if_less_(x, P(0.0), e, P(1.0)) / (P(1.0) + e);
  } else if constexpr (kind == Activation::softplus) {
    return max_(x, P(0.0)) + log1p_(exp_(P(0.0) - abs_(x)));
  } else if constexpr (kind == Activation::elu) {
    return if_less_(P(0.0), x, x, expm1_of(if_less_(P(0.0), x, P(0.0), x)));
  } else if constexpr (kind == Activation::gelu) {
    P density;
    return x * normal_distribution(x, density);
  } else {
    return x;
  }
}

// d times the slope of sigma, from y = sigma(x); gelu: from x.
template <Activation kind, class P>
LVM_HD P activation_pull(P d, P y) {
  if constexpr (kind == Activation::relu) {
    return zero_unless_positive_(y, d);
  } else if constexpr (kind == Activation::tanh) {
    return d * (P(1.0) - y * y);
  } else if constexpr (kind == Activation::sigmoid) {
    return d * (y * (P(1.0) - y));
  } else if constexpr (kind == Activation::softplus) {
    return d * (P(1.0) - exp_(P(0.0) - y));
  } else if constexpr (kind == Activation::elu) {
    return d * if_less_(y, P(0.0), P(1.0) + y, P(1.0));
  } else if constexpr (kind == Activation::gelu) {
    P density;
    const P below = normal_distribution(y, density);
    return d * (below + y * density);
  } else {
    return d;
  }
}

// f(kind) with a kind that is known to the compiler.
template <Activation kind>
struct KnownActivation {
  static constexpr Activation value = kind;
};
template <class F>
LVM_HD void with_activation(Activation kind, const F& f) {
  switch (kind) {
    case Activation::relu: f(KnownActivation<Activation::relu>()); break;
    case Activation::tanh: f(KnownActivation<Activation::tanh>()); break;
    case Activation::sigmoid: f(KnownActivation<Activation::sigmoid>()); break;
    case Activation::softplus: f(KnownActivation<Activation::softplus>()); break;
    case Activation::elu: f(KnownActivation<Activation::elu>()); break;
    case Activation::gelu: f(KnownActivation<Activation::gelu>()); break;
    default: f(KnownActivation<Activation::linear>());
  }
}

}  // namespace lvm

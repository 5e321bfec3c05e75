// Covariance functions of two points, as functions of one number s of the pair:
//
//   s = |phi(x) - phi(z)|^2   for RBF, the Matern family, rational quadratic (phi(x) = x / lengthscale) and periodic
//                             (phi on a circle, so that its s is 4 sin^2(pi d / period) / lengthscale^2);
//   s = phi(x) . phi(z)       for linear, polynomial (phi(x) = sqrt(variance) x) and cosine (phi on the unit circle).
//
// Each functor gives value(s), its slope d value / d s, and its derivative by one shape parameter where it has one.
// V is double, float or a SIMD pack, for which exp_ and the like are found by argument-dependent lookup. To add a
// covariance function: its functor here if no PairFunction fits, its name in Covariance, its features and
// parameters in csrc/algo/kernel.hpp, its class in lvmfast/kernels.
#pragma once

#include "core/config.hpp"

namespace lvm {

enum class Covariance : int {
  rbf,
  matern12,
  matern32,
  matern52,
  rational_quadratic,
  periodic,
  linear,
  polynomial,
  cosine,
  constant,
  white
};

enum class PairFunction : int { rbf, matern12, matern32, matern52, rational_quadratic, dot, power, constant, white };

// What a functor may know besides s: alpha of the rational quadratic, offset and degree of the polynomial.
template <class V>
struct Shape {
  V number;
  int degree;
};

// exp(-s / 2). Rasmussen & Williams (2006), eq. 4.9.
struct Rbf {
  static constexpr bool kDistance = true, kShape = false;
  template <class V>
  LVM_HD static V value(V s, const Shape<V>&) {
    return exp_(V(-0.5) * s);
  }
  template <class V>
  LVM_HD static void pull(V s, const Shape<V>&, V& value, V& slope, V&) {
    value = exp_(V(-0.5) * s);
    slope = V(-0.5) * value;
  }
};

// Beyond this s every Matern function is 0 in both precisions; without the bound, infinity times 0 would be NaN.
template <class V>
LVM_HD V matern_distance(V s) {
  return sqrt_(min_(s, V(1e6)));
}

// exp(-r), r = sqrt(s). Rasmussen & Williams (2006), eq. 4.18. Its slope has no limit at 0; there the mean over all
// directions, 0, is taken.
struct Matern12 {
  static constexpr bool kDistance = true, kShape = false;
  template <class V>
  LVM_HD static V value(V s, const Shape<V>&) {
    return exp_(V(0.0) - matern_distance(s));
  }
  template <class V>
  LVM_HD static void pull(V s, const Shape<V>&, V& value, V& slope, V&) {
    const V r = matern_distance(s);
    value = exp_(V(0.0) - r);
    slope = zero_unless_positive_(s, V(-0.5) * value / r);
  }
};

// (1 + sqrt(3) r) exp(-sqrt(3) r). Rasmussen & Williams (2006), eq. 4.17.
struct Matern32 {
  static constexpr bool kDistance = true, kShape = false;
  template <class V>
  LVM_HD static V value(V s, const Shape<V>&) {
    const V r = V(1.7320508075688772935) * matern_distance(s);
    return (V(1.0) + r) * exp_(V(0.0) - r);
  }
  template <class V>
  LVM_HD static void pull(V s, const Shape<V>&, V& value, V& slope, V&) {
    const V r = V(1.7320508075688772935) * matern_distance(s);
    const V e = exp_(V(0.0) - r);
    value = (V(1.0) + r) * e;
    slope = V(-1.5) * e;
  }
};

// (1 + sqrt(5) r + 5/3 r^2) exp(-sqrt(5) r). Rasmussen & Williams (2006), eq. 4.17.
struct Matern52 {
  static constexpr bool kDistance = true, kShape = false;
  template <class V>
  LVM_HD static V value(V s, const Shape<V>&) {
    const V r = V(2.2360679774997896964) * matern_distance(s);
    return (V(1.0) + r * (V(1.0) + V(1.0 / 3.0) * r)) * exp_(V(0.0) - r);
  }
  template <class V>
  LVM_HD static void pull(V s, const Shape<V>&, V& value, V& slope, V&) {
    const V r = V(2.2360679774997896964) * matern_distance(s);
    const V e = exp_(V(0.0) - r);
    value = (V(1.0) + r * (V(1.0) + V(1.0 / 3.0) * r)) * e;
    slope = V(-5.0 / 6.0) * (V(1.0) + r) * e;
  }
};

// (1 + s / (2 alpha))^-alpha. Rasmussen & Williams (2006), eq. 4.19.
struct RationalQuadratic {
  static constexpr bool kDistance = true, kShape = true;
  template <class V>
  LVM_HD static V value(V s, const Shape<V>& shape) {
    return exp_(V(0.0) - shape.number * log1p_(V(0.5) * s / shape.number));
  }
  template <class V>
  LVM_HD static void pull(V s, const Shape<V>& shape, V& value, V& slope, V& by_shape) {
    const V u = min_(V(0.5) * s / shape.number, large_(s)), log = log1p_(u), inverse = V(1.0) / (V(1.0) + u);
    value = exp_(V(0.0) - shape.number * log);
    slope = V(-0.5) * value * inverse;
    by_shape = value * (u * inverse - log);
  }
};

// s itself.
struct Dot {
  static constexpr bool kDistance = false, kShape = false;
  template <class V>
  LVM_HD static V value(V s, const Shape<V>&) {
    return s;
  }
  template <class V>
  LVM_HD static void pull(V s, const Shape<V>&, V& value, V& slope, V&) {
    value = s;
    slope = V(1.0);
  }
};

// (s + offset)^degree.
struct Power {
  static constexpr bool kDistance = false, kShape = true;
  template <class V>
  LVM_HD static V power(V base, int exponent) {
    V result = V(1.0);
    for (; exponent > 0; exponent >>= 1) {
      if (exponent & 1) result = result * base;
      base = base * base;
    }
    return result;
  }
  template <class V>
  LVM_HD static V value(V s, const Shape<V>& shape) {
    return power(s + shape.number, shape.degree);
  }
  template <class V>
  LVM_HD static void pull(V s, const Shape<V>& shape, V& value, V& slope, V& by_shape) {
    const V base = s + shape.number, below = power(base, shape.degree - 1);
    value = below * base;
    slope = V(double(shape.degree)) * below;
    by_shape = slope;
  }
};

// Calls visitor(functor) with the functor that `function` names (host: it chooses which loop to run).
template <class Visitor>
inline __attribute__((always_inline)) void visit_pair_function(PairFunction function, Visitor&& visitor) {
  switch (function) {
    case PairFunction::rbf: visitor(Rbf{}); break;
    case PairFunction::matern12: visitor(Matern12{}); break;
    case PairFunction::matern32: visitor(Matern32{}); break;
    case PairFunction::matern52: visitor(Matern52{}); break;
    case PairFunction::rational_quadratic: visitor(RationalQuadratic{}); break;
    case PairFunction::dot: visitor(Dot{}); break;
    case PairFunction::power: visitor(Power{}); break;
    case PairFunction::constant:
    case PairFunction::white: break;
  }
}

}  // namespace lvm

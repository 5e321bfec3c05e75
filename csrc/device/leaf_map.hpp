// What one covariance function of a tree makes of a point: its parameters, the features phi through which it sees points,
// and the way back. All of it runs on either device.
//
//   kind                                parameters, in this order             phi(x), one number per q
//   rbf, matern*                        variance, lengthscale (d)             (x_q - centre_q) / lengthscale_q
//   rational_quadratic                  variance, lengthscale (d), alpha      the same
//   periodic                            variance, lengthscale (d), period (d) cos u_q / lengthscale_q and sin u_q / lengthscale_q,
//                                                                             u_q = 2 pi (x_q - centre_q) / period_q
//   linear                              variance (d)                          sqrt(variance_q) x_q
//   polynomial                          variance (d), offset                  the same
//   cosine                              variance, lengthscale (d)             cos u, sin u, u = 2 pi sum_q (x_q - centre_q) / lengthscale_q
//   constant, white                     variance                              none
//
// The centre, the median of the inputs, changes no kernel; it keeps a common offset from costing digits.
#pragma once

#include "core/config.hpp"
#include "device/kernel_tree.hpp"

namespace lvm {

constexpr double kTwoPi = 6.283185307179586477;

inline int64_t parameter_count(Covariance kind, int64_t d) {
  switch (kind) {
    case Covariance::rational_quadratic: return d + 2;
    case Covariance::periodic: return 2 * d + 1;
    case Covariance::linear: return d;
    case Covariance::constant:
    case Covariance::white: return 1;
    default: return d + 1;
  }
}

inline int64_t feature_count(const KernelLeaf& leaf) {
  const int64_t d = static_cast<int64_t>(leaf.dims.size());
  switch (leaf.kind) {
    case Covariance::periodic: return 2 * d;
    case Covariance::cosine: return 2;
    case Covariance::constant:
    case Covariance::white: return 0;
    default: return d;
  }
}

inline PairFunction pair_function(Covariance kind) {
  switch (kind) {
    case Covariance::matern12: return PairFunction::matern12;
    case Covariance::matern32: return PairFunction::matern32;
    case Covariance::matern52: return PairFunction::matern52;
    case Covariance::rational_quadratic: return PairFunction::rational_quadratic;
    case Covariance::linear:
    case Covariance::cosine: return PairFunction::dot;
    case Covariance::polynomial: return PairFunction::power;
    case Covariance::constant: return PairFunction::constant;
    case Covariance::white: return PairFunction::white;
    default: return PairFunction::rbf;
  }
}

LVM_HD bool has_dot_features(Covariance kind) { return kind == Covariance::linear || kind == Covariance::polynomial; }

struct LeafMap {
  Covariance kind;
  int degree;
  int64_t d, features;
  const int64_t* dims;
  const double* p;       // its parameters
  const double* factor;  // (d,) of an input in the features: sqrt(variance_q) or 1 / lengthscale_q

  LVM_HD double variance() const { return has_dot_features(kind) ? 1.0 : p[0]; }
  LVM_HD double shape() const {
    return kind == Covariance::rational_quadratic ? p[d + 1] : kind == Covariance::polynomial ? p[d] : 0.0;
  }

  template <class T>
  LVM_HD double input(const T* x, const double* centre, int64_t k) const {
    return static_cast<double>(x[dims[k]]) - centre[dims[k]];
  }
  template <class T>
  LVM_HD double phase(const T* x, const double* centre) const {
    double u = 0;
    for (int64_t k = 0; k < d; ++k) u += input(x, centre, k) * factor[k];
    return kTwoPi * u;
  }

  template <class T>
  LVM_HD double feature(const T* x, const double* centre, int64_t f) const {
    if (kind == Covariance::periodic) {
      const int64_t k = f / 2;
      const double u = kTwoPi * input(x, centre, k) / p[1 + d + k];
      return (f % 2 ? sin_(u) : cos_(u)) * factor[k];
    }
    if (kind == Covariance::cosine) {
      const double u = phase(x, centre);
      return f ? sin_(u) : cos_(u);
    }
    return has_dot_features(kind) ? factor[f] * static_cast<double>(x[dims[f]]) : input(x, centre, f) * factor[f];
  }

  // k(x, x).
  template <class T>
  LVM_HD double diagonal(const T* x) const {
    if (!has_dot_features(kind)) return p[0];
    const double s = dot(x);
    return kind == Covariance::linear ? s : Power::power(s + p[d], degree);
  }
  // d k(x, x) / d s with s = phi(x) . phi(x), of dot features.
  template <class T>
  LVM_HD double diagonal_slope(const T* x) const {
    return kind == Covariance::linear ? 1.0 : degree * Power::power(dot(x) + p[d], degree - 1);
  }
  template <class T>
  LVM_HD double dot(const T* x) const {
    double s = 0;
    for (int64_t k = 0; k < d; ++k) {
      const double value = static_cast<double>(x[dims[k]]);
      s += p[k] * value * value;
    }
    return s;
  }
};

// The factors of a leaf from its parameters, one by one.
struct LeafFactors {
  LeafMap map;
  double* factor;
  LVM_HD void operator()(int64_t k) const {
    factor[k] = has_dot_features(map.kind) ? sqrt_(map.p[k]) : 1.0 / map.p[1 + k];
  }
};

// Points to features; norms: then a feature of ones and one of squared norms.
template <class T, class View>
struct AssignPoint {
  LeafMap map;
  View points;
  const T* x;
  const int64_t* index;  // the rows of x, or null for all
  int64_t q;
  const double* centre;
  int64_t norms;  // a flag, without gaps in the argument of a kernel
  LVM_HD void operator()(int64_t i) const {
    const T* row = x + (index ? index[i] : i) * q;
    double square = 0;
    for (int64_t f = 0; f < map.features; ++f) {
      const T value = static_cast<T>(map.feature(row, centre, f));
      points.at(i, f) = value;
      square += static_cast<double>(value) * static_cast<double>(value);
    }
    if (!norms) return;
    points.at(i, map.features) = T(1);
    points.at(i, map.features + 1) = static_cast<T>(square);
  }
};

// The value of a program of leaves at k(x, x).
template <class T>
LVM_HD double diagonal_of(const LeafMap* leaves, const KernelStep* steps, int64_t count, const T* x) {
  double stack[KernelTree::kDeepest] = {1.0};  // what an empty program is worth
  int64_t top = 0;
  for (int64_t s = 0; s < count; ++s) {
    if (steps[s].op == KernelStep::push) {
      stack[top++] = leaves[steps[s].leaf].diagonal(x);
    } else {
      --top;
      stack[top - 1] = steps[s].op == KernelStep::add ? stack[top - 1] + stack[top] : stack[top - 1] * stack[top];
    }
  }
  return stack[0];
}

// k(x_i, x_i), White included.
template <class T>
struct KernelDiagonal {
  const LeafMap* leaves;
  const KernelStep* steps;
  int64_t count;
  const T* x;
  const int64_t* index;
  int64_t q;
  T* out;
  LVM_HD double value(int64_t i) const { return diagonal_of(leaves, steps, count, x + (index ? index[i] : i) * q); }
  LVM_HD void operator()(int64_t i) const { out[i] = static_cast<T>(value(i)); }
  LVM_HD double operator()(int64_t, int64_t i) const { return value(i); }  // as a term of a sum
};

// The pull-back of the diagonal through one leaf: c_i d k(x_i, x_i).
template <class T>
struct DiagonalPull {
  LeafMap map;
  const LeafMap* leaves;
  const KernelStep* context;  // what stands beside the leaf in products
  int64_t count;
  const T* x;
  int64_t q;
  const double* cotangent;
  double* d_x;
  LVM_HD double weight(int64_t i) const {
    const double w = cotangent[i] * diagonal_of(leaves, context, count, x + i * q);
    return has_dot_features(map.kind) ? w * map.diagonal_slope(x + i * q) : w;
  }
  LVM_HD void operator()(int64_t i) const {
    if (!has_dot_features(map.kind)) return;
    const double w = weight(i);
    for (int64_t k = 0; k < map.d; ++k) {
      const int64_t at = i * q + map.dims[k];
      d_x[at] += 2.0 * w * map.p[k] * static_cast<double>(x[at]);
    }
  }
  // What parameter `which` of the leaf gains at point i: the variances of dot features, an offset; else the variance.
  LVM_HD double operator()(int64_t which, int64_t i) const {
    if (!has_dot_features(map.kind) || which == map.d) return weight(i);
    const double value = static_cast<double>(x[i * q + map.dims[which]]);
    return weight(i) * value * value;
  }
  int64_t width() const { return has_dot_features(map.kind) ? map.d + (map.kind == Covariance::polynomial) : 1; }
};

// How the sums that a pull-back leaves for a point become gradients by its features (see LeafSums of the device).
enum class SumForm : int64_t { dots, differences, products };

// The pull-back through one leaf from the sums of its pairs to the points of one side and to what parameters gain there.
template <class T, class View, class SumView>
struct PointPull {
  LeafMap map;
  SumForm form;
  View points;
  SumView sums;
  const T* x;
  const int64_t* index;
  int64_t q;
  const double* centre;
  double* d_x;

  LVM_HD int64_t row(int64_t i) const { return (index ? index[i] : i) * q; }
  LVM_HD double phi(int64_t i, int64_t f) const { return static_cast<double>(points.at(i, f)); }
  LVM_HD double far(int64_t i, int64_t f) const {
    return sums.at(i, map.features) * phi(i, f) - sums.at(i, f);
  }
  LVM_HD double phi_bar(int64_t i, int64_t f) const {
    if (form == SumForm::dots) return map.variance() * sums.at(i, f);
    const double s = form == SumForm::products ? far(i, f) + sums.at(i, map.features + 1 + f) : sums.at(i, f);
    return 2.0 * map.variance() * s;
  }
  LVM_HD double phase_bar(int64_t i, int64_t k) const {  // by the angle u_k of a circle
    return phi(i, 2 * k) * phi_bar(i, 2 * k + 1) - phi(i, 2 * k + 1) * phi_bar(i, 2 * k);
  }

  LVM_HD void operator()(int64_t i) const {
    double* d = d_x + row(i);
    if (map.kind == Covariance::periodic) {
      for (int64_t k = 0; k < map.d; ++k) d[map.dims[k]] += kTwoPi / map.p[1 + map.d + k] * phase_bar(i, k);
    } else if (map.kind == Covariance::cosine) {
      const double u_bar = phase_bar(i, 0);
      for (int64_t k = 0; k < map.d; ++k) d[map.dims[k]] += kTwoPi * u_bar / map.p[1 + k];
    } else {
      for (int64_t k = 0; k < map.d; ++k) d[map.dims[k]] += phi_bar(i, k) * map.factor[k];
    }
  }

  // Parameters that points tell of: as many as there are dimensions, or none.
  LVM_HD int64_t own() const {
    return has_dot_features(map.kind) || map.kind == Covariance::periodic || map.kind == Covariance::cosine ? map.d : 0;
  }
  int64_t width() const { return own() + (form == SumForm::products ? map.features : 0); }

  // Parameter w < own(), then squared differences by feature, of point i.
  LVM_HD double operator()(int64_t w, int64_t i) const {
    if (w >= own()) return phi(i, w - own()) * far(i, w - own());
    if (has_dot_features(map.kind)) return 0.5 * phi_bar(i, w) * phi(i, w) / map.p[w];
    const double input = map.input(x + row(i), centre, w);
    if (map.kind == Covariance::cosine) return -kTwoPi * phase_bar(i, 0) * input / (map.p[1 + w] * map.p[1 + w]);
    const double period = map.p[1 + map.d + w];
    return -kTwoPi * phase_bar(i, w) * input / (period * period);
  }
};

// The gradients by a leaf's parameters from all sums: scalars = [value, shape, squares (features)] of the pairs, and what
// PointPull said of the points of each side.
struct LeafFinish {
  LeafMap map;
  SumForm form;
  const double *scalars, *rows, *cols;  // cols null: one side only
  double* d_p;                          // of the leaf's parameters

  LVM_HD double side(int64_t w) const { return rows[w] + (cols ? cols[w] : 0.0); }
  LVM_HD void operator()(int64_t) const {
    const bool dot = has_dot_features(map.kind);
    const int64_t own = dot || map.kind == Covariance::periodic || map.kind == Covariance::cosine ? map.d : 0;
    if (!dot) d_p[0] += scalars[0];
    if (map.kind == Covariance::rational_quadratic) d_p[map.d + 1] += map.variance() * scalars[1];
    if (map.kind == Covariance::polynomial) d_p[map.d] += scalars[1];
    const int64_t first = dot ? 0 : map.kind == Covariance::periodic ? 1 + map.d : 1;
    for (int64_t k = 0; k < own; ++k) d_p[first + k] += side(k);
    if (dot || map.kind == Covariance::cosine || !map.features) return;
    const int64_t per = map.kind == Covariance::periodic ? 2 : 1;
    for (int64_t f = 0; f < map.features; ++f) {
      const double square = scalars[2 + f] + (form == SumForm::products ? side(own + f) : 0.0);
      d_p[1 + f / per] -= 2.0 * map.variance() * square / map.p[1 + f / per];
    }
  }
};

}  // namespace lvm

// Layers of normalizing flows, row by row: values, logarithms of Jacobian determinants, pull-backs and inverses.
//
//   scaled      z_b = x_b exp(s) + t or (x_b - t) exp(-s), s = bound tanh(raw / bound); t, raw from a network of other columns
//   planar      z = x + u' tanh(w x + b),  u' = u + (m(w u) - w u) w / |w|^2,  m(a) = log(1 + exp(a)) - 1
//   affine      z = x exp(s) + t or (x - t) exp(-s), t and s parameters
//   permuted    z_j = x_columns[j]
//
// Dinh, Sohl-Dickstein & Bengio (2017), eq. 7 and 8; Papamakarios, Pavlakou & Murray (2017), eq. 4; Rezende & Mohamed (2015),
// eq. 10 to 12 and appendix A.1: w u' = m(w u) > -1. Rows have `width` numbers, log_det is double.
#pragma once

#include "core/activation.hpp"
#include "core/bijector.hpp"
#include "core/config.hpp"
#include "core/vae_terms.hpp"

namespace lvm {

// out (n, count) = the first `count` columns of x in the order of `columns`.
template <class T>
struct TakeColumns {
  const T* x;
  const int64_t* columns;
  T* out;
  int64_t width, count;
  LVM_HD void operator()(int64_t index) const { out[index] = x[index / count * width + columns[index % count]]; }
};
// Cotangents of the gathered columns, added to their places; columns: null for 0, 1, ...
template <class T>
struct ScatterColumns {
  const T* d_in;
  const int64_t* columns;
  T* d;
  int64_t width, count;
  LVM_HD void operator()(int64_t index) const {
    const int64_t j = index % count;
    d[index / count * width + (columns ? columns[j] : j)] += d_in[index];
  }
};
template <class T>
struct PullPermuted {
  const T* d_z;
  const int64_t* columns;
  T* d_x;
  int64_t width;
  LVM_HD void operator()(int64_t index) const { d_x[index / width * width + columns[index % width]] = d_z[index]; }
};

// What the scaled columns of a row are: columns[split], columns[split + 1], ... or, where `columns` is null, all.
template <class T>
struct ScaledShape {
  const int64_t* columns;
  int64_t width, split, divide;
  double bound;
  LVM_HD int64_t count() const { return width - split; }
  LVM_HD int64_t place(int64_t r, int64_t j) const { return r * width + (columns ? columns[j] : j); }
  LVM_HD T log_scale(T raw) const { return T(bound) * tanh_of(raw / T(bound)); }
};

template <class T>
struct ScaledRow {
  ScaledShape<T> shape;
  const T *x, *shift, *raw;
  T *z, *log_scale, *factor;
  double* log_det;
  LVM_HD void operator()(int64_t r) const {
    for (int64_t j = 0; j < shape.split; ++j) z[shape.place(r, j)] = x[shape.place(r, j)];
    const int64_t m = shape.count(), split = shape.split;
    double sum = 0;
    for (int64_t j = 0; j < m; ++j) {
      const int64_t k = r * m + j, at = shape.place(r, split + j);
      const T s = log_scale[k] = shape.log_scale(raw[k]), e = factor[k] = exp_(shape.divide ? -s : s);
      z[at] = shape.divide ? (x[at] - shift[k]) * e : x[at] * e + shift[k];
      sum += static_cast<double>(s);
    }
    log_det[r] += shape.divide ? -sum : sum;
  }
};

// From d (n, width), cotangents of z, in place those of x without what comes through the network.
template <class T>
struct PullScaled {
  ScaledShape<T> shape;
  const T *x, *z, *log_scale, *factor;
  const double* d_log_det;
  T *d, *d_shift, *d_raw;
  LVM_HD void operator()(int64_t k) const {
    const int64_t m = shape.count(), r = k / m, at = shape.place(r, shape.split + k % m);
    const T ratio = log_scale[k] / T(shape.bound), slope = (T(1) - ratio) * (T(1) + ratio), up = T(d_log_det[r]);
    const T g = d[at], own = g * factor[k];
    d_shift[k] = shape.divide ? -own : g;
    d_raw[k] = slope * (shape.divide ? -(g * z[at]) - up : own * x[at] + up);
    d[at] = own;
  }
};

// x from z: columns first, ..., last - 1 in the order of `columns`, and those that are not scaled. by_column: heads are in the
// order of the columns themselves.
template <class T>
struct InvertScaled {
  ScaledShape<T> shape;
  const T *z, *shift, *raw;
  T* x;
  double* log_det;
  int64_t first, last, by_column;
  LVM_HD void operator()(int64_t r) const {
    const int64_t m = shape.count();
    for (int64_t j = 0; j < shape.split; ++j) x[shape.place(r, j)] = z[shape.place(r, j)];
    double sum = 0;
    for (int64_t j = first; j < last; ++j) {
      const int64_t at = shape.place(r, j), k = r * m + (by_column ? at - r * shape.width : j - shape.split);
      const T s = shape.log_scale(raw[k]);
      x[at] = shape.divide ? z[at] * exp_(s) + shift[k] : (z[at] - shift[k]) * exp_(-s);
      sum += static_cast<double>(s);
    }
    log_det[r] += shape.divide ? sum : -sum;
  }
};

// theta = [u, w, b]. The numbers of a planar layer, in double.
enum PlanarNumber : int64_t { kPlanarOver, kPlanarPlus, kPlanarInner, kPlanarSquare, kPlanarFactor, kPlanarVector };

template <class T>
struct PreparePlanar {
  const T* theta;
  double* numbers;  // kPlanarVector + width
  int64_t width;
  LVM_HD void operator()(int64_t) const {
    const T *u = theta, *w = theta + width;
    double inner = 0, square = 0;
    for (int64_t j = 0; j < width; ++j) {
      inner += static_cast<double>(u[j]) * static_cast<double>(w[j]);
      square += static_cast<double>(w[j]) * static_cast<double>(w[j]);
    }
    const double plus = softplus(inner), safe = square > 1e-290 ? square : 1e-290;
    const double factor = (inner > 40 ? -1.0 : plus - 1 - inner) / safe;
    numbers[kPlanarOver] = plus - 1;
    numbers[kPlanarPlus] = plus;
    numbers[kPlanarInner] = inner;
    numbers[kPlanarSquare] = safe;
    numbers[kPlanarFactor] = factor;
    for (int64_t j = 0; j < width; ++j) {
      numbers[kPlanarVector + j] = static_cast<double>(u[j]) + factor * static_cast<double>(w[j]);
    }
  }
};

// log(1 + (1 - t^2) m) with m = plus - 1: t^2 + (1 - t^2) plus where that is small, so that nothing cancels.
LVM_HD double planar_log_det(const double* numbers, double t, double& inverse) {
  const double slope = (1 - t) * (1 + t), over = slope * numbers[kPlanarOver];
  const double det = over < -0.5 ? t * t + slope * numbers[kPlanarPlus] : 1 + over;
  inverse = 1 / det;
  return over < -0.5 ? log_(det) : log1p_(over);
}

template <class T>
struct PlanarRow {
  const T *theta, *x;
  const double* numbers;
  T* z;
  double *hidden, *log_det;  // hidden: tanh(w x + b)
  int64_t width;
  LVM_HD void operator()(int64_t r) const {
    const T *w = theta + width, *row = x + r * width;
    double a = static_cast<double>(w[width]), inverse;
    for (int64_t j = 0; j < width; ++j) a += static_cast<double>(w[j]) * static_cast<double>(row[j]);
    const double t = hidden[r] = tanh_of(a);
    for (int64_t j = 0; j < width; ++j) z[r * width + j] = T(static_cast<double>(row[j]) + numbers[kPlanarVector + j] * t);
    log_det[r] += planar_log_det(numbers, t, inverse);
  }
};

// by_inner: cotangent of w x + b; by_over: of w u', per row.
template <class T>
struct PullPlanar {
  const T* d_z;
  const double *numbers, *hidden, *d_log_det;
  double *by_inner, *by_over;
  int64_t width;
  LVM_HD void operator()(int64_t r) const {
    const double t = hidden[r], slope = (1 - t) * (1 + t);
    double inverse, by_t = 0;
    planar_log_det(numbers, t, inverse);
    for (int64_t j = 0; j < width; ++j) by_t += static_cast<double>(d_z[r * width + j]) * numbers[kPlanarVector + j];
    by_t -= 2 * t * numbers[kPlanarOver] * inverse * d_log_det[r];
    by_inner[r] = by_t * slope;
    by_over[r] = d_log_det[r] * slope * inverse;
  }
};
// 2 width + 2 sums over rows: of d_z tanh, by_inner x, by_inner, by_over.
template <class T>
struct PlanarTerm {
  const T *d_z, *x;
  const double *hidden, *by_inner, *by_over;
  int64_t width;
  LVM_HD double operator()(int64_t w, int64_t r) const {
    if (w < width) return static_cast<double>(d_z[r * width + w]) * hidden[r];
    if (w < 2 * width) return by_inner[r] * static_cast<double>(x[r * width + w - width]);
    return w == 2 * width ? by_inner[r] : by_over[r];
  }
};
template <class T>
struct FinishPlanar {
  const T* theta;
  const double *numbers, *sums;
  T* gradient;
  int64_t width;
  LVM_HD void operator()(int64_t) const {
    const T *u = theta, *w = theta + width;
    const double factor = numbers[kPlanarFactor], square = numbers[kPlanarSquare];
    double by_factor = 0;
    for (int64_t j = 0; j < width; ++j) by_factor += sums[j] * static_cast<double>(w[j]);
    const double slope = softplus_derivative(numbers[kPlanarInner]);  // of m
    const double falls = softplus_derivative(-numbers[kPlanarInner]);  // 1 - slope
    const double by_inner = sums[2 * width + 1] * slope - by_factor * falls / square;
    const double by_square = -by_factor * factor / square;
    for (int64_t j = 0; j < width; ++j) {
      const double uj = static_cast<double>(u[j]), wj = static_cast<double>(w[j]);
      gradient[j] = T(sums[j] + by_inner * wj);
      gradient[width + j] = T(sums[width + j] + factor * sums[j] + 2 * by_square * wj + by_inner * uj);
    }
    gradient[2 * width] = T(sums[2 * width]);
  }
};
template <class T>
struct AddPlanar {
  const T* theta;
  const double* by_inner;
  T* d;
  int64_t width;
  LVM_HD void operator()(int64_t index) const {
    d[index] += T(by_inner[index / width] * static_cast<double>(theta[width + index % width]));
  }
};

// a with a + m tanh(a) = target, m = plus - 1 > -1: by Newton's steps where they stay between the bounds on either side.
LVM_HD double solve_planar(double over, double plus, double target) {
  const double reach = over < 0 ? -over : over;
  double low = target - reach, high = target + reach, a = target - over * tanh_of(target);
  for (int step = 0; step < 200; ++step) {
    const double t = tanh_of(a);
    double without = a - t;  // without cancellation at 0
    if (a > -0.5 && a < 0.5) {
      double n, d;
      tanh_parts(a, n, d);
      const double s = a * a;
      without = a * s * ((27 * s + 2772) * s + 45045) / d;
    }
    const double value = without + plus * t - target, slope = t * t + plus * (1 - t) * (1 + t);
    if (value == 0) return a;
    (value > 0 ? high : low) = a;
    double next = a - value / slope;
    if (!(next > low && next < high)) next = 0.5 * (low + high);
    const double move = next > a ? next - a : a - next, size = next < 0 ? -next : next;
    if (move <= 4e-16 * size || next == low || next == high || next != next) return next;
    a = next;
  }
  return a;
}
template <class T>
struct InvertPlanar {
  const T *theta, *z;
  const double* numbers;
  T* x;
  double* log_det;
  int64_t width;
  LVM_HD void operator()(int64_t r) const {
    const T *w = theta + width, *row = z + r * width;
    double target = static_cast<double>(w[width]), inverse;
    for (int64_t j = 0; j < width; ++j) target += static_cast<double>(w[j]) * static_cast<double>(row[j]);
    const double t = tanh_of(solve_planar(numbers[kPlanarOver], numbers[kPlanarPlus], target));
    for (int64_t j = 0; j < width; ++j) x[r * width + j] = T(static_cast<double>(row[j]) - numbers[kPlanarVector + j] * t);
    log_det[r] -= planar_log_det(numbers, t, inverse);
  }
};

// theta = [t, s]. numbers = [sum of s, exp(s) or exp(-s)].
template <class T>
struct PrepareAffine {
  const T* theta;
  double* numbers;  // 1 + width
  int64_t width, divide;
  LVM_HD void operator()(int64_t) const {
    double sum = 0;
    for (int64_t j = 0; j < width; ++j) {
      const double s = static_cast<double>(theta[width + j]);
      numbers[1 + j] = exp_(divide ? -s : s);
      sum += s;
    }
    numbers[0] = sum;
  }
};
// inverse: the other way, x from z.
template <class T>
struct AffineRow {
  const T *theta, *x;
  const double* numbers;
  T* z;
  double* log_det;
  int64_t width, divide, inverse;
  LVM_HD void operator()(int64_t r) const {
    for (int64_t j = 0; j < width; ++j) {
      const double e = numbers[1 + j], t = static_cast<double>(theta[j]), value = static_cast<double>(x[r * width + j]);
      const double out = inverse ? (divide ? value / e + t : (value - t) / e) : divide ? (value - t) * e : value * e + t;
      z[r * width + j] = T(out);
    }
    log_det[r] += (divide != 0) != (inverse != 0) ? -numbers[0] : numbers[0];
  }
};
// 2 width + 1 sums over rows: of d_z, d_z times z (divide) or x, d_log_det.
template <class T>
struct AffineTerm {
  const T *d_z, *other;
  const double* d_log_det;
  int64_t width;
  LVM_HD double operator()(int64_t w, int64_t r) const {
    if (w == 2 * width) return d_log_det[r];
    const int64_t at = r * width + w % width;
    return static_cast<double>(d_z[at]) * (w < width ? 1.0 : static_cast<double>(other[at]));
  }
};
template <class T>
struct FinishAffine {
  const double *numbers, *sums;
  T* gradient;
  int64_t width, divide;
  LVM_HD void operator()(int64_t j) const {
    const double e = numbers[1 + j], total = sums[2 * width];
    gradient[j] = T(divide ? -e * sums[j] : sums[j]);
    gradient[width + j] = T(divide ? -sums[width + j] - total : e * sums[width + j] + total);
  }
};
template <class T>
struct ScaleColumns {
  const double* numbers;
  T* d;
  int64_t width;
  LVM_HD void operator()(int64_t index) const { d[index] = T(static_cast<double>(d[index]) * numbers[1 + index % width]); }
};

// to = from where the mask is 1, else 0.
template <class T>
struct Masked {
  const T *from, *mask;
  T* to;
  LVM_HD void operator()(int64_t i) const { to[i] = mask[i] != T(0) ? from[i] : T(0); }
};

template <class T>
struct AddTile {
  const T* from;
  T* to;
  LVM_HD void operator()(int64_t i) const { to[i] += from[i]; }
};

// terms (n, 3) of rows: log density, that of the base N(0, 1) at z, log_det.
template <class T>
struct FlowTerms {
  const T* z;
  const double* log_det;
  double* terms;
  int64_t width;
  LVM_HD void operator()(int64_t r) const {
    double square = 0;
    for (int64_t j = r * width; j < (r + 1) * width; ++j) square += static_cast<double>(z[j]) * static_cast<double>(z[j]);
    const double base = -0.5 * (square + static_cast<double>(width) * kLogTwoPi);
    terms[3 * r] = base + log_det[r];
    terms[3 * r + 1] = base;
    terms[3 * r + 2] = log_det[r];
  }
};
// Cotangents of minus the mean log density.
template <class T>
struct FlowSlope {
  const T* z;
  T* d_z;
  double* d_log_det;
  int64_t width;
  double rows;
  LVM_HD void operator()(int64_t index) const {
    d_z[index] = z[index] / T(rows);
    if (index % width == 0) d_log_det[index / width] = -1 / rows;
  }
};

}  // namespace lvm

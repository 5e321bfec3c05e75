// What a step of SVGP does entry by entry: to the rows of a tile, and to q(u).
#pragma once

#include <cstdint>

#include "algo/sgpr_columns.hpp"
#include "device/leaf_map.hpp"

namespace lvm {

// The columns of the mean function's basis, [1, (x - centre) / spread].
template <class A>
struct MeanBasis {
  const A* x;
  int64_t q;
  const double *centre, *spread;
  LVM_HD double value(int64_t i, int64_t k) const {
    return k == 0 ? 1.0 : (static_cast<double>(x[i * q + k - 1]) - centre[k - 1]) / spread[k - 1];
  }
};

// Mean and variance of f_p(x_i), (count, latents): fit + H coef + offset and k_ii + left_i . u_pi, or with `solved` k_ii -
// |left_i|^2 + |u_pi|^2; left is (m, count), u_p another such, fit (count, latents) column-major. Without u no variance.
template <class A>
struct LatentMarginals {
  const A *left, *u, *fit;
  int64_t m, count, latents, stride, solved;  // stride: from u_p to u_(p + 1)
  KernelDiagonal<A> prior;
  MeanBasis<A> basis;
  int64_t columns;  // of the basis
  const double *coef, *offset;
  A *mean, *variance;
  LVM_HD void operator()(int64_t at) const {
    const int64_t i = at / latents, p = at % latents;
    double value = static_cast<double>(fit[p * count + i]) + (offset ? offset[at] : 0.0);
    for (int64_t k = 0; k < columns; ++k) value += coef[p * columns + k] * basis.value(i, k);
    mean[at] = static_cast<A>(value);
    const A *own = left + i * m, *other = u ? u + p * stride + i * m : nullptr;
    const double more = !u ? 0.0 : solved ? dot_of(other, other, m) - dot_of(own, own, m) : dot_of(own, other, m);
    const double left_over = u ? prior.value(i) + more : 0.0;
    variance[at] = static_cast<A>(left_over > 0 ? left_over : 0.0);
  }
};

// What a row counts.
struct RowWeight {
  const double* weight;  // or null
  double scale;
  LVM_HD double of(int64_t i) const { return weight ? scale * weight[i] : scale; }
};

// Cotangents of the rows' latents: g (count, latents) column-major, h and the sum of h over latents, all weighted; w: the
// sum over latents of 2 h_p u_p.
template <class A>
struct LatentCotangents {
  const double *by_mean, *by_variance;  // (count, latents)
  int64_t count, latents;
  RowWeight row;
  A* g;
  double *h, *diagonal;
  LVM_HD void operator()(int64_t i) const {
    const double c = row.of(i);
    double sum = 0;
    for (int64_t p = 0; p < latents; ++p) {
      g[p * count + i] = static_cast<A>(c * by_mean[i * latents + p]);
      sum += h[i * latents + p] = c * by_variance[i * latents + p];
    }
    diagonal[i] = sum;
  }
};
template <class A>
struct WeightedColumns {
  const A* u;
  int64_t m, latents, stride;
  const double* h;
  A* w;  // may be u where there is one latent
  LVM_HD void operator()(int64_t i) const {
    const double* own = h + i * latents;
    const A first = static_cast<A>(2.0 * own[0]);
    for (int64_t j = 0; j < m; ++j) w[i * m + j] = first * u[i * m + j];
    for (int64_t p = 1; p < latents; ++p) {
      const A factor = static_cast<A>(2.0 * own[p]);
      for (int64_t j = 0; j < m; ++j) w[i * m + j] += factor * u[p * stride + i * m + j];
    }
  }
};
// Columns of v times h_ip, or times the root of its positive part (sign 1) or of its negative part (sign -1).
template <class A>
struct RootColumns {
  const A* v;
  int64_t m, latents, p, sign;
  const double* h;
  A* out;
  LVM_HD void operator()(int64_t i) const {
    const double own = h[i * latents + p], part = sign < 0 ? -own : own;
    const A factor = static_cast<A>(sign == 0 ? own : part > 0 ? sqrt_(part) : 0.0);
    for (int64_t j = 0; j < m; ++j) out[i * m + j] = factor * v[i * m + j];
  }
};

// Terms of sums over a tile: w = 0 the values, then the derivatives by the likelihood's parameters, `each` of them for each
// of `latents` entries of a row.
struct ExpectedTerms {
  const double *value, *by_parameters;
  int64_t latents, parameters;
  RowWeight row;
  LVM_HD double operator()(int64_t w, int64_t at) const {
    return row.of(at / latents) * (w == 0 ? value[at] : by_parameters[at * parameters + w - 1]);
  }
};
template <class A>
struct CoefficientTerms {  // w = p * columns + k: g_p . H_k
  const A* g;
  int64_t count, columns;
  MeanBasis<A> basis;
  LVM_HD double operator()(int64_t w, int64_t i) const {
    return static_cast<double>(g[w / columns * count + i]) * basis.value(i, w % columns);
  }
};

// Square matrices m x m that follow each other.
struct FromDiagonal {  // whole matrices from their diagonals, as they are (power 1), squared (2) or inverted (-1); - shift I
  const double* d;
  int64_t m, power;
  double shift;
  double* out;
  LVM_HD void operator()(int64_t at) const {
    const int64_t i = at % m, j = at / m % m;
    const double value = d[at / (m * m) * m + i];
    out[at] = i != j ? 0.0 : (power == 1 ? value : power == 2 ? value * value : 1.0 / value) - shift;
  }
};
struct LogEntries {
  const double* d;
  int64_t m, stride;  // entry i is d[i / m * m * stride + i % m * (stride + 1)] if stride > 0, else d[i]
  LVM_HD double operator()(int64_t, int64_t i) const {
    const double value = stride ? d[i / m * m * stride + i % m * (stride + 1)] : d[i];
    return log_(value < 0 ? -value : value);
  }
};
template <class G>
struct DiagonalEntries {
  const G* a;
  int64_t m;
  LVM_HD double operator()(int64_t, int64_t i) const { return static_cast<double>(a[i / m * m * m + i % m * (m + 1)]); }
};

// Phi: the column-major lower triangle with half of the diagonal.
template <class G>
struct HalfLower {
  G* x;
  int64_t m;
  LVM_HD void operator()(int64_t i, int64_t j) const {
    if (i <= j) x[j * m + i] = i == j ? G(0.5) * x[j * m + i] : G(0);
  }
};

// Of the cotangent of K_uu where q is that of u: z + z^T + 2 a - mu mu^T - (s - I), summed over latents; times `factor`.
struct UnwhitenedCotangent {
  const double *z, *a, *mu, *centred;
  int64_t m, latents;
  double factor;
  double* out;
  LVM_HD void operator()(int64_t at) const {
    const int64_t i = at % m, j = at / m;
    double value = z[at] + z[i * m + j];
    for (int64_t p = 0; p < latents; ++p) {
      const int64_t own = p * m * m + at;
      value += 2.0 * a[own] - mu[p * m + i] * mu[p * m + j] - centred[own];
    }
    out[at] = factor * value;
  }
};

// (1 - rho) old + rho factor target, twice.
struct Blend {
  const double *old, *target;
  double rho, factor;
  double *out, *again;
  LVM_HD void operator()(int64_t at) const { out[at] = again[at] = (1.0 - rho) * old[at] + rho * factor * target[at]; }
};
struct TakeDiagonals {  // factor a + identity I
  const double* a;
  int64_t m;
  double factor, identity;
  double* out;
  LVM_HD void operator()(int64_t at) const { out[at] = factor * a[at / m * m * m + at % m * (m + 1)] + identity; }
};
struct Difference {
  const double *a, *b;
  double* out;
  LVM_HD void operator()(int64_t i) const { out[i] = a[i] - b[i]; }
};
struct DivideBy {
  const double* by;
  double* x;
  LVM_HD void operator()(int64_t i) const { x[i] /= by[i]; }
};
struct AddInverses {
  const double* x;
  double* out;
  LVM_HD void operator()(int64_t i) const { out[i] += 1.0 / x[i]; }
};
struct AddMeans {  // out += factor first / second
  const double *factor, *first, *second;
  double* out;
  LVM_HD void operator()(int64_t i) const { out[i] += factor[i] * first[i] / second[i]; }
};
struct NotAbove {
  const double* d;
  double least;
  LVM_HD bool operator()(int64_t i) const { return !(d[i] > least); }
};

// One step of Adam uphill; D. Kingma, J. Ba (2015), "Adam: a method for stochastic optimization", algorithm 1 with the order
// of operations at the end of section 2.
struct AdamRule {
  double rate, beta_1, beta_2, epsilon;  // rate: that of the step, corrections included
  LVM_HD void step(double gradient, double& theta, double& m, double& v) const {
    const double g = -gradient;
    m += (1.0 - beta_1) * (g - m);
    v += (1.0 - beta_2) * (g * g - v);
    theta -= rate * m / (sqrt_(v) + epsilon);
  }
};
struct AdamAscent {
  const double* gradient;
  double *theta, *m, *v;
  AdamRule rule;
  LVM_HD void operator()(int64_t i) const { rule.step(gradient[i], theta[i], m[i], v[i]); }
};
// Of W^T (column-major, upper) by d + 1 / diagonal.
template <class G>
struct RootAscent {
  const G* d;
  double *w, *mean, *square;
  int64_t m;
  AdamRule rule;
  LVM_HD void operator()(int64_t i, int64_t column) const {
    const int64_t j = column % m, at = column * m + i;
    if (i > j) return;
    rule.step(static_cast<double>(d[at]) + (i == j ? 1.0 / w[at] : 0.0), w[at], mean[at], square[at]);
  }
};

}  // namespace lvm

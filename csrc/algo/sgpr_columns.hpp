// What sparse regression does to the columns of a tile: k_i = k(Z, x_i), v_i = L^-1 k_i, column after column (m numbers
// each), beside arrays with a number for each column. Sums are in double.
#pragma once

#include <cstdint>

#include "algo/gp.hpp"
#include "device/leaf_map.hpp"

namespace lvm {

template <class A>
LVM_HD double dot_of(const A* a, const A* b, int64_t n) {
  double lane[4] = {};  // one would wait for itself
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) {
    for (int c = 0; c < 4; ++c) lane[c] += static_cast<double>(a[i + c]) * static_cast<double>(b[i + c]);
  }
  for (; i < n; ++i) lane[0] += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return (lane[0] + lane[1]) + (lane[2] + lane[3]);
}

template <class From, class To>
struct CastTo {
  const From* from;
  To* to;
  LVM_HD void operator()(int64_t i) const { to[i] = static_cast<To>(from[i]); }
};
template <class From>
struct AddTo {
  const From* from;
  double* to;
  LVM_HD void operator()(int64_t i) const { to[i] += static_cast<double>(from[i]); }
};

// [y - shift, 1, (x - centre) / scale] of the rows of a tile, column-major (count rows); as many columns as are asked for.
template <class X, class A>
struct TargetEntry {
  const X *x, *y;
  int64_t count, q, columns;
  const double *shift, *centre, *scale;
  A* out;
  LVM_HD void operator()(int64_t at) const {
    const int64_t c = at / count, i = at % count, k = c - columns - 1;
    if (c < columns) {
      out[at] = static_cast<A>(static_cast<double>(y[i * columns + c]) - shift[c]);
    } else {
      out[at] = k < 0 ? A(1) : static_cast<A>((static_cast<double>(x[i * q + k]) - centre[k]) / scale[k]);
    }
  }
};

// What every column needs: weight_i = 1 / (noise + own_i [+ left_i, FITC]), left_i = k_ii - |v_i|^2 (v null: 0). With
// `scaled`, columns and the rows of the targets are multiplied by the root of the weight.
template <class A>
struct Weigh {
  A* v;
  int64_t m;
  KernelDiagonal<A> prior;
  const double* own;  // or null
  double noise;
  int64_t fitc, scaled;
  A* targets;
  int64_t count, target_columns;
  double *weight, *left;
  LVM_HD void operator()(int64_t i) const {
    left[i] = v ? prior.value(i) - dot_of(v + i * m, v + i * m, m) : 0.0;
    if (fitc && !(left[i] > 0)) left[i] = 0;
    weight[i] = 1.0 / (noise + (own ? own[i] : 0.0) + (fitc ? left[i] : 0.0));
    if (!scaled) return;
    const double root = sqrt_(weight[i]);
    for (int64_t k = 0; k < m; ++k) v[i * m + k] = static_cast<A>(root * static_cast<double>(v[i * m + k]));
    for (int64_t c = 0; c < target_columns; ++c) {
      A& target = targets[c * count + i];
      target = static_cast<A>(root * static_cast<double>(target));
    }
  }
};

// Terms of the first pass: w = 0: weight left (trace); 1: log weight; 2: left (the upper bound's).
struct WeightTerms {
  const double *weight, *left;
  LVM_HD double operator()(int64_t w, int64_t i) const {
    return w == 0 ? weight[i] * left[i] : w == 1 ? log_(weight[i]) : left[i];
  }
};

// e = y - h b - fit for each row of a tile; out: weight_i e, and the sum over columns of e^2. fit, scaled_error: (count,
// columns) column-major.
template <class A>
struct Residual {
  const A *targets, *fit;
  int64_t count, columns, basis;
  const double *coef, *weight;  // coef[c * basis + k]
  A* scaled_error;
  double* square;
  LVM_HD void operator()(int64_t i) const {
    double sum = 0;
    for (int64_t c = 0; c < columns; ++c) {
      double e = static_cast<double>(targets[c * count + i]) - static_cast<double>(fit[c * count + i]);
      for (int64_t k = 0; k < basis; ++k) {
        e -= coef[c * basis + k] * static_cast<double>(targets[(columns + k) * count + i]);
      }
      scaled_error[c * count + i] = static_cast<A>(weight[i] * e);
      sum += e * e;
    }
    square[i] = sum;
  }
};

// targets = root of the weight times (targets - fit), entry by entry.
template <class A>
struct RootError {
  A* targets;
  const A* fit;
  int64_t count;
  const double* weight;
  LVM_HD void operator()(int64_t at) const {
    const double e = static_cast<double>(targets[at]) - static_cast<double>(fit[at]);
    targets[at] = static_cast<A>(sqrt_(weight[at % count]) * e);
  }
};

// The variational bound, weights of their own: w_i = weight_i E k_i, and by the noise of row i
//   c_i = -1/2 weight_i^2 (columns / weight_i - e_i^2 - columns k_ii + k_i . E k_i),
// or the same with v_i and L^T E L in the place of k_i and E.
template <class A>
struct VfeColumn {
  const A* k;
  A* w;  // in: E k_i
  int64_t m;
  KernelDiagonal<A> prior;
  double columns;
  const double *weight, *square;
  double* by_noise;
  LVM_HD void operator()(int64_t i) const {
    const double inner = dot_of(k + i * m, w + i * m, m), a = weight[i];
    by_noise[i] = -0.5 * a * a * (columns / a - square[i] - columns * prior.value(i) + inner);
    for (int64_t j = 0; j < m; ++j) w[i * m + j] = static_cast<A>(a * static_cast<double>(w[i * m + j]));
  }
};

// FITC: c_i as above with columns v_i . B^-1 v_i in the place of the last two terms; then L^T times the cotangent of k_i but
// for the errors' part, -columns weight_i B^-1 v_i - 2 c_i v_i, and c_i v_i.
template <class A>
struct FitcColumn {
  const A* v;
  A *w, *turned;  // w in: B^-1 v_i; turned out: c_i v_i
  int64_t m;
  double columns;
  const double *weight, *square;
  double* by_noise;
  LVM_HD void operator()(int64_t i) const {
    const double inner = dot_of(v + i * m, w + i * m, m), a = weight[i];
    const double c = -0.5 * a * a * (columns / a - square[i] - columns * inner);
    by_noise[i] = c;
    for (int64_t j = 0; j < m; ++j) {
      const double value = static_cast<double>(v[i * m + j]);
      w[i * m + j] = static_cast<A>(-columns * a * static_cast<double>(w[i * m + j]) - 2.0 * c * value);
      turned[i * m + j] = static_cast<A>(c * value);
    }
  }
};

struct Product {
  const double *a, *b;
  LVM_HD double operator()(int64_t, int64_t i) const { return a[i] * b[i]; }
};
struct Value {
  const double* a;
  LVM_HD double operator()(int64_t, int64_t i) const { return a[i]; }
};
struct Scaled {
  const double* a;
  double factor;
  double* out;
  LVM_HD void operator()(int64_t i) const { out[i] = factor * a[i]; }
};

// Square matrices of which the upper triangle (column-major) counts: their diagonals; the first pivot that is not above
// `least`.
template <class G>
struct AddDiagonal {  // of matrices that follow each other; i over all their diagonals
  G* a;
  int64_t m;
  double diagonal;
  LVM_HD void operator()(int64_t i) const {
    G& entry = a[i / m * m * m + i % m * (m + 1)];
    entry = static_cast<G>(static_cast<double>(entry) + diagonal);
  }
};
struct StoreDiagonal {
  const double* a;
  int64_t m;
  double* out;
  LVM_HD void operator()(int64_t i) const { out[i] = a[i * (m + 1)]; }
};
struct SmallPivot {
  const double* a;
  int64_t m;
  double least;
  LVM_HD bool operator()(int64_t i) const {
    const double pivot = a[i * (m + 1)];
    return !(pivot > 0 && pivot * pivot > least);
  }
};
// out = identity I + inverse B^-1 + gram (B - I) [+ square], symmetric and whole, from upper triangles.
struct Combine {
  const double *b_inverse, *gram, *square;  // square: whole, or null
  int64_t m;
  double identity, of_inverse, of_gram;
  double* out;
  LVM_HD void operator()(int64_t at) const {
    const int64_t i = at / m, j = at % m, upper = i < j ? j * m + i : i * m + j;
    double value = of_inverse * b_inverse[upper] + of_gram * gram[upper] + (i == j ? identity : 0.0);
    if (square) value += 0.5 * (square[i * m + j] + square[j * m + i]);
    out[at] = value;
  }
};

}  // namespace lvm

// Likelihoods of classes: p(y | f) with one latent number per class, f_c ~ N(m_c, v_c) independent.
#pragma once

#include "core/special.hpp"

namespace lvm {

// softmax: x holds `nodes` points of N(0, I), `classes` numbers each, which count alike. robust_max: x holds the nodes of
// Gauss and Hermite and then as many weights.
template <class R>
struct MulticlassTask {
  int64_t classes, nodes;
  const R* x;
  R epsilon;
};

constexpr double kNarrowClass = 1e-3;  // a standard deviation below which derivatives by v are taken from second ones

// A class's latents, float or double, as R.
template <class R, class T>
struct ClassLatents {
  const T *m, *v;
  LVM_HD R mean(int64_t c) const { return static_cast<R>(m[c]); }
  LVM_HD R std(int64_t c) const { return sqrt_(static_cast<R>(v[c])); }
};

// log sum_c exp(f_c) of point s, and f_y.
template <class R, class T>
LVM_HD R softmax_total(const MulticlassTask<R>& task, const ClassLatents<R, T>& q, int64_t s, int64_t y, R& own) {
  const R* z = task.x + s * task.classes;
  R most = -R(INFINITY), sum = R(0);
  for (int64_t c = 0; c < task.classes; ++c) {
    const R f = q.mean(c) + q.std(c) * z[c];
    if (c == y) own = f;
    if (f > most) {
      sum = sum * exp_(most - f) + R(1);
      most = f;
    } else {
      sum += exp_(f - most);
    }
  }
  return most + log_(sum);
}

// The mean of f_y - log sum_c exp(f_c) over the nodes, with the derivatives of that sum.
//
// By v_c it is that of m_c + sqrt(v_c) z; for sqrt(v_c) < kNarrowClass the mean of -p_c (1 - p_c) / 2, to which it tends.
template <class R, class T>
LVM_HD R softmax_expectation(const MulticlassTask<R>& task, const ClassLatents<R, T>& q, int64_t y, R* by_mean,
                             R* by_variance) {
  const R share = R(1) / static_cast<R>(task.nodes);
  for (int64_t c = 0; c < task.classes; ++c) by_mean[c] = by_variance[c] = R(0);
  R value = R(0);
  for (int64_t s = 0; s < task.nodes; ++s) {
    R own = R(0);
    const R total = softmax_total(task, q, s, y, own), *z = task.x + s * task.classes;
    value += own - total;
    for (int64_t c = 0; c < task.classes; ++c) {
      const R std = q.std(c), p = exp_(q.mean(c) + std * z[c] - total), d = (c == y ? R(1) : R(0)) - p;
      by_mean[c] += d;
      by_variance[c] += std < R(kNarrowClass) ? p * (p - R(1)) : d * z[c] / std;
    }
  }
  for (int64_t c = 0; c < task.classes; ++c) {
    by_mean[c] *= share;
    by_variance[c] *= R(0.5) * share;
  }
  return value * share;
}

// log of the mean of p(y | f) over the nodes.
template <class R, class T>
LVM_HD R softmax_predictive(const MulticlassTask<R>& task, const ClassLatents<R, T>& q, int64_t y) {
  R most = -R(INFINITY), sum = R(0);
  for (int64_t s = 0; s < task.nodes; ++s) {
    R own = R(0);
    const R total = softmax_total(task, q, s, y, own), term = own - total;
    if (term > most) {
      sum = sum * exp_(most - term) + R(1);
      most = term;
    } else {
      sum += exp_(term - most);
    }
  }
  return most + log_(sum / static_cast<R>(task.nodes));
}

// The square of its inverse is a number.
template <class R>
LVM_HD R least_std() {
  return static_cast<R>(sizeof(R) == 8 ? 1e-150 : 1e-18);
}

template <class R, class T>
LVM_HD R class_std(const ClassLatents<R, T>& q, int64_t c) {
  return max_(q.std(c), least_std<R>());  // a step where there is no variance
}

template <class R, class T>
LVM_HD R largest_of_two(const ClassLatents<R, T>& q, int64_t y, R factor, R* by_mean, R* by_variance) {
  const int64_t other = 1 - y;
  const R variance = max_(static_cast<R>(q.v[0]) + static_cast<R>(q.v[1]), least_std<R>() * least_std<R>());
  const R inverse = R(1) / sqrt_(variance), z = (q.mean(y) - q.mean(other)) * inverse;
  R density;
  const R p = normal_cdf(z, density);
  if (by_mean && density > R(0)) {
    const R by_m = factor * density * inverse, by_v = R(-0.5) * by_m * z * inverse;
    by_mean[y] += by_m;
    by_mean[other] -= by_m;
    by_variance[y] += by_v;
    by_variance[other] += by_v;
  }
  return p;
}

// P(f_y is the largest) = E prod_{c != y} Phi((f_y - m_c) / sqrt(v_c)), f_y ~ N(m_y, v_y), by the nodes of f_y; two classes
// in closed form. Derivatives of what is computed are added, times `factor`, if by_mean is not null.
//
// D. Hernandez-Lobato, J. M. Hernandez-Lobato, P. Dupont, Robust multi-class Gaussian process classification (NIPS 2011).
template <class R, class T>
LVM_HD R largest(const MulticlassTask<R>& task, const ClassLatents<R, T>& q, int64_t y, R factor, R* by_mean,
                 R* by_variance) {
  if (task.classes == 2) return largest_of_two(q, y, factor, by_mean, by_variance);
  const R *x = task.x, *w = x + task.nodes, s = q.std(y);
  R least = R(INFINITY), total = R(0);
  for (int64_t c = 0; c < task.classes; ++c) {
    const R std = class_std(q, c);
    if (c != y && std < least) least = std;
  }
  const bool narrow = s < R(kNarrowClass) * least;
  for (int64_t j = 0; j < task.nodes; ++j) {
    const R f = q.mean(y) + s * x[j];
    R p = R(1), ratios = R(0), bends = R(0);
    for (int64_t c = 0; c < task.classes && p > R(0); ++c) {
      if (c == y) continue;
      const R inverse = R(1) / class_std(q, c), z = (f - q.mean(c)) * inverse;
      R density;
      const R cdf = normal_cdf(z, density);
      p *= cdf;
      if (p > R(0)) {
        const R r = density / cdf * inverse;
        ratios += r;
        bends -= r * (r + z * inverse);
      }
    }
    total += w[j] * p;
    if (!by_mean || !(p > R(0))) continue;
    const R weight = factor * w[j] * p;
    by_mean[y] += weight * ratios;
    by_variance[y] += R(0.5) * weight * (narrow ? ratios * ratios + bends : ratios * x[j] / s);
    for (int64_t c = 0; c < task.classes; ++c) {
      if (c == y) continue;
      const R inverse = R(1) / class_std(q, c), z = (f - q.mean(c)) * inverse;
      R density;
      const R cdf = normal_cdf(z, density), r = weight * density / cdf * inverse;
      if (!(density > R(0))) continue;
      by_mean[c] -= r;
      by_variance[c] -= R(0.5) * r * z * inverse;
    }
  }
  return min_(total, R(1));
}

// E log p(y | f) where p = 1 - epsilon for the largest latent's class and epsilon / (classes - 1) for every other.
template <class R, class T>
LVM_HD R robust_max_expectation(const MulticlassTask<R>& task, const ClassLatents<R, T>& q, int64_t y, R* by_mean,
                                R* by_variance) {
  const R right = log1p_(-task.epsilon), wrong = log_(task.epsilon / static_cast<R>(task.classes - 1));
  for (int64_t c = 0; c < task.classes; ++c) by_mean[c] = by_variance[c] = R(0);
  const R p = largest(task, q, y, right - wrong, by_mean, by_variance);
  return wrong + (right - wrong) * p;
}

// E p(y | f).
template <class R, class T>
LVM_HD R robust_max_probability(const MulticlassTask<R>& task, const ClassLatents<R, T>& q, int64_t y) {
  const R p = largest(task, q, y, R(0), static_cast<R*>(nullptr), static_cast<R*>(nullptr));
  return (R(1) - task.epsilon) * p + task.epsilon / static_cast<R>(task.classes - 1) * (R(1) - p);
}

}  // namespace lvm

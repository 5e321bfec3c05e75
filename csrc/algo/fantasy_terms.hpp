// What simulated outcomes at q candidate points X_c do to a Gaussian process, number by number; algo/knowledge_gradient.hpp
// has the formulae.
#pragma once

#include <cstdint>

#include "core/config.hpp"
#include "device/leaf_map.hpp"

namespace lvm {

// Sigma = k_n(X_c, X_c) + noise (q, q), mu(X_c) (q,) and the variances of the noise-free function (q,), from
// k(X_c, [X, X_c]) and V = L^-1 k(X, X_c). White noise of the kernel is in Sigma alone.
struct CandidateMoments {
  KernelDiagonal<double> diagonal;
  const double* k;  // (q, n + q)
  const double* v;  // (q, n)
  const double *alpha, *mean, *x;
  double noise;
  int64_t n, q, d;
  double* out;  // one after the other
  LVM_HD void operator()(int64_t at) const {
    const int64_t i = at / (q + 1), j = at % (q + 1);
    double total = 0;
    if (j == q) {
      for (int64_t r = 0; r < n; ++r) total += k[i * (n + q) + r] * alpha[r];
      for (int64_t f = 0; f < d; ++f) total += mean[1 + f] * x[i * d + f];
      out[q * q + i] = mean[0] + total;
      return;
    }
    for (int64_t r = 0; r < n; ++r) total += v[i * n + r] * v[j * n + r];
    const double covariance = k[i * (n + q) + n + j] - total;
    out[i * q + j] = covariance;
    if (i != j) return;
    out[q * q + q + i] = covariance;
    const double prior = diagonal.value(i), left = max_(prior - total, 0.0) + noise;
    out[i * q + i] = left > 2.2204460492503131e-16 * n * prior ? left : 0.0;  // rounding is no variance
  }
};

// Weights of fantasy m at [X, X_c]: alpha - W v_m, v_m.
struct FantasyWeights {
  const double *alpha, *w, *v;  // (n,), (q, n), (M, q)
  int64_t n, q;
  double* out;  // (M, n + q)
  LVM_HD void operator()(int64_t at) const {
    const int64_t m = at / (n + q), i = at % (n + q);
    if (i >= n) {
      out[at] = v[m * q + i - n];
      return;
    }
    double total = alpha[i];
    for (int64_t j = 0; j < q; ++j) total -= w[j * n + i] * v[m * q + j];
    out[at] = total;
  }
};

// The best of the points for each fantasy: the first has the smallest g, each next one the smallest of those that are a fifth
// of the box or more from all before it.
struct BestPoints {
  const double *mu, *p, *v, *z;  // (N,), (q, N), (M, q), (N, d)
  const double* width;           // (d,): of the box
  int64_t n, q, d, starts;
  int64_t* best;  // (M, starts), -1 where there is none
  double* value;
  LVM_HD void operator()(int64_t m) const {
    for (int64_t s = 0; s < starts; ++s) {
      int64_t found = -1;
      double least = 0;
      for (int64_t i = 0; i < n; ++i) {
        double g = mu[i];
        for (int64_t j = 0; j < q; ++j) g += v[m * q + j] * p[j * n + i];
        if ((found < 0 || g < least) && (s == 0 || apart(m, s, i))) found = i, least = g;
      }
      best[m * starts + s] = found;
      value[m * starts + s] = least;
    }
  }
  LVM_HD bool apart(int64_t m, int64_t s, int64_t i) const {
    for (int64_t before = 0; before < s; ++before) {
      const int64_t other = best[m * starts + before];
      double most = 0;
      for (int64_t f = 0; f < d && other >= 0; ++f) {
        const double gap = (z[i * d + f] - z[other * d + f]) / width[f];
        most = max_(most, gap < 0 ? -gap : gap);
      }
      if (most < 0.2) return false;
    }
    return true;
  }
};

// p (M, q) = k_n(X_c, x_m) from k (M, n + q + ...) between the x and [X, X_c, ..].
struct FantasyCovariances {
  const double *k, *w;
  int64_t stride, n, q;
  double* p;
  LVM_HD void operator()(int64_t at) const {
    const int64_t m = at / q, j = at % q;
    double total = 0;
    for (int64_t i = 0; i < n; ++i) total += k[m * stride + i] * w[j * n + i];
    p[at] = k[m * stride + n + j] - total;
  }
};

// Cotangent of k(X_c, [X, X_c, x_1 .. x_M]): -2 S W^T - U^T, 2 S without its diagonal, P^T.
struct CandidateCotangent {
  const double *s, *w, *u, *p;  // (q, q), (q, n), (q, n), (M, q)
  int64_t n, q, fantasies;
  double* out;  // (q, n + q + M)
  LVM_HD void operator()(int64_t at) const {
    const int64_t columns = n + q + fantasies, j = at / columns, i = at % columns;
    if (i >= n + q) {
      out[at] = p[(i - n - q) * q + j];
    } else if (i >= n) {
      out[at] = i - n == j ? 0.0 : 2.0 * s[j * q + i - n];
    } else {
      double total = u[j * n + i];
      for (int64_t l = 0; l < q; ++l) total += 2.0 * s[j * q + l] * w[l * n + i];
      out[at] = -total;
    }
  }
};

}  // namespace lvm

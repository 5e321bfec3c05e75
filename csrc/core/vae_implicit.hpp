// Codes without a density, z = f(x, eps), and the network T(x, z) that learns log q(z | x) - log p(z): see
// algo/vae_implicit.hpp. Rows r = i samples + l, first those of q, then as many of the prior.
#pragma once

#include "core/config.hpp"
#include "core/ratio_loss.hpp"
#include "core/vae_codes.hpp"

namespace lvm {

// Divergence of row i: mean_l T(x_i, z_il).
template <class T>
struct ImplicitDivergence {
  const T* t;
  double* kl;
  int64_t samples;
  LVM_HD void operator()(int64_t i) const {
    double sum = 0;
    for (int64_t l = 0; l < samples; ++l) sum += static_cast<double>(t[i * samples + l]);
    kl[i] = sum / static_cast<double>(samples);
  }
};

// Row i's share of the loss of T, the fourth of its terms.
template <class T>
struct RatioLossOfRow {
  const T* t;
  double* terms;
  int64_t samples, rows;
  LVM_HD void operator()(int64_t i) const {
    const RatioLossShape logistic{RatioLoss::logistic, 1, 1};
    double sum = 0, slope;
    for (int64_t r = i * samples; r < (i + 1) * samples; ++r) {
      sum += ratio_term(logistic, true, static_cast<double>(t[r]), slope);
      sum += ratio_term(logistic, false, static_cast<double>(t[rows + r]), slope);
    }
    terms[4 * i + 3] = sum / static_cast<double>(samples);
  }
};

struct RatioLossTerm {
  const double* terms;
  LVM_HD double operator()(int64_t, int64_t i) const { return terms[4 * i + 3]; }
};

// Cotangents of T: of its loss, 2 rows of them; of beta times the mean divergence, the first rows.
template <class T>
struct RatioSlope {
  const T* t;
  T* d;
  int64_t rows;
  LVM_HD void operator()(int64_t r) const {
    double slope;
    ratio_term(RatioLossShape{RatioLoss::logistic, 1, 1}, r < rows, static_cast<double>(t[r]), slope);
    d[r] = T(slope / static_cast<double>(rows));
  }
};
template <class T>
struct DivergenceSlope {
  const double* numbers;
  T* d;
  int64_t rows;
  LVM_HD void operator()(int64_t r) const { d[r] = T(numbers[kBeta] / static_cast<double>(rows)); }
};

// d_z += the last columns of d_rows (rows, features + size).
template <class T>
struct AddCodeSlope {
  const T* d_rows;
  T* d_z;
  int64_t features, size;
  LVM_HD void operator()(int64_t index) const {
    d_z[index] += d_rows[index / size * (features + size) + features + index % size];
  }
};

}  // namespace lvm

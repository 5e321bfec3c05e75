// Codes of a variational autoencoder: drawn from what the encoder says of a row, their divergence, and the pull-backs.
//
// n rows, `samples` codes of `size` numbers for each, row r = i samples + l. Step's numbers stand in memory, so that a recorded
// step can be replayed with others.
#pragma once

#include "core/config.hpp"
#include "core/step_numbers.hpp"
#include "core/vae_terms.hpp"

namespace lvm {

enum VaeNumber : int64_t { kRate, kBeta, kTemperature, kPlace, kVaeNumbers };

struct SetVaeNumbers {
  double* numbers;
  double rate, beta, temperature, place;
  LVM_HD void operator()(int64_t) const {
    numbers[kRate] = rate;
    numbers[kBeta] = beta;
    numbers[kTemperature] = temperature;
    numbers[kPlace] = place;
  }
};

// sigma = exp(s / 2), s = log_var held within [low, high].
template <class T>
struct CodeDeviation {
  const T* log_var;
  T* sigma;
  double low, high;
  LVM_HD void operator()(int64_t i) const { sigma[i] = exp_(T(0.5) * clamped(log_var[i], T(low), T(high))); }
};

// z = mean + sigma eps.
template <class T>
struct DrawCode {
  const T *mean, *sigma, *eps;
  T* z;
  int64_t samples, size;
  LVM_HD void operator()(int64_t index) const {
    const int64_t i = index / size / samples * size + index % size;
    z[index] = mean[i] + sigma[i] * eps[index];
  }
};

// KL(N(mean, sigma^2) || N(0, 1)) of row i: (sigma^2 + mean^2 - 1) / 2 - log sigma, summed.
template <class T>
struct CodeDivergence {
  const T *mean, *log_var;
  double* kl;
  int64_t size;
  double low, high;
  LVM_HD void operator()(int64_t i) const {
    double sum = 0;
    for (int64_t k = i * size; k < (i + 1) * size; ++k) {
      const double s = clamped(static_cast<double>(log_var[k]), low, high), m = static_cast<double>(mean[k]);
      sum += 0.5 * (expm1_(s) - s + m * m);
    }
    kl[i] = sum;
  }
};

// log p(z) - log q(z | x) of a row's code.
template <class T>
struct CodeRatio {
  const T *z, *eps, *log_var;
  double* ratio;
  int64_t samples, size;
  double low, high;
  LVM_HD void operator()(int64_t r) const {
    double sum = 0;
    for (int64_t k = 0; k < size; ++k) {
      const double e = static_cast<double>(eps[r * size + k]), c = static_cast<double>(z[r * size + k]);
      sum += e * e - c * c + clamped(static_cast<double>(log_var[r / samples * size + k]), low, high);
    }
    ratio[r] = 0.5 * sum;
  }
};

// Objective, mean log p(x | z) and divergence of row i, of `width` terms; weight[r], where ratio is given: the share of a code in
// log mean_l exp(value + beta ratio), over all rows.
struct RowObjective {
  const double *numbers, *value, *ratio, *kl;
  double *terms, *weight;
  int64_t samples, rows, width;
  LVM_HD void operator()(int64_t i) const {
    const double beta = numbers[kBeta], *v = value + i * samples;
    double mean = 0;
    for (int64_t l = 0; l < samples; ++l) mean += v[l];
    mean /= static_cast<double>(samples);
    double objective = mean - beta * kl[i];
    if (ratio) {
      const double* r = ratio + i * samples;
      double *w = weight + i * samples, most = v[0] + beta * r[0], sum = 0;
      for (int64_t l = 0; l < samples; ++l) {
        const double log_w = w[l] = v[l] + beta * r[l];
        most = log_w > most || log_w != log_w ? log_w : most;
      }
      for (int64_t l = 0; l < samples; ++l) sum += w[l] = exp_(w[l] - most);
      for (int64_t l = 0; l < samples; ++l) w[l] /= sum * static_cast<double>(rows);
      objective = most + log_(sum / static_cast<double>(samples));
    }
    double* to = terms + width * i;
    to[0] = objective;
    to[1] = mean;
    to[2] = kl[i];
  }
};

struct SumOfTwo {
  const double *a, *b;
  double* out;
  LVM_HD void operator()(int64_t i) const { out[i] = a[i] + b[i]; }
};

struct TermOfRow {
  const double* terms;
  int64_t width;
  LVM_HD double operator()(int64_t w, int64_t i) const { return terms[width * i + w]; }
};

// From d_z, cotangents of the loss by codes through the decoder, those by mean and log_var: see algo/vae.hpp.
template <class T>
struct PullCodes {
  const double *numbers, *weight;  // weight: null for the mean of terms
  const T *mean, *log_var, *sigma, *z, *eps, *d_z;
  T *d_mean, *d_log_var;
  int64_t samples, size, rows, twice;  // twice: doubly reparameterised
  double low, high;
  LVM_HD void operator()(int64_t index) const {
    const int64_t i = index / size, k = index % size;
    const double beta = numbers[kBeta], n = static_cast<double>(rows), s = static_cast<double>(sigma[index]);
    double by_mean = 0, by_log_var = 0;
    for (int64_t l = 0; l < samples; ++l) {
      const int64_t r = i * samples + l, at = r * size + k;
      double d = static_cast<double>(d_z[at]);
      const double e = static_cast<double>(eps[at]);
      if (weight) {
        const double w = weight[r];
        d += beta * w * (static_cast<double>(z[at]) - (twice ? e / s : 0.0));
        if (twice) {
          d *= 1 - beta + beta * (w * n);
        } else {
          by_log_var -= 0.5 * beta * w;
        }
      }
      by_mean += d;
      by_log_var += 0.5 * s * e * d;
    }
    if (!weight) {
      by_mean += beta / n * static_cast<double>(mean[index]);
      by_log_var += 0.5 * beta / n * expm1_(clamped(static_cast<double>(log_var[index]), low, high));
    }
    d_mean[index] = T(by_mean);
    d_log_var[index] = T(clamped_slope(static_cast<double>(log_var[index]), low, high, by_log_var));
  }
};

// KL(q || p) of row i from its draws: minus the mean of log p - log q.
struct SampledDivergence {
  const double* ratio;
  double* kl;
  int64_t samples;
  LVM_HD void operator()(int64_t i) const {
    double sum = 0;
    for (int64_t r = i * samples; r < (i + 1) * samples; ++r) sum += ratio[r];
    kl[i] = -sum / static_cast<double>(samples);
  }
};

// Codes z = f(mean + sigma eps) of a flow, each with its share of the loss in weight, or 1 / rows: what log p(z) and log |det df|
// add to the cotangents.
template <class T>
struct PullFlowRatio {
  const double *numbers, *weight;
  const T* z;
  T* d_z;
  double* d_log_det;
  int64_t size, rows;
  LVM_HD void operator()(int64_t index) const {
    const int64_t r = index / size;
    const double share = numbers[kBeta] * (weight ? weight[r] : 1 / static_cast<double>(rows));
    d_z[index] += T(share * static_cast<double>(z[index]));
    if (index % size == 0) d_log_det[r] = -share;
  }
};
// From d, cotangents of mean + sigma eps, those by mean and log_var; log q has the logarithm of sigma too.
template <class T>
struct PullFlowCodes {
  const double* d_log_det;
  const T *log_var, *sigma, *eps, *d;
  T *d_mean, *d_log_var;
  int64_t samples, size;
  double low, high;
  LVM_HD void operator()(int64_t index) const {
    const int64_t i = index / size, k = index % size;
    double by_mean = 0, by_log_var = 0;
    for (int64_t r = i * samples; r < (i + 1) * samples; ++r) {
      const double slope = static_cast<double>(d[r * size + k]);
      by_mean += slope;
      by_log_var += 0.5 * (static_cast<double>(sigma[index]) * static_cast<double>(eps[r * size + k]) * slope + d_log_det[r]);
    }
    d_mean[index] = T(by_mean);
    d_log_var[index] = T(clamped_slope(static_cast<double>(log_var[index]), low, high, by_log_var));
  }
};

// Gumbel draws from exponential ones.
template <class T>
struct GumbelDraw {
  T* eps;
  LVM_HD void operator()(int64_t i) const { eps[i] = -log_(eps[i] > T(1e-30) ? eps[i] : T(1e-30)); }
};

// z = softmax((logits + eps) / temperature) over group g of all codes' groups of `classes`.
template <class T>
struct RelaxedCode {
  const double* numbers;
  const T *logits, *eps;
  T* z;
  int64_t samples, size, classes;
  LVM_HD void operator()(int64_t g) const {
    const int64_t groups = size / classes, at = g * classes, from = g / groups / samples * size + g % groups * classes;
    const double temperature = numbers[kTemperature];
    double most = -large_(0.0), sum = 0;
    for (int64_t c = 0; c < classes; ++c) {
      const double a = static_cast<double>(logits[from + c]) + static_cast<double>(eps[at + c]);
      most = a > most || a != a ? a : most;
    }
    for (int64_t c = 0; c < classes; ++c) {
      sum += exp_((static_cast<double>(logits[from + c]) + static_cast<double>(eps[at + c]) - most) / temperature);
    }
    for (int64_t c = 0; c < classes; ++c) {
      z[at + c] = T(exp_((static_cast<double>(logits[from + c]) + static_cast<double>(eps[at + c]) - most) / temperature) / sum);
    }
  }
};

// log softmax(a), entry c of `classes`: a[c] less the shift that this returns.
template <class T>
LVM_HD double log_sum_exp(const T* a, int64_t classes) {
  double most = static_cast<double>(a[0]), sum = 0;
  for (int64_t c = 1; c < classes; ++c) {
    const double x = static_cast<double>(a[c]);
    most = x > most || x != x ? x : most;
  }
  for (int64_t c = 0; c < classes; ++c) sum += exp_(static_cast<double>(a[c]) - most);
  return most + log_(sum);
}

// KL(softmax(logits) || uniform) of row i, summed over its groups.
template <class T>
struct RelaxedDivergence {
  const T* logits;
  double* kl;
  int64_t size, classes;
  LVM_HD void operator()(int64_t i) const {
    double sum = 0;
    for (int64_t g = i * size; g < (i + 1) * size; g += classes) {
      const double shift = log_sum_exp(logits + g, classes);
      for (int64_t c = 0; c < classes; ++c) {
        const double log_p = static_cast<double>(logits[g + c]) - shift;
        sum += exp_(log_p) * (log_p + log_(static_cast<double>(classes)));
      }
    }
    kl[i] = sum;
  }
};

// d_logits of group g of a row: sum_l z (d - sum z d) / temperature + beta / n pi (log pi - sum pi log pi).
template <class T>
struct PullRelaxed {
  const double* numbers;
  const T *logits, *z, *d_z;
  T* d_logits;
  int64_t samples, size, classes, rows;
  LVM_HD void operator()(int64_t g) const {
    const int64_t groups = size / classes, i = g / groups, place = g % groups * classes, from = i * size + place;
    const double temperature = numbers[kTemperature], weight = numbers[kBeta] / static_cast<double>(rows);
    const double shift = log_sum_exp(logits + from, classes);
    double entropy = 0;
    for (int64_t c = 0; c < classes; ++c) {
      const double log_p = static_cast<double>(logits[from + c]) - shift;
      entropy -= exp_(log_p) * log_p;
    }
    for (int64_t c = 0; c < classes; ++c) {
      const double log_p = static_cast<double>(logits[from + c]) - shift;
      d_logits[from + c] = T(weight * exp_(log_p) * (log_p + entropy));
    }
    for (int64_t l = 0; l < samples; ++l) {
      const int64_t at = (i * samples + l) * size + place;
      double inner = 0;
      for (int64_t c = 0; c < classes; ++c) inner += static_cast<double>(z[at + c]) * static_cast<double>(d_z[at + c]);
      for (int64_t c = 0; c < classes; ++c) {
        d_logits[from + c] += T(static_cast<double>(z[at + c]) * (static_cast<double>(d_z[at + c]) - inner) / temperature);
      }
    }
  }
};

// Log variances of features, held within their limits, and their precisions. Of `divisor`: sums are given, not means.
template <class T>
struct FeatureVariance {
  const T* free;       // (1,) or (features,), or null
  const double* sums;  // (features,), or null
  T *v, *precision;
  int64_t one;  // free is one number
  double divisor, low, high;
  LVM_HD void operator()(int64_t j) const {
    v[j] = clamped(free ? free[one ? 0 : j] : T(sums[j] / divisor), T(low), T(high));
    precision[j] = exp_(T(0) - v[j]);
  }
};
// Their cotangents from the sums over rows: (1,) or (features,).
template <class T>
struct FreeVarianceSlope {
  const T* free;
  const double* sums;
  T* d;
  int64_t features, one;
  double low, high;
  LVM_HD void operator()(int64_t j) const {
    double sum = sums[j];
    for (int64_t k = 1; one && k < features; ++k) sum += sums[k];
    d[j] = T(clamped_slope(static_cast<double>(free[j]), low, high, sum));
  }
};
template <class T>
struct BatchVarianceSlope {
  const double *totals, *sums;  // of log variances, of slopes
  T* d;                         // (rows, features)
  int64_t features;
  double rows, low, high;
  LVM_HD void operator()(int64_t index) const {
    const int64_t j = index % features;
    d[index] = T(clamped_slope(totals[j] / rows, low, high, sums[j]) / rows);
  }
};

// The means of a step's three terms, the norm of its gradient and the means of further terms to its place, NaN where nothing
// changes any more; the gradient's scale.
struct FinishVaeStep {
  const double *numbers, *sums, *square;
  double *out, *scale;
  double rows, most;
  int64_t width;
  LVM_HD void operator()(int64_t) const {
    double* to = out + (width + 1) * static_cast<int64_t>(numbers[kPlace]);
    const bool lost = *scale < 0;
    double all = 0;
    for (int64_t w = 0; w < width; ++w) {
      const double mean = lost ? sqrt_(-1.0) : sums[w] / rows;
      to[w < 3 ? w : w + 1] = mean;
      if (w != 1 && w != 2) all += mean;
    }
    to[3] = sqrt_(*square);
    FinishGradient{&all, square, scale, most}(0);
  }
};

}  // namespace lvm

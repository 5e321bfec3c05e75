// Terms of a variational autoencoder's bound that a decoder's output has, in nats with their constants, and their cotangents.
#pragma once

#include "core/config.hpp"
#include "core/special.hpp"

namespace lvm {

enum class RowLikelihood : int64_t { bernoulli, gaussian, categorical };
enum class RowVariance : int64_t { fixed, shared, feature, batch, row, sample };

constexpr double kLogTwoPi = 1.83787706640934548356;

// x log k + (1 - x) log(1 - k) with k = 1 / (1 + exp(-a)); d: the slope of its negative by a, k - x.
template <class P>
LVM_HD P bernoulli_term(P x, P a, P& d) {
  const P e = exp_(P(0.0) - abs_(a));
  d = if_less_(a, P(0.0), e, P(1.0)) / (P(1.0) + e) - x;
  return x * a - (max_(a, P(0.0)) + log1p_(e));
}

// log N(x | mean, exp(v)) with precision = exp(-v); d: the slope of its negative by the mean, square: (x - mean)^2 precision,
// from which (1 - square) / 2 is that by v.
template <class P>
LVM_HD P gaussian_term(P x, P mean, P v, P precision, P& d, P& square) {
  const P r = mean - x;
  d = r * precision;
  square = r * d;
  return P(-0.5) * (square + v + P(kLogTwoPi));
}

// A number that is held within [low, high]: its slope is 1 inside, and outside where a step down the slope leads back.
template <class P>
LVM_HD P clamped(P v, P low, P high) {
  return if_less_(v, low, low, if_less_(high, v, high, v));
}
template <class P>
LVM_HD P clamped_slope(P v, P low, P high, P d) {
  const P above = if_less_(P(0.0), d, d, P(0.0)), below = if_less_(d, P(0.0), d, P(0.0));
  return if_less_(v, low, below, if_less_(high, v, above, d));
}

// Row r of `features` numbers of a decoder, of which the data's row r / samples is x.
//
// Gaussian: log variances are v (features,) with precision = exp(-v), clamped; or the mean of a row of `second`; or `second`
// itself. d_first, d_second: cotangents of the negative sum, times scale, or null (d_second also where v is given).
template <class T>
struct DecoderTerms {
  RowLikelihood likelihood;
  RowVariance variance;
  int64_t samples, features, classes;
  const T *x, *first, *second, *v, *precision;
  T *d_first, *d_second;
  double* value;  // (rows,)
  double scale, low, high;

  LVM_HD int64_t data(int64_t r) const { return r / samples * features; }
  LVM_HD bool by_entry() const { return variance == RowVariance::sample; }
  LVM_HD bool by_row() const { return variance == RowVariance::row; }
};

}  // namespace lvm

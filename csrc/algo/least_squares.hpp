// Small least-squares problems on the host.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace lvm {

// b (p x d, column-major) with G b = C for products [C G] (p x (d + p), column-major), G = H^T W H and C = H^T W Y; by
// Cholesky. A column of H that depends on those before it (what is left of it is below `dependent`) has coefficients 0.
inline std::vector<double> least_squares(int64_t p, int64_t d, const std::vector<double>& products, double dependent) {
  std::vector<double> g(products.begin() + p * d, products.end()), b(products.begin(), products.begin() + p * d);
  std::vector<bool> used(p);
  for (int64_t j = 0; j < p; ++j) {  // G = U^T U, column by column
    double pivot = g[j * p + j];
    const double before = pivot;
    for (int64_t i = 0; i < j; ++i) {
      if (!used[i]) continue;
      double value = g[j * p + i];
      for (int64_t k = 0; k < i; ++k) value -= used[k] ? g[i * p + k] * g[j * p + k] : 0.0;
      g[j * p + i] = value /= g[i * p + i];
      pivot -= value * value;
    }
    used[j] = before > 0 && pivot > dependent * before;
    g[j * p + j] = used[j] ? std::sqrt(pivot) : 0.0;
  }
  for (int64_t c = 0; c < d; ++c) {
    double* x = b.data() + c * p;
    for (int64_t j = 0; j < p; ++j) {
      for (int64_t i = 0; i < j; ++i) x[j] -= used[i] ? g[j * p + i] * x[i] : 0.0;
      x[j] = used[j] ? x[j] / g[j * p + j] : 0.0;
    }
    for (int64_t j = p; j-- > 0;) {
      for (int64_t k = j + 1; k < p; ++k) x[j] -= used[k] ? g[k * p + j] * x[k] : 0.0;
      x[j] = used[j] ? x[j] / g[j * p + j] : 0.0;
    }
  }
  return b;
}

}  // namespace lvm

#include "device/polya_gamma_tables.hpp"

#include <cmath>
#include <limits>
#include <memory>
#include <vector>

namespace lvm {
namespace {

// exp(-z^2 x / 2) f(x), f the density of PG(1, 0): log-concave, so that it has one mode and tangents of its logarithm
// lie above it.
struct TiltedDensity {
  double half_square;  // z^2 / 2

  double operator()(double x) const { return x > 0 ? polya_gamma_density(x) * std::exp(-half_square * x) : 0.0; }

  double log_slope(double x) const {
    constexpr double pi2 = 9.869604401089358;
    const bool small = x < 0.15915494309189535;
    const double q = std::exp(small ? -1.0 / x : -4.0 * pi2 * x);
    const double series = 1.0 - 3.0 * q + q * q * q * (5.0 - 7.0 * q * q * q);
    const double relative = q * (-3.0 + q * q * (15.0 - 42.0 * q * q * q)) / series;  // d log series / d log q
    const double slope = small ? -1.5 / x + (0.125 + relative) / (x * x) : -0.5 * pi2 - 4.0 * pi2 * relative;
    return slope - half_square;
  }

  double mode() const {
    double low = 1e-3, high = 1.0;
    for (int i = 0; i < 60; ++i) {
      const double middle = 0.5 * (low + high);
      (log_slope(middle) > 0 ? low : high) = middle;
    }
    return 0.5 * (low + high);
  }
};

// Strips of the given area from the mode to both sides, as many as it takes; at most kStrips + 1 of them.
std::vector<Strip> strips_of_area(const TiltedDensity& f, double mode, double area) {
  constexpr double slightly_less = 1.0 - 1e-12;
  std::vector<Strip> strips;
  double x = mode, height = f(mode);
  while (strips.size() <= kStrips) {  // to the right, the lower end is the right one
    const double slope = -f.log_slope(x);
    if (slope > 0 && height / slope <= area) {  // what is left goes under a tangent
      strips.push_back({x, -1.0 / slope, -1.0, area * slope});
      break;
    }
    const double width = area / height, next = f(x + width);
    strips.push_back({x, width, next / height * slightly_less, height});
    x += width;
    height = next;
  }
  x = mode;
  height = f(mode);
  while (strips.size() <= kStrips) {
    if (height * x <= area) {
      strips.push_back({0.0, x, 0.0, area / x});
      break;
    }
    const double width = area / height, next = f(x - width);
    strips.push_back({x - width, width, next / height * slightly_less, height});
    x -= width;
    height = next;
  }
  return strips;
}

void fill_strips(double z, Strip (&out)[kStrips]) {
  const TiltedDensity f = {0.5 * z * z};
  const double mode = f.mode(), mass = 1.0 / std::cosh(0.5 * z);
  double low = mass / kStrips, high = 2.0 * low;  // too small; large enough
  std::vector<Strip> strips = strips_of_area(f, mode, high);
  for (int i = 0; i < 20; ++i) {
    const double area = 0.5 * (low + high);
    std::vector<Strip> tried = strips_of_area(f, mode, area);
    if (tried.size() <= kStrips) {
      strips = std::move(tried);
      high = area;
    } else {
      low = area;
    }
  }
  strips.resize(kStrips, {0.0, 1.0, -1.0, std::numeric_limits<double>::infinity()});  // never accepted
  for (int i = 0; i < kStrips; ++i) out[i] = strips[i];
}

using Real = long double;
constexpr Real kPi = 3.141592653589793238462643383279502884L;

// k(t) = -log cos sqrt(t/2) for t of either sign, k'(t), and its higher derivatives
//   k^(m)(t) = (m - 1)! 2^m sum_j ((2j - 1)^2 pi^2 - 2t)^-m
Real cumulant_function(Real t) {
  const Real w = std::sqrt(std::abs(t) / 2);
  return t > 0 ? -std::log(std::cos(w)) : -(w - std::log(2.0L) + std::log1p(std::exp(-2 * w)));
}
Real cumulant_slope(Real t) {
  const Real w = std::sqrt(std::abs(t) / 2);
  if (w < 1e-6L) return 0.25L + t / 24;
  return (t > 0 ? std::tan(w) : std::tanh(w)) / (4 * w);
}
// out[m] for m = 2 to 6: 64 terms of the sum, and for the rest the integral of ((2 pi x)^2 - 2t)^-m from 64 on.
void cumulants(Real t, Real (&out)[7]) {
  constexpr int terms = 64;
  for (int m = 2; m <= 6; ++m) {
    const Real first = std::pow(2 * kPi * terms, Real(-2 * m)) * terms / (2 * m - 1);
    out[m] = first + 2 * t * m * std::pow(2 * kPi * terms, Real(-2 * m - 2)) * terms / (2 * m + 1);
  }
  for (int j = 1; j <= terms; ++j) {
    const Real one = 1 / ((2 * j - 1) * (2 * j - 1) * kPi * kPi - 2 * t);
    Real power = one;
    for (int m = 2; m <= 6; ++m) out[m] += power *= one;
  }
  Real scale = 2;
  for (int m = 2; m <= 6; ++m) out[m] *= scale *= 2 * (m - 1);
}

// t with k'(t) = y
Real tilt_of(Real y) {
  Real low = -1 / (8 * y * y), high = kPi * kPi / 2;  // k'(t) < 1/sqrt(-8t), and has a pole at pi^2/2
  for (int i = 0; i < 70; ++i) {
    const Real middle = (low + high) / 2;
    (cumulant_slope(middle) < y ? low : high) = middle;
  }
  return (low + high) / 2;
}

// What the cells hold at one y.
struct SaddleNumbers {
  Real exponent, factor, first, second;
};
SaddleNumbers saddle_numbers(Real y) {
  const Real t = tilt_of(y);
  Real k[7], rho[7];
  cumulants(t, k);
  for (int m = 3; m <= 6; ++m) rho[m] = k[m] / std::pow(k[2], Real(m) / 2);
  const Real r3 = rho[3], r4 = rho[4], r5 = rho[5], r6 = rho[6];
  const Real first = r4 / 8 - 5 * r3 * r3 / 24;
  const Real both = -r6 / 48 + 35 * r4 * r4 / 384 + 7 * r3 * r5 / 48 - 35 * r3 * r3 * r4 / 64 +
                    385 * r3 * r3 * r3 * r3 / 1152;
  return {cumulant_function(t) - t * y, -std::log(k[2]) / 2, first, both - first * first / 2};
}

// Powers of r from the values at the kExponentTerms Chebyshev nodes: the sum of the first `count` Chebyshev polynomials.
void interpolate(const Real (&values)[kExponentTerms], int count, double* out) {
  constexpr int N = kExponentTerms;
  Real result[N] = {}, before[N] = {}, now[N] = {1};  // T_(j-1), T_j in powers of r
  for (int j = 0; j < count; ++j) {
    Real c = 0;
    for (int i = 0; i < N; ++i) c += values[i] * std::cos(kPi * j * (i + 0.5L) / N) * (j ? 2 : 1) / N;
    for (int i = 0; i <= j; ++i) result[i] += c * now[i];
    Real next[N] = {};
    for (int i = 0; i + 1 < N; ++i) next[i + 1] = (j ? 2 : 1) * now[i];
    for (int i = 0; i < N; ++i) {
      next[i] -= before[i];
      before[i] = now[i];
      now[i] = next[i];
    }
  }
  for (int i = 0; i < count; ++i) out[i] = double(result[i]);
}

void fill_cell(int cell, SaddleCell& out) {
  const Real octave = std::ldexp(1.0L, cell / kCellsPerOctave - 6), width = octave / kCellsPerOctave;
  const Real centre = octave + (cell % kCellsPerOctave + 0.5L) * width;
  out[kCentre] = double(centre);
  out[kScale] = double(2 / width);
  Real exponent[kExponentTerms], factor[kExponentTerms], first[kExponentTerms], second[kExponentTerms];
  for (int i = 0; i < kExponentTerms; ++i) {
    const SaddleNumbers at = saddle_numbers(centre + std::cos(kPi * (i + 0.5L) / kExponentTerms) * width / 2);
    exponent[i] = at.exponent;
    factor[i] = at.factor;
    first[i] = at.first;
    second[i] = at.second;
  }
  interpolate(exponent, kExponentTerms, out + kExponent);
  interpolate(factor, kFactorTerms, out + kFactor);
  interpolate(first, kFirstTerms, out + kFirst);
  interpolate(second, kSecondTerms, out + kSecond);
}

}  // namespace

const PolyaGammaTables& polya_gamma_tables() {
  static const std::unique_ptr<const PolyaGammaTables> tables = [] {
    auto t = std::make_unique<PolyaGammaTables>();
    for (int i = 0; i < kStripTilts; ++i) fill_strips(double(i) / kTiltsPerUnit, t->strips[i]);
    for (int i = 0; i < kSaddleCells; ++i) fill_cell(i, t->saddle[i]);
    return t;
  }();
  return *tables;
}

}  // namespace lvm

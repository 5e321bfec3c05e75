// What the Polya-gamma draws read: strips under the density of PG(1, z) and the saddle-point expansion, cell by cell.
// csrc/device/polya_gamma_tables.cpp computes them.
#pragma once

#include <string.h>

#include "core/config.hpp"

namespace lvm {

constexpr int kStripTilts = 32, kTiltsPerUnit = 4;  // z = 0, 1/4, ... below 8
constexpr int kStrips = 128;                        // of each tilt; all have the same area

// x = left + width u. top is the height of the strip in units of exp(-z^2 x / 2) f(x), f the density of PG(1, 0), which
// at its lower end is ratio times as high. The tail, with a width below 0, is an exponential density.
struct Strip {
  double left, width, ratio, top;
};

constexpr int kExponentTerms = 8, kFactorTerms = 6;
constexpr double kSaddleLeast = 0x1p-6, kSaddleMost = 2.0;  // x / b
constexpr int kCellsPerOctave = 16, kSaddleCells = 7 * kCellsPerOctave;
constexpr int64_t kFirstCell = int64_t(1023 - 6) << 4;  // the upper bits of kSaddleLeast: exponent and 4 of the mantissa

// Polynomials in (y - centre) * scale, from -1 to 1, of k(t) - t y, -log k''(t) / 2 and the first two corrections: the
// numbers of a cell from each of these places on.
constexpr int kFirstTerms = 4, kSecondTerms = 3;
enum SaddlePlace : int {
  kCentre = 0,
  kScale = 1,
  kExponent = 2,
  kFactor = kExponent + kExponentTerms,
  kFirst = kFactor + kFactorTerms,
  kSecond = kFirst + kFirstTerms,
  kSaddleNumbers = 24  // one of them unused
};
using SaddleCell = double[kSaddleNumbers];

struct PolyaGammaTables {
  Strip strips[kStripTilts][kStrips];
  SaddleCell saddle[kSaddleCells];
  double beyond[4];  // read with the last cell by wide packs
};

// The cell that holds y: those of an octave are equally wide.
LVM_HD int saddle_cell(double y) {
  y = y < kSaddleLeast ? kSaddleLeast : y;
  int64_t bits;
  memcpy(&bits, &y, sizeof bits);
  const int64_t cell = (bits >> 48) - kFirstCell;
  return int(cell < kSaddleCells ? cell : kSaddleCells - 1);
}

// The density of PG(1, 0) at x > 0: of its two series the one that converges at once.
LVM_HD double polya_gamma_density(double x) {
  constexpr double half_pi2 = 4.934802200544679, meet = 0.15915494309189535;  // pi^2 / 2, 1 / (2 pi)
  const bool small = x < meet;
  const double rate = small ? 0.125 / x : half_pi2 * x;
  const double first = small ? 0.3989422804014327 / (x * sqrt_(x)) : 6.283185307179586;
  const double e = exp_(-rate);
  const double e2 = e * e, e4 = e2 * e2, q = e4 * e4, q3 = q * q * q;  // q <= exp(-2 pi)
  return first * e * (1.0 - 3.0 * q + q3 * (5.0 - 7.0 * q3));
}

struct UnitCumulants {
  double mean, variance, third;
};

// tanh(z/2) / (2z), z >= 0
LVM_HD double polya_gamma_unit_mean(double z) {
  if (z < 1e-4) return 0.25 - z * z / 48.0;
  const double e = expm1_(-z);
  return -e / (2.0 + e) / (z + z);
}

// The first three cumulants of PG(1, z), z >= 0: derivatives of k at t = -z^2/2, from 8 t k'' = 1 + 8 t k'^2 - 4 k' and
// what follows from it; for small z from k^(m) = (m - 1)! 2^m sum_j ((2j - 1)^2 pi^2 - 2t)^-m by their expansion.
LVM_HD UnitCumulants polya_gamma_unit_cumulants(double z) {
  const double mean = polya_gamma_unit_mean(z), t = -0.5 * z * z;
  if (z < 0.25) {  // k''(0) = 1/24, k'''(0) = 1/60, k''''(0) = 17/1680, 31/3780, 691/83160
    const double variance = 1.0 / 24 + t * (1.0 / 60 + t * (17.0 / 3360 + t * (31.0 / 22680 + t * 691.0 / 1995840)));
    const double third = 1.0 / 60 + t * (17.0 / 1680 + t * (31.0 / 7560 + t * 691.0 / 498960));
    return {mean, variance, third};
  }
  const double variance = (1.0 + 8.0 * t * mean * mean - 4.0 * mean) / (8.0 * t);
  const double third = (8.0 * mean * mean + 16.0 * t * mean * variance - 12.0 * variance) / (8.0 * t);
  return {mean, variance, third};
}

}  // namespace lvm

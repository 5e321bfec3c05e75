// The expected maximum of lines, max_i (a_i + b_i Z) with Z ~ N(0, 1), above the largest intercept.
//
//   gain = E[max_i (a_i + b_i Z)] - max_i a_i = sum_h (b_{h+1} - b_h) E[(Z - |c_h|)+]
//
// over the lines of their upper envelope in the order of slopes, of which line h + 1 is above line h from Z = c_h on (Frazier,
// Powell and Dayanik 2009, INFORMS J. Comput. 21, algorithm 1 and eq. 14). No term is negative: nothing cancels.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "core/special.hpp"
#include "device/buffer.hpp"
#include "device/thread_pool.hpp"

namespace lvm {

class LineEnvelope {
 public:
  explicit LineEnvelope(int64_t k) : k_(k), kept_(k), lines_(k), starts_(k + 1) {}

  // The gain of lines a, b (k,), and its derivatives d_a, d_b (k,): d_b_h = phi(c_{h-1}) - phi(c_h), and d_a_h is the
  // probability that line h is the maximum, less 1 for the one at Z = 0. Of lines that tie, one has the derivatives. All are
  // NaN where a difference of intercepts or slopes is not finite, or above 1e306.
  double gain(const double* a, const double* b, double* d_a, double* d_b) {
    top_ = 0;
    double least_a = a[0], least_b = b[0], most_b = b[0], sum_a = 0, sum_b = 0;  // sums: NaN unless all are finite
    for (int64_t i = 0; i < k_; ++i) {
      if (a[i] > a[top_]) top_ = i;
      least_a = std::min(least_a, a[i]);
      least_b = std::min(least_b, b[i]);
      most_b = std::max(most_b, b[i]);
      sum_a += 0 * a[i];
      sum_b += 0 * b[i];
    }
    const bool good = sum_a + sum_b == 0 && a[top_] - least_a < 1e306 && most_b - least_b < 1e306;
    std::fill(d_a, d_a + k_, good ? 0 : kNan);
    std::fill(d_b, d_b + k_, good ? 0 : kNan);
    if (!good) return kNan;
    if (most_b == least_b) return 0;
    envelope(k_ > kFew ? keep(a, b) : all(), a, b);
    return expectation(d_a, d_b);
  }

 private:
  struct Line {
    double a, b;
    int64_t i;
  };

  static constexpr double kFar = 39;   // where phi is 0
  static constexpr int64_t kFew = 32;  // lines that are sorted as they are
  static constexpr int kPoints = 8, kPairs = kPoints / 2, kBlock = 16;
  static constexpr double kKnots[kPoints + 1] = {-kFar, -4, -1.5, -0.5, 0, 0.5, 1.5, 4, kFar};
  static constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  typedef double Pair __attribute__((vector_size(2 * sizeof(double))));

  int64_t all() {
    for (int64_t i = 0; i < k_; ++i) kept_[i] = i;
    return k_;
  }

  // maxima[j]: a line that is the maximum at Z = kKnots[j]; at 0, top_ is.
  void maxima_at_knots(const double* a, const double* b, int64_t* maxima) const {
    constexpr double z[kPoints] = {kKnots[0], kKnots[1], kKnots[2], kKnots[3], kKnots[5], kKnots[6], kKnots[7], kKnots[8]};
    const double a0 = a[top_], b0 = b[top_];
    double best[kPoints] = {};
    int64_t block[kPoints];
    std::fill(block, block + kPoints, -1);
    for (int64_t first = 0; first < k_; first += kBlock) {
      Pair most[kPairs];
      for (int q = 0; q < kPairs; ++q) most[q] = Pair{best[2 * q], best[2 * q + 1]};
      for (int64_t i = first; i < std::min(first + kBlock, k_); ++i) {
        const Pair over = (a[i] - a0) + Pair{}, slope = (b[i] - b0) + Pair{};
        for (int q = 0; q < kPairs; ++q) {
          const Pair value = over + slope * Pair{z[2 * q], z[2 * q + 1]};
          most[q] = value > most[q] ? value : most[q];
        }
      }
      for (int p = 0; p < kPoints; ++p) {
        if (most[p / 2][p % 2] > best[p]) best[p] = most[p / 2][p % 2], block[p] = first;
      }
    }
    maxima[kPairs] = top_;
    for (int p = 0; p < kPoints; ++p) {
      int64_t& line = maxima[p + (p >= kPairs)];
      line = top_;
      double most = -1;
      for (int64_t i = block[p]; block[p] >= 0 && i < std::min(block[p] + kBlock, k_); ++i) {
        const double value = (a[i] - a0) + (b[i] - b0) * z[p];
        if (value > most) most = value, line = i;
      }
    }
  }

  // The lines that may lie on the envelope within -kFar < Z < kFar: how many, in kept_.
  //
  // Between two knots such a line lies above the crossing of the lines that are the maximum at the knots: otherwise it is
  // below one of them on either side. So few lines are left to sort.
  int64_t keep(const double* a, const double* b) {
    int64_t maxima[kPoints + 1];
    maxima_at_knots(a, b, maxima);
    const double a0 = a[top_], b0 = b[top_];
    double at[kPoints], height[kPoints];
    for (int p = 0; p < kPoints; ++p) {
      const int64_t left = maxima[p], right = maxima[p + 1];
      const double rise = b[right] - b[left];
      at[p] = 0, height[p] = std::numeric_limits<double>::infinity();
      if (!(rise > 0)) continue;  // one line is the maximum at both
      at[p] = std::clamp((a[left] - a[right]) / rise, kKnots[p], kKnots[p + 1]);
      height[p] = std::min(a[left] - a0 + (b[left] - b0) * at[p], a[right] - a0 + (b[right] - b0) * at[p]);
    }
    int64_t count = 0;
    for (int64_t i = 0; i < k_; ++i) {
      const Pair over = (a[i] - a0) + Pair{}, slope = (b[i] - b0) + Pair{};
      decltype(over > slope) above = {};
      for (int q = 0; q < kPairs; ++q) {
        above |= over + slope * Pair{at[2 * q], at[2 * q + 1]} > Pair{height[2 * q], height[2 * q + 1]};
      }
      kept_[count] = i;
      count += (above[0] | above[1]) & 1;
    }
    for (int p = 0; p <= kPoints; ++p) {
      const auto end = kept_.data() + count;
      if (std::find(kept_.data(), end, maxima[p]) == end) kept_[count++] = maxima[p];
    }
    return count;
  }

  // Of `count` lines, those of the envelope remain in lines_, by slope; line h is the maximum from starts_[h] on.
  void envelope(int64_t count, const double* a, const double* b) {
    for (int64_t j = 0; j < count; ++j) lines_[j] = {a[kept_[j]], b[kept_[j]], kept_[j]};
    std::sort(lines_.data(), lines_.data() + count, [](const Line& x, const Line& y) {
      return x.b < y.b || (x.b == y.b && (x.a > y.a || (x.a == y.a && x.i < y.i)));
    });
    size_ = 0;
    for (int64_t j = 0; j < count; ++j) {
      const Line line = lines_[j];
      if (size_ > 0 && line.b == lines_[size_ - 1].b) continue;
      double start = -std::numeric_limits<double>::infinity();
      while (size_ > 0) {
        const Line& last = lines_[size_ - 1];
        start = (last.a - line.a) / (line.b - last.b);
        if (start > starts_[size_ - 1]) break;
        --size_;
      }
      starts_[size_] = size_ > 0 ? start : -std::numeric_limits<double>::infinity();
      lines_[size_++] = line;
    }
    starts_[size_] = std::numeric_limits<double>::infinity();
  }

  double expectation(double* d_a, double* d_b) const {
    double gain = 0, density = 0, tail = 0;  // of where line h begins
    for (int64_t h = 0; h < size_; ++h) {
      const double next = starts_[h + 1], c = std::min(std::abs(next), kFar);
      const double e = exp_(-0.5 * c * c), next_density = 0.39894228040143267794 * e;
      const double next_tail = 0.5 * e * erfcx_positive(0.70710678118654752440 * c);
      if (h + 1 < size_) gain += (lines_[h + 1].b - lines_[h].b) * next_density * normal_excess_ratio(c);
      const int64_t i = lines_[h].i;
      d_b[i] = density - next_density;
      d_a[i] = next <= 0 ? next_tail - tail : starts_[h] > 0 ? tail - next_tail : -(tail + next_tail);
      density = next_density, tail = next_tail;
    }
    return gain;
  }

  int64_t k_, top_ = 0, size_ = 0;
  Buffer<int64_t> kept_;
  Buffer<Line> lines_;
  Buffer<double> starts_;
};

// LineEnvelope::gain of every row of a, b (r, k): gain (r,), d_a, d_b (r, k).
inline void expected_maximum(const double* a, const double* b, int64_t r, int64_t k, double* gain, double* d_a, double* d_b) {
  constexpr int64_t kLines = 1 << 14;  // of a chunk
  const int64_t rows = std::max<int64_t>(1, kLines / k);
  parallel_for((r + rows - 1) / rows, [&](int64_t chunk) {
    LineEnvelope lines(k);
    for (int64_t i = chunk * rows; i < std::min(r, (chunk + 1) * rows); ++i) {
      gain[i] = lines.gain(a + i * k, b + i * k, d_a + i * k, d_b + i * k);
    }
  });
}

}  // namespace lvm

// KLIEP: the proportions pi of a mixture, max over pi >= 0 of sum_i w_i log y_i - log sum(pi), y = phi^T pi, in double on
// the host, of phi (b, n) >= 0 with one component a row. With phi_l = k_l / mean_q k_l and theta_l = pi_l / mean_q k_l, y is
// the ratio sum_l theta_l k_l whose mean over q is 1.
//
// Sequential quadratic programming: the components in use and those that would gain most make a quadratic model, which
// Lawson and Hanson's method minimises over pi >= 0; then a line search. At pi of sum 1 and with the gains
// g = phi (w / y), log max_l g_l bounds what is left to gain: it is 0 where the Karush-Kuhn-Tucker conditions hold.
//
// M. Sugiyama et al. (2008), NIPS 20, sec. 2; Y. Kim, P. Carbonetto, M. Stephens, M. Anitescu (2020), J. Comput. Graph.
// Stat. 29 (mix-SQP). Sums are cut by n and b alone, so that results do not depend on the number of threads.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "device/blas.hpp"
#include "device/buffer.hpp"
#include "device/thread_pool.hpp"

namespace lvm {

struct KliepEnd {
  double left;  // max_l g_l - 1: what the mean log likelihood lacks at most
  int64_t steps;
};

class Kliep {
 public:
  Kliep(const double* phi, int64_t b, int64_t n)
      : phi_(phi), b_(b), n_(n), lanes_(std::clamp<int64_t>(n / kLaneRows, 1, kMostLanes)) {
    rows_of_lane_ = (n + lanes_ - 1) / lanes_;
    for (auto* v : {&y_, &root_, &score_, &along_}) v->reserve(n);
    for (auto* v : {&gain_, &x_, &c_, &z_, &slope_, &step_, &of_work_}) v->reserve(b);
    inside_.reserve(b);
    for (auto* v : {&work_, &free_, &entering_}) v->reserve(b);
  }

  // pi (b,) >= 0 is the start and becomes the answer, of sum 1; all 0 begins with equal ones of a few. Weights (n,) >= 0 of
  // sum 1; rows of weight 0 count for nothing. left is NaN if no component reaches a row that counts.
  KliepEnd maximize(const double* weights, double gap, double* pi) {
    for (int64_t i = 0; i < n_; ++i) root_[i] = std::sqrt(weights[i]);
    begin(pi);
    double left = 0, least = std::numeric_limits<double>::infinity();
    int64_t stalled = 0;
    for (int64_t steps = 0;; ++steps) {
      mix(pi, y_.data());
      for (int64_t i = 0; i < n_; ++i) score_[i] = weights[i] > 0 ? weights[i] / std::max(y_[i], kTiny) : 0;
      gains();
      left = *std::max_element(gain_.data(), gain_.data() + b_) - 1;
      if (left == -1) return {std::numeric_limits<double>::quiet_NaN(), steps};  // nothing is reached by any
      if (!(left < kFar) && steps < kMostSteps && reach(weights, pi)) continue;
      if (left < kRounding && left >= least) ++stalled;
      least = std::min(least, left);
      if (left <= gap || steps == kMostSteps || stalled == kMostStalled) return {left, steps};
      choose(pi);
      curvature();
      solve(pi);
      const double t = search(weights);
      if (t == 0) return {left, steps};
      take(pi, t);
    }
  }

  // y (n,) = phi^T pi.
  void mix(const double* pi, double* y) {
    int64_t m = 0;
    for (int64_t l = 0; l < b_; ++l) {
      if (pi[l] > 0) free_[m] = l, of_work_[m++] = pi[l];
    }
    combine(m, free_.data(), of_work_.data(), y);
  }

 private:
  static constexpr int64_t kPiece = 512, kLaneRows = 2048, kMostLanes = 16;  // a piece of the components in use: in the cache
  static constexpr int64_t kMostSteps = 500, kMostStalled = 3, kFewEntering = 10, kStart = 16;
  static constexpr double kTiny = 1e-290, kRounding = 1e-6, kFar = 1e4, kLeast = 1e-2, kGone = 1e-14;

  // f(begin, end) for the pieces of every lane.
  template <class F>
  void for_pieces(const F& f) {
    const auto lane = [&](int64_t k) {
      const int64_t stop = std::min(n_, (k + 1) * rows_of_lane_);
      for (int64_t i = k * rows_of_lane_; i < stop; i += kPiece) f(k, i, std::min(stop, i + kPiece));
    };
    lanes_ == 1 ? lane(0) : parallel_for(lanes_, lane);
  }

  // to = sum_j factor_j phi_{index_j}
  void combine(int64_t m, const int64_t* index, const double* factor, double* to) {
    for_pieces([&](int64_t, int64_t begin, int64_t end) {
      std::fill(to + begin, to + end, 0.0);
      int64_t j = 0;
      for (; j + 4 <= m; j += 4) {
        const double *p0 = row(index[j]), *p1 = row(index[j + 1]), *p2 = row(index[j + 2]), *p3 = row(index[j + 3]);
        const double f0 = factor[j], f1 = factor[j + 1], f2 = factor[j + 2], f3 = factor[j + 3];
        for (int64_t i = begin; i < end; ++i) to[i] += (f0 * p0[i] + f1 * p1[i]) + (f2 * p2[i] + f3 * p3[i]);
      }
      for (; j < m; ++j) {
        const double *p = row(index[j]), f = factor[j];
        for (int64_t i = begin; i < end; ++i) to[i] += f * p[i];
      }
    });
  }

  // Proportions of sum 1; equal ones of a few components if there are none: a model of all is dear, and most would leave.
  void begin(double* pi) {
    double total = 0;
    for (int64_t l = 0; l < b_; ++l) total += pi[l];
    if (!(total > 0)) {
      const int64_t stride = (b_ + kStart - 1) / kStart;
      total = 0;
      for (int64_t l = 0; l < b_; ++l) total += pi[l] = l % stride == 0 ? 1 : 0;
    }
    for (int64_t l = 0; l < b_; ++l) pi[l] /= total;
  }

  // A tenth goes to the best components of rows that alone would give a gain of kFar: at the optimum no gain is above 1.
  // False if there are no such rows.
  bool reach(const double* weights, double* pi) {
    std::fill_n(inside_.data(), b_, 0);
    int64_t others = 0;
    for (int64_t i = 0; i < n_; ++i) {
      if (!(weights[i] > 0)) continue;
      int64_t best = 0;
      for (int64_t l = 1; l < b_; ++l) {
        if (row(l)[i] > row(best)[i]) best = l;
      }
      if (!(weights[i] * row(best)[i] > kFar * y_[i]) || inside_[best]) continue;
      inside_[best] = 1;
      ++others;
    }
    for (int64_t l = 0; l < b_ && others; ++l) pi[l] = 0.9 * pi[l] + (inside_[l] ? 0.1 / static_cast<double>(others) : 0);
    return others > 0;
  }

  // gain = phi score: products of four components at a time.
  void gains() {
    const auto group = [&](int64_t k) {
      const int64_t first = 4 * k, count = std::min<int64_t>(4, b_ - first);
      const double* p[4];
      for (int64_t j = 0; j < 4; ++j) p[j] = row(first + std::min(j, count - 1));
      const double *p0 = p[0], *p1 = p[1], *p2 = p[2], *p3 = p[3], *s = score_.data();
      double sum[4][2] = {};
      int64_t i = 0;
      for (; i + 2 <= n_; i += 2) {
        for (int c = 0; c < 2; ++c) {
          sum[0][c] += p0[i + c] * s[i + c];
          sum[1][c] += p1[i + c] * s[i + c];
          sum[2][c] += p2[i + c] * s[i + c];
          sum[3][c] += p3[i + c] * s[i + c];
        }
      }
      for (int64_t j = 0; j < count; ++j) gain_[first + j] = sum[j][0] + sum[j][1] + (i < n_ ? p[j][i] * s[i] : 0);
    };
    const int64_t groups = (b_ + 3) / 4;
    if (b_ * n_ < kParallel) {
      for (int64_t k = 0; k < groups; ++k) group(k);
    } else {
      parallel_for(groups, group);
    }
  }

  // The components in use, and of the others those that would gain most.
  void choose(const double* pi) {
    m_ = 0;
    int64_t waiting = 0;
    for (int64_t l = 0; l < b_; ++l) {
      if (pi[l] > 0) {
        ++m_;
      } else if (gain_[l] > 1) {
        entering_[waiting++] = l;
      }
    }
    const int64_t most = std::min(waiting, std::max(kFewEntering, m_));
    const auto sooner = [&](int64_t a, int64_t b) { return gain_[a] != gain_[b] ? gain_[a] > gain_[b] : a < b; };
    std::partial_sort(entering_.data(), entering_.data() + most, entering_.data() + waiting, sooner);
    std::fill_n(inside_.data(), b_, 0);
    for (int64_t k = 0; k < most; ++k) inside_[entering_[k]] = 1;
    m_ = 0;
    for (int64_t l = 0; l < b_; ++l) {
      if (pi[l] > 0 || inside_[l]) work_[m_++] = l;
    }
  }

  // H = A A^T, A_ji = phi_ji sqrt(w_i) / y_i over the chosen components; every lane its part, then their sum.
  void curvature() {
    const int64_t m = m_, size = m * m;
    H_.reserve(lanes_ * size);
    A_.reserve(lanes_ * m * kPiece);
    factor_.reserve(size);
    std::fill_n(H_.data(), lanes_ * size, 0.0);
    for_pieces([&](int64_t k, int64_t begin, int64_t end) {
      double scale[kPiece], *A = A_.data() + k * m * kPiece;
      for (int64_t i = begin; i < end; ++i) scale[i - begin] = root_[i] > 0 ? root_[i] / std::max(y_[i], kTiny) : 0;
      for (int64_t j = 0; j < m; ++j) {
        const double* p = row(work_[j]);
        for (int64_t i = begin; i < end; ++i) A[j * kPiece + i - begin] = p[i] * scale[i - begin];
      }
      Blas<double>::syrk('L', 'T', m, end - begin, 1.0, A, kPiece, 1.0, H_.data() + k * size, m);
    });
    for (int64_t k = 1; k < lanes_; ++k) {
      for (int64_t e = 0; e < size; ++e) H_[e] += H_[k * size + e];
    }
    double trace = 0;
    for (int64_t j = 0; j < m; ++j) trace += H_[j * m + j];
    for (int64_t j = 0; j < m; ++j) {
      H_[j * m + j] += 1e-10 * trace / static_cast<double>(m);
      for (int64_t i = j + 1; i < m; ++i) H_[i * m + j] = H_[j * m + i];
    }
  }

  // step = x - pi, where x >= 0 minimises (x - pi)^T H (x - pi) / 2 + (1 - gain)^T (x - pi) over the chosen components, by
  // Lawson and Hanson's method begun at pi: wherever it ends, the model is lower. Where H has no factor, the step of
  // expectation-maximisation, pi (gain - 1), which never does harm.
  void solve(const double* pi) {
    const int64_t m = m_;
    for (int64_t j = 0; j < m; ++j) x_[j] = of_work_[j] = pi[work_[j]];
    for (int64_t j = 0; j < m; ++j) {
      inside_[j] = x_[j] > 0;
      double sum = gain_[work_[j]] - 1;
      for (int64_t i = 0; i < m; ++i) sum += H_[j * m + i] * x_[i];
      c_[j] = sum;
    }
    bool good = true;
    for (int64_t round = 0; good && round < 3 * m; ++round) {
      good = minimum_inside();
      double top = 0;
      for (int64_t j = 0; j < m; ++j) {
        double sum = c_[j];
        for (int64_t i = 0; i < m; ++i) sum -= H_[j * m + i] * x_[i];
        slope_[j] = inside_[j] ? 0 : sum;
        top = std::max(top, slope_[j]);
      }
      if (top <= 1e-10) break;
      for (int64_t j = 0; j < m; ++j) inside_[j] = inside_[j] || slope_[j] > 0.5 * top;
    }
    double downhill = 0;
    for (int64_t j = 0; j < m; ++j) {
      step_[j] = x_[j] - of_work_[j];
      downhill += (1 - gain_[work_[j]]) * step_[j];
    }
    if (good && downhill < 0) return;
    for (int64_t j = 0; j < m; ++j) step_[j] = of_work_[j] * (gain_[work_[j]] - 1);
  }

  // x is moved to the minimum over the components inside, which leave where they would be negative; false if H has no factor.
  bool minimum_inside() {
    for (;;) {
      int64_t f = 0;
      for (int64_t j = 0; j < m_; ++j) {
        if (inside_[j]) free_[f++] = j;
      }
      if (f == 0) return true;
      for (int64_t j = 0; j < f; ++j) {
        z_[j] = c_[free_[j]];
        for (int64_t i = j; i < f; ++i) factor_[j * f + i] = H_[free_[j] * m_ + free_[i]];
      }
      if (Blas<double>::potrf('L', f, factor_.data(), f) != 0) return false;
      Blas<double>::trsm('L', 'L', 'N', f, 1, 1.0, factor_.data(), f, z_.data(), f);
      Blas<double>::trsm('L', 'L', 'T', f, 1, 1.0, factor_.data(), f, z_.data(), f);
      double t = 1;
      bool all = true;
      for (int64_t j = 0; j < f; ++j) {
        if (!std::isfinite(z_[j])) return false;
        if (z_[j] > 0) continue;
        all = false;
        t = std::min(t, stop_at(j));
      }
      for (int64_t j = 0; j < f; ++j) {
        double& x = x_[free_[j]];
        const bool leaves = !all && z_[j] <= 0 && stop_at(j) <= t + 1e-12;
        x = all ? z_[j] : leaves ? 0 : x + t * (z_[j] - x);
        inside_[free_[j]] = !leaves;
      }
      if (all) return true;
    }
  }
  double stop_at(int64_t j) const {
    const double x = x_[free_[j]];
    return x > 0 ? x / (x - z_[j]) : 0;
  }

  // The first t of 1, 1/2, ... by which -sum w log(1 + t along / y) + t sum(step) falls enough; 0 if none. A slope that is not
  // yet positive at t shows it without logarithms: the function is convex.
  double search(const double* weights) {
    double growth = 0;
    for (int64_t j = 0; j < m_; ++j) growth += step_[j];
    combine(m_, work_.data(), step_.data(), along_.data());
    double slope = growth;
    for (int64_t i = 0; i < n_; ++i) {
      along_[i] = weights[i] > 0 ? along_[i] / std::max(y_[i], kTiny) : 0;
      slope -= weights[i] * along_[i];
    }
    if (!(slope < 0)) return 0;
    double t = 1;
    for (int halvings = 0; halvings < 40; ++halvings, t *= 0.5) {
      double least = 1, slope_there = growth;
      for (int64_t i = 0; i < n_; ++i) {
        const double inside = 1 + t * along_[i];
        least = std::min(least, inside);
        slope_there -= weights[i] * along_[i] / inside;
      }
      if (!(least > kLeast)) continue;  // a row that a step all but loses spoils the next model
      if (slope_there <= 0) return t;
      double change = t * growth;
      for (int64_t i = 0; i < n_; ++i) {
        if (weights[i] > 0) change -= weights[i] * std::log1p(t * along_[i]);
      }
      if (change <= 1e-4 * t * slope) return t;
    }
    return 0;
  }

  void take(double* pi, double t) {
    double total = 0;
    for (int64_t j = 0; j < m_; ++j) {
      double& to = pi[work_[j]];
      to += t * step_[j];
      if (to < kGone) to = 0;
      total += to;
    }
    for (int64_t j = 0; j < m_; ++j) pi[work_[j]] /= total;
  }

  const double* row(int64_t l) const { return phi_ + l * n_; }

  static constexpr int64_t kParallel = 1 << 18;
  const double* phi_;
  int64_t b_, n_, lanes_, rows_of_lane_ = 0, m_ = 0;
  Buffer<double> y_, root_, score_, along_;                                 // (n,)
  Buffer<double> gain_, x_, c_, z_, slope_, step_, of_work_, H_, A_, factor_;  // of components
  Buffer<int64_t> work_, free_, entering_;
  Buffer<int8_t> inside_;
};

// scores (folds,): the mean log y over the rows of each fold by the fit to the others, or an upper bound of it. pi (b,) is
// the fit to all rows, at which the others' fits begin. Rows left out cannot be likelier by the fit to the others: that one
// is at least as good for the others, and the two parts together are best by pi. Where the mean of the scores, some of them
// bounds, is below `enough`, the rest is left. One fold goes first, as it often settles that; then the others together.
inline void kliep_cross_validate(const double* phi, int64_t b, int64_t n, const int64_t* fold, int64_t folds, const double* pi,
                                 double gap, double enough, double* scores) {
  std::vector<int64_t> count(folds, 0);
  std::vector<double> y(n);
  for (int64_t i = 0; i < n; ++i) ++count[fold[i]];
  const auto score = [&](int64_t k, const double* ratio) {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) {
      if (fold[i] == k) sum += std::log(ratio[i]);
    }
    return sum / static_cast<double>(count[k]);
  };
  Kliep(phi, b, n).mix(pi, y.data());
  for (int64_t k = 0; k < folds; ++k) scores[k] = score(k, y.data());
  const auto refit = [&](int64_t k) {
    Kliep solver(phi, b, n);
    std::vector<double> weights(n), without(pi, pi + b), ratio(n);
    for (int64_t i = 0; i < n; ++i) weights[i] = fold[i] == k ? 0 : 1 / static_cast<double>(n - count[k]);
    solver.maximize(weights.data(), gap, without.data());
    solver.mix(without.data(), ratio.data());
    scores[k] = score(k, ratio.data());
  };
  for (int64_t first = 0, last = 1; first < folds; first = last, last = folds) {
    double mean = 0;
    for (int64_t k = 0; k < folds; ++k) mean += scores[k] / static_cast<double>(folds);
    if (mean < enough) return;
    if (last - first == 1) {
      refit(first);
    } else {
      parallel_for(last - first, [&](int64_t k) { refit(first + k); });
    }
  }
}

}  // namespace lvm

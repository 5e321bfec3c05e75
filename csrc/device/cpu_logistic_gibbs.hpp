// The Gibbs sampler of algo/logistic_gibbs.hpp on the CPU: one pass over Phi per iteration.
//
// Phi is held in tiles of rows that stay in the second cache with what is made of them, feature by feature. Tiles are
// joined to parts; a part adds its Phi^T Omega Phi into a sum of its own, and whoever ends the last part of a chain adds
// the sums in order and draws beta. Parts are cut by the problem's size alone, so that no number depends on the threads.
//
// An iteration of one chain costs n k^2 / 2 + 2 n k multiply-adds, n Polya-gamma draws and k^3 / 6 for the factor, and
// reads n k numbers, which chains that run beside each other find in the cache.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "algo/logistic_gibbs.hpp"
#include "device/cpu.hpp"
#include "device/cpu_weighted_gram.hpp"

namespace lvm {

template <class T>
class LogisticGibbs<Cpu, T> {
 public:
  explicit LogisticGibbs(const LogisticProblem<T>& problem)
      : n_(problem.n), k_(problem.k), chains_(problem.chains), b_period_(problem.b_period),
        tile_(tile_rows(problem.k)), tiles_((n_ + tile_ - 1) / tile_), parts_(part_count()),
        b_(problem.b, problem.b + problem.b_period), linear_(problem.linear, problem.linear + k_),
        precision_(problem.precision, problem.precision + k_ * k_), keys_(problem.keys, problem.keys + 2 * chains_) {
    T* phi = phi_.reserve(tiles_ * tile_ * k_);
    Cpu::for_ranges(tiles_, 1, [&](int64_t begin, int64_t end) {
      constexpr int64_t kRows = 16;  // that are turned over at a time
      for (int64_t first = begin * tile_; first < end * tile_; first += kRows) {
        T* out = phi + first / tile_ * tile_ * k_ + first % tile_;
        const int64_t count = std::clamp<int64_t>(n_ - first, 0, kRows);
        for (int64_t j = 0; j < k_; ++j) {
          for (int64_t i = 0; i < count; ++i) out[j * tile_ + i] = problem.phi[(first + i) * k_ + j];
          std::fill(out + j * tile_ + count, out + j * tile_ + kRows, T(0));
        }
      }
    });
    sums_.reserve(chains_ * parts_ * k_ * gram_width(k_));
    solved_.resize(chains_);
    for (Chain& chain : solved_) {
      chain.p.resize(k_ * k_);
      chain.x.resize(k_);
      chain.weights.resize(k_);
    }
    left_ = std::make_unique<std::atomic<int64_t>[]>(chains_);
  }

  int64_t rows() const { return n_; }
  int64_t columns() const { return k_; }
  int64_t chains() const { return chains_; }

  // As the other devices'; where a factor is lost beta stays as it was.
  LogisticFailure run(double* beta, int64_t start, int64_t iterations, const LogisticDraws<T>& draws) {
    for (int64_t c = 0; c < chains_; ++c) {
      Chain& chain = solved_[c];
      std::copy_n(beta + c * k_, k_, chain.x.begin());
      std::copy(chain.x.begin(), chain.x.end(), chain.weights.begin());
      chain.failure = {};
    }
    const Call call = {start, draws, WeightedGram<T>::chosen()};
    if (chains_alone()) {
      parallel_for(chains_, [&](int64_t c) {
        for (int64_t s = 0; s < iterations && solved_[c].failure.chain < 0; ++s) {
          for (int64_t part = 0; part < parts_; ++part) add_part(call, c, s, part);
          draw_weights(call, c, s);
        }
      });
    } else {
      for (int64_t s = 0; s < iterations && !failed(); ++s) {
        for (int64_t c = 0; c < chains_; ++c) left_[c].store(parts_, std::memory_order_relaxed);
        parallel_for(parts_ * chains_, [&](int64_t task) {  // the chains of a part one after the other: it is in the cache
          const int64_t c = task % chains_;
          add_part(call, c, s, task / chains_);
          if (left_[c].fetch_sub(1, std::memory_order_acq_rel) == 1) draw_weights(call, c, s);
        });
      }
    }
    for (const Chain& chain : solved_) {
      if (chain.failure.chain >= 0) return chain.failure;
    }
    for (int64_t c = 0; c < chains_; ++c) std::copy_n(solved_[c].x.begin(), k_, beta + c * k_);
    return {};
  }

 private:
  struct Chain {
    std::vector<double> p, x;  // the posterior precision and its factor; beta
    std::vector<T> weights;    // beta
    LogisticFailure failure;
  };
  struct Call {
    int64_t start;
    const LogisticDraws<T>& draws;
    WeightedGram<T> gram;
  };

  // Rows of a tile: few features, of which a draw costs more than the rest, in pieces that the draws like.
  static int64_t tile_rows(int64_t k) { return k <= 12 ? 256 : k < kBlas ? 128 : 512; }
  // The sums of all parts are at most as many numbers as Phi.
  int64_t part_count() const {
    const int64_t most = std::min<int64_t>(tiles_, std::max<int64_t>(1, n_ / std::max<int64_t>(k_, 1)));
    return std::clamp<int64_t>(n_ * (k_ * k_ / 16 + 64) / (int64_t(1) << 18), 1, std::min<int64_t>(most, 64));
  }
  // Whether an iteration is so short, or its data so few for the chains there are, that threads had better not share it.
  bool chains_alone() const {
    if (parts_ == 1) return true;
    return chains_ % Cpu::threads() == 0 && n_ * k_ * static_cast<int64_t>(sizeof(T)) <= (int64_t(1) << 20);
  }
  bool failed() const {
    return std::any_of(solved_.begin(), solved_.end(), [](const Chain& chain) { return chain.failure.chain >= 0; });
  }
  T* sum_of(int64_t c, int64_t part) { return sums_.data() + (c * parts_ + part) * k_ * gram_width(k_); }

  // Draws a part's omega and adds up its Gram matrix.
  void add_part(const Call& call, int64_t c, int64_t s, int64_t part) {
    static thread_local Buffer<T> scratch;
    T* f = scratch.reserve((std::max(k_, kScaledRows) + 2) * tile_);
    T *omega = f + tile_, *scaled = omega + tile_;
    T* sum = sum_of(c, part);
    std::fill_n(sum, k_ * gram_width(k_), T(0));
    const int64_t place = call.draws.omega ? call.draws.place(s) : -1;
    const bool own = b_period_ > 1;
    const int64_t end = (part + 1) * tiles_ / parts_;
    for (int64_t t = part * tiles_ / parts_; t < end; ++t) {
      const int64_t first = t * tile_, count = std::min(tile_, n_ - first);
      const T* a = phi_.data() + t * k_ * tile_;
      const FeatureTile<T> tile = {a, k_, tile_, (count + 15) / 16 * 16, t + 1 < end ? a + k_ * tile_ : nullptr};
      call.gram.values(tile, solved_[c].weights.data(), f);
      const cpu::PolyaGammaTask<T> task = {&polya_gamma_tables(), keys_[2 * c], (call.start + s) * n_ + first,
                                           b_.data() + (own ? first : 0), own ? count : 1, f, count};
      cpu::kernels_for<T>().fill_polya_gamma(task, 0, count, omega);
      std::fill(omega + count, omega + tile.rows, T(0));
      if (place >= 0) std::copy_n(omega, count, call.draws.omega + (c * call.draws.capacity + place) * n_ + first);
      if (k_ < kBlas) {
        call.gram.add(tile, omega, scaled, sum);
      } else {
        for (int64_t i = 0; i < tile.rows; ++i) f[i] = sqrt_(omega[i]);
        for (int64_t j = 0; j < k_; ++j) {
          for (int64_t i = 0; i < tile.rows; ++i) scaled[j * tile_ + i] = a[j * tile_ + i] * f[i];
        }
        Blas<T>::syrk('U', 'T', k_, tile.rows, T(1), scaled, tile_, T(1), sum, gram_width(k_));
      }
    }
  }

  // beta = L^-T (L^-1 h + noise) with L L^T = S + the sums of the parts.
  void draw_weights(const Call& call, int64_t c, int64_t s) {
    Chain& chain = solved_[c];
    double* p = chain.p.data();
    std::copy(precision_.begin(), precision_.end(), p);
    for (int64_t part = 0; part < parts_; ++part) {
      const T* sum = sum_of(c, part);
      for (int64_t i = 0; i < k_; ++i) {
        for (int64_t j = 0; j <= i; ++j) p[i * k_ + j] += static_cast<double>(sum[i * gram_width(k_) + j]);
      }
    }
    const int64_t pivot = k_ <= kDirectFactor ? factor(p) : std::max<int64_t>(0, Blas<double>::potrf('U', k_, p, k_));
    int64_t lost = pivot;
    for (int64_t i = 0; i < k_ && !lost; ++i) {
      if (!(p[i * (k_ + 1)] > 0) || !std::isfinite(p[i * (k_ + 1)])) lost = i + 1;
    }
    if (lost) {
      chain.failure = {c, s, lost - 1};
      return;
    }
    static thread_local Buffer<double> scratch;
    double *x = scratch.reserve(2 * k_), *noise = x + k_;
    const int64_t begin = (call.start + s) * k_;
    cpu::kernels_for<double>().fill_random(Distribution::normal, keys_[2 * c + 1], begin, begin + k_, noise);
    std::copy(linear_.begin(), linear_.end(), x);
    if (k_ <= kDirectFactor) {
      for (int64_t i = 0; i < k_; ++i) {
        for (int64_t j = 0; j < i; ++j) x[i] -= p[i * k_ + j] * x[j];
        x[i] /= p[i * (k_ + 1)];
      }
      for (int64_t i = 0; i < k_; ++i) x[i] += noise[i];
      for (int64_t i = k_; i-- > 0;) {
        x[i] /= p[i * (k_ + 1)];
        for (int64_t j = 0; j < i; ++j) x[j] -= p[i * k_ + j] * x[i];
      }
    } else {
      Blas<double>::trsm('L', 'U', 'T', k_, 1, 1.0, p, k_, x, k_);
      for (int64_t i = 0; i < k_; ++i) x[i] += noise[i];
      Blas<double>::trsm('L', 'U', 'N', k_, 1, 1.0, p, k_, x, k_);
    }
    std::copy_n(x, k_, chain.x.begin());
    for (int64_t i = 0; i < k_; ++i) chain.weights[i] = static_cast<T>(x[i]);
    const int64_t place = call.draws.place(s);
    if (place >= 0) std::copy(chain.weights.begin(), chain.weights.end(), call.draws.beta + (c * call.draws.capacity + place) * k_);
  }

  // The row-major lower triangle of p becomes its factor; the 1-based pivot that was lost, or 0.
  int64_t factor(double* p) const {
    for (int64_t i = 0; i < k_; ++i) {
      for (int64_t j = 0; j <= i; ++j) {
        double value = p[i * k_ + j];
        for (int64_t m = 0; m < j; ++m) value -= p[i * k_ + m] * p[j * k_ + m];
        if (i > j) {
          p[i * k_ + j] = value / p[j * (k_ + 1)];
        } else {
          if (!(value > 0)) return i + 1;
          p[i * (k_ + 1)] = std::sqrt(value);
        }
      }
    }
    return 0;
  }

  static constexpr int64_t kBlas = 192;        // features from which a BLAS beats dot products
  static constexpr int64_t kDirectFactor = 12;  // order up to which loops beat LAPACK

  int64_t n_, k_, chains_, b_period_, tile_, tiles_, parts_;
  std::vector<T> b_;
  std::vector<double> linear_, precision_;
  std::vector<uint64_t> keys_;
  Buffer<T> phi_, sums_;
  std::vector<Chain> solved_;
  std::unique_ptr<std::atomic<int64_t>[]> left_;  // parts that are not done, of every chain
};

}  // namespace lvm

// Gibbs sampling of a Gaussian process with Bernoulli observations, by Polya-gamma variables.
//
// f ~ N(m, K), y_i ~ Bernoulli(sigma(f_i)), kappa_i = y_i - 1/2. In turn
//
//   omega_i | f ~ PG(1, f_i),      f | omega ~ N(S (K^-1 m + kappa), S),   S = (K^-1 + diag(omega))^-1
//
// (N. G. Polson, J. G. Scott, J. Windle, JASA 108, 2013, section 3.1). K is never inverted: with r = sqrt(omega),
// B = I + diag(r) K diag(r) and K = L L^T, and with e1, e2 standard normal,
//
//   f0 = m + L e1,   f = f0 + K diag(r) B^-1 (kappa / r - r f0 - e2)
//
// has that distribution: a draw of the prior, corrected by its distance to observations kappa / omega with variances
// 1 / omega (J. T. Wilson et al., Pathwise conditioning of Gaussian processes, JMLR 22, 2021, eq. 11).
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "algo/gp_outcome.hpp"
#include "device/thread_pool.hpp"

namespace lvm {

// The lower triangle of B = I + diag(r) K diag(r), row-major: entry by entry, or row by row.
template <class T>
struct AugmentedEntry {
  const T *k, *r;
  T* b;
  int64_t n;
  LVM_HD void operator()(int64_t at) const {
    const int64_t i = at / n, j = at % n;
    if (j <= i) b[at] = (i == j ? T(1) : T(0)) + r[i] * k[at] * r[j];
  }
};
template <class T>
struct AugmentedRow {
  const T *k, *r;
  T* b;
  int64_t n;
  LVM_HD void operator()(int64_t i) const {
    const T scale = r[i];
    const T* __restrict__ from = k + i * n;
    const T* __restrict__ root = r;
    T* __restrict__ to = b + i * n;
    for (int64_t j = 0; j <= i; ++j) to[j] = scale * from[j] * root[j];
    to[i] += T(1);
  }
};
// out_i = start_i + sum_j a_ij x_j over j < n, or j <= i of a lower triangle; a row-major. (For one column gemm takes five
// times as long as memory does.)
template <class T>
struct RowProduct {
  const T *a, *x, *start;
  T* out;
  int64_t n, lower;
  LVM_HD void operator()(int64_t i) const {
    constexpr int kLanes = 8;
    const int64_t count = lower ? i + 1 : n;
    const T* __restrict__ row = a + i * n;
    const T* __restrict__ other = x;
    T lane[kLanes] = {};
    int64_t j = 0;
    for (; j + kLanes <= count; j += kLanes) {
      for (int l = 0; l < kLanes; ++l) lane[l] += row[j + l] * other[j + l];
    }
    for (; j < count; ++j) lane[0] += row[j] * other[j];
    T sum = T(0);
    for (int l = 0; l < kLanes; ++l) sum += lane[l];
    out[i] = start[i] + sum;
  }
};
template <class T>
struct SetAll {
  T* x;
  double value;
  LVM_HD void operator()(int64_t i) const { x[i] = static_cast<T>(value); }
};
template <class T>
struct SquareRoot {
  const T* x;
  T* root;
  LVM_HD void operator()(int64_t i) const { root[i] = sqrt_(x[i]); }
};
template <class T>
struct PathResidual {  // kappa / r - r f0 - e2
  const T *kappa, *r, *f0, *e2;
  T* out;
  LVM_HD void operator()(int64_t i) const { out[i] = kappa[i] / r[i] - r[i] * f0[i] - e2[i]; }
};
template <class T>
struct MultiplyBy {
  const T* r;
  T* x;
  LVM_HD void operator()(int64_t i) const { x[i] *= r[i]; }
};
template <class T>
struct NotFinite {
  const T* x;
  LVM_HD bool operator()(int64_t i) const { return !(x[i] - x[i] == T(0)); }
};

// Iteration t, from 1, is kept as number (t - burn_in) / thin - 1 where that is a whole number >= 0.
struct GibbsPlan {
  int64_t first, count;  // iterations first, first + 1, ... of every chain
  int64_t burn_in, thin;
  int64_t slot(int64_t t) const { return t > burn_in && (t - burn_in) % thin == 0 ? (t - burn_in) / thin - 1 : -1; }
};

// Chains for one prior. Chain c, iteration t takes normal draws 2 n t to 2 n (t + 1) and Polya-gamma draws n t to
// n (t + 1) of seeds[c]; its numbers depend on nothing else but its own f.
template <class Device, class T>
class GpGibbs {
 public:
  // k = l l^T: (n, n) row-major, on the device; they stay the caller's. l is zero above its diagonal.
  GpGibbs(int64_t n, const T* k, const T* l, double mean) : n_(n), k_(k), l_(l), mean_(mean) {
    Device::map(1, SetAll<T>{one_.reserve(1), 1.0});
  }

  int64_t rows() const { return n_; }

  // f <- m + L e, draws of the prior: iteration 0. f: (chains, n).
  void start(int64_t chains, const uint64_t* seeds, T* f) {
    make_room(chains);
    each(chains, [&](int64_t c) { prior_draw(*work_[c], seeds[c], 0, f + c * n_); });
    Device::wait();
  }

  // f, kappa, omega: (chains, n); draws: (chains, capacity, n); all on the device. f: from the last iteration to this one's
  // end; omega: the last one's. index: of the first pivot that was lost, or the first f that is not finite.
  Status run(int64_t chains, const uint64_t* seeds, const GibbsPlan& plan, const T* kappa, T* f, T* omega, T* draws,
             int64_t capacity) {
    make_room(chains);
    std::vector<Status> status(chains);
    each(chains, [&](int64_t c) {
      T* own = draws ? draws + c * capacity * n_ : nullptr;
      status[c] = run_chain(*work_[c], seeds[c], plan, kappa + c * n_, f + c * n_, omega + c * n_, own, capacity);
    });
    for (const Status& s : status) {
      if (!s) return s;
    }
    return {};
  }

 private:
  struct Work {
    typename Device::template Scratch<T> b, root, f0, normal, right;
    typename Device::template Scratch<int> failure;
    typename Device::template Shared<double> outcome;
  };
  using Blas = typename Device::template Blas<T>;

  template <class F>
  static void each(int64_t chains, const F& f) {
    if constexpr (Device::kImmediate) {
      parallel_for(chains, f);  // inside, loops have this thread alone
    } else {
      for (int64_t c = 0; c < chains; ++c) f(c);
    }
  }

  void make_room(int64_t chains) {
    while (work_.size() < static_cast<size_t>(chains)) work_.push_back(std::make_unique<Work>());
  }

  // out = start + a x; a (n, n) row-major, a lower triangle with zeros above or not.
  void add_product(const T* a, const T* x, const T* start, T* out, bool lower) const {
    if constexpr (Device::kImmediate) {
      Device::map(n_, RowProduct<T>{a, x, start, out, n_, lower}, 64);
    } else {
      if (out != start) Device::copy(start, out, n_);
      Blas::gemm('T', 'N', n_, 1, n_, T(1), a, n_, x, n_, T(1), out, n_);
    }
  }

  // f0 = m + L e1; leaves e1 and e2 of iteration t in work.normal.
  void prior_draw(Work& work, uint64_t seed, int64_t t, T* f0) {
    T* normal = work.normal.reserve(2 * n_);
    Device::fill_normal(normal, 2 * n_, 2 * n_ * t, seed);
    Device::map(n_, SetAll<T>{f0, mean_});
    add_product(l_, normal, f0, f0, true);
  }

  Status run_chain(Work& work, uint64_t seed, const GibbsPlan& plan, const T* kappa, T* f, T* omega, T* draws,
                   int64_t capacity) {
    T *b = work.b.reserve(n_ * n_), *root = work.root.reserve(n_), *f0 = work.f0.reserve(n_), *right = work.right.reserve(n_);
    int* failure = work.failure.reserve(1);
    for (int64_t t = plan.first; t < plan.first + plan.count; ++t) {
      Device::fill_polya_gamma(omega, n_, n_ * t, seed, one_.data(), 1, f, n_);
      Device::map(n_, SquareRoot<T>{omega, root});
      if constexpr (Device::kImmediate) {
        Device::map(n_, AugmentedRow<T>{k_, root, b, n_}, 32);
      } else {
        Device::map(n_ * n_, AugmentedEntry<T>{k_, root, b, n_});
      }
      Device::potrf('U', n_, b, n_, failure);
      if (Device::kImmediate && *failure) return {Code::not_positive_definite, *failure - 1};
      prior_draw(work, seed, t, f0);
      Device::map(n_, PathResidual<T>{kappa, root, f0, work.normal.data() + n_, right});
      Blas::trsm('L', 'U', 'T', n_, 1, T(1), b, n_, right, n_);
      Blas::trsm('L', 'U', 'N', n_, 1, T(1), b, n_, right, n_);
      Device::map(n_, MultiplyBy<T>{root, right});
      add_product(k_, right, f0, f, false);
      const int64_t slot = plan.slot(t);
      if (draws && slot >= 0 && slot < capacity) Device::copy(f, draws + slot * n_, n_);
    }
    Device::zero(failure, 1);
    Device::note_first(n_, NotFinite<T>{f}, failure);  // NaN stays in f, whatever a factor made of it
    work.outcome.reserve(1);
    Device::map(1, StoreFailure{failure, work.outcome.device()});
    work.outcome.pull(1);
    Device::wait();
    const auto lost = static_cast<int64_t>(work.outcome.host()[0]);
    if (lost) return {Code::non_finite, lost - 1};
    return {};
  }

  int64_t n_;
  const T *k_, *l_;
  double mean_;
  typename Device::template Scratch<T> one_;
  std::vector<std::unique_ptr<Work>> work_;  // of every chain
};

}  // namespace lvm

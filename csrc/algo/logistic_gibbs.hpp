// Gibbs sampling of logistic models with Polya-gamma variables, in weight space:
//
//   omega_i | beta ~ PG(b_i, phi_i . beta),     beta | omega ~ N(P^-1 h, P^-1),
//   P = Phi^T diag(omega) Phi + S,              h = Phi^T kappa + S m,
//
// for the likelihood prod_i exp(a_i f_i) / (1 + exp(f_i))^b_i, kappa = a - b/2, and the prior N(m, S^-1).
//
// N. G. Polson, J. G. Scott, J. Windle, Bayesian inference for logistic models using Polya-Gamma latent variables
// (JASA 108, 2013), section 3.1. Chains differ in their keys alone. Iteration t takes elements t n + i of a chain's first
// key for omega_i, and elements t k + j of its second for the normal draws of beta: a state is (beta, t).
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "algo/gp.hpp"
#include "core/config.hpp"

namespace lvm {

// What every device is given, on the host but for phi and b.
template <class T>
struct LogisticProblem {
  int64_t n, k, chains;
  const T* phi;             // (n, k) row-major
  const T* b;               // (b_period,): (n,), or one number for all
  int64_t b_period;
  const double* linear;     // h: (k,)
  const double* precision;  // S: (k, k)
  const uint64_t* keys;     // (chains, 2)
};

// Which states are kept: every `thin`-th of a run's (none where thin is 0), from place `first` on of `capacity` per chain.
template <class T>
struct LogisticDraws {
  int64_t thin, first, capacity;
  T* beta;   // (chains, capacity, k) on the host
  T* omega;  // (chains, capacity, n) on the device, or null

  // The place of iteration s of a run, counted from 0, or -1.
  int64_t place(int64_t s) const { return thin > 0 && (s + 1) % thin == 0 ? first + (s + 1) / thin - 1 : -1; }
  int64_t kept(int64_t iterations) const { return thin > 0 ? iterations / thin : 0; }
};

// P lost its positive definiteness at this 0-based iteration and pivot of a chain; none where chain is -1.
struct LogisticFailure {
  int64_t chain = -1, iteration = -1, pivot = -1;
};

// Weights as the products with Phi take them.
template <class T>
struct ConvertNumbers {
  const double* from;
  T* to;
  LVM_HD void operator()(int64_t i) const { to[i] = static_cast<T>(from[i]); }
};
// Rows of phi times the square roots of omega.
template <class T>
struct ScaleRows {
  const T *phi, *omega;
  T* out;
  int64_t k;
  LVM_HD void operator()(int64_t at) const { out[at] = sqrt_(omega[at / k]) * phi[at]; }
};
// P from the Gram matrix and the prior.
template <class T>
struct PosteriorPrecision {
  const T* gram;
  const double* prior;
  double* out;
  LVM_HD void operator()(int64_t at) const { out[at] = static_cast<double>(gram[at]) + prior[at]; }
};
struct AddNumbers {
  const double* from;
  double* to;
  LVM_HD void operator()(int64_t i) const { to[i] += from[i]; }
};
// first = (pivot, iteration), both 1-based, of the first failure of a chain.
struct NoteFailure {
  const int* failure;
  int* first;
  int64_t iteration;
  LVM_HD void operator()(int64_t) const {
    if (*failure == 0 || first[0] != 0) return;
    first[0] = *failure;
    first[1] = static_cast<int>(iteration + 1);
  }
};

// The sampler for a device whose work is enqueued, from its maps and its BLAS; the CPU has one of its own.
template <class Device, class T>
class LogisticGibbs {
 public:
  explicit LogisticGibbs(const LogisticProblem<T>& problem)
      : n_(problem.n), k_(problem.k), chains_(problem.chains), b_period_(problem.b_period),
        keys_(problem.keys, problem.keys + 2 * problem.chains) {
    Device::copy(problem.phi, phi_.reserve(n_ * k_), n_ * k_);
    Device::copy(problem.b, b_.reserve(b_period_), b_period_);
    Device::upload(problem.linear, linear_.reserve(k_), k_);
    Device::upload(problem.precision, precision_.reserve(k_ * k_), k_ * k_);
    Device::wait();  // for the host's arrays
  }

  int64_t rows() const { return n_; }
  int64_t columns() const { return k_; }
  int64_t chains() const { return chains_; }

  // From beta (chains, k) on the host, which moves on: iterations start, ..., start + iterations - 1 of every chain.
  LogisticFailure run(double* beta, int64_t start, int64_t iterations, const LogisticDraws<T>& draws) {
    const int64_t kept = draws.kept(iterations), size = chains_ * k_;
    beta_.reserve(size);
    last_.reserve(size);
    failures_.reserve(3 * chains_);
    if (kept > 0) kept_.reserve(kept * size);
    std::copy_n(beta, size, beta_.host());
    beta_.push(size);
    Device::zero(failures_.device(), 3 * chains_);
    for (int64_t s = 0; s < iterations; ++s) iterate(start + s, s, draws);
    failures_.pull(3 * chains_);
    Device::copy(beta_.device(), last_.device(), size);
    last_.pull(size);
    if (kept > 0) kept_.pull(kept * size);
    Device::wait();
    for (int64_t c = 0; c < chains_; ++c) {
      const int* first = failures_.host() + 3 * c + 1;
      if (first[0]) return {c, first[1] - 1, first[0] - 1};
    }
    std::copy_n(last_.host(), size, beta);
    for (int64_t s = 0; s < kept; ++s) {
      for (int64_t c = 0; c < chains_; ++c) {
        std::copy_n(kept_.host() + (s * chains_ + c) * k_, k_, draws.beta + (c * draws.capacity + draws.first + s) * k_);
      }
    }
    return {};
  }

 private:
  using Blas = typename Device::template Blas<T>;
  using Blas64 = typename Device::template Blas<double>;

  void iterate(int64_t t, int64_t s, const LogisticDraws<T>& draws) {
    const int64_t size = chains_ * k_, place = draws.place(s);
    T* weights = weights_.reserve(size);
    T* f = f_.reserve(n_ * chains_);
    T* scaled = scaled_.reserve(n_ * k_);
    T* gram = gram_.reserve(k_ * k_);
    double* p = p_.reserve(k_ * k_);
    double* noise = noise_.reserve(k_);
    Device::map(size, ConvertNumbers<T>{beta_.device(), weights});
    Blas::gemm('T', 'N', n_, chains_, k_, T(1), phi_.data(), k_, weights, k_, T(0), f, n_);
    for (int64_t c = 0; c < chains_; ++c) {
      const bool keep = place >= 0 && draws.omega;
      T* omega = keep ? draws.omega + (c * draws.capacity + place) * n_ : omega_.reserve(n_);
      int* failure = failures_.device() + 3 * c;
      double* x = beta_.device() + c * k_;
      Device::fill_polya_gamma(omega, n_, t * n_, keys_[2 * c], b_.data(), b_period_, f + c * n_, n_);
      Device::map(n_ * k_, ScaleRows<T>{phi_.data(), omega, scaled, k_});
      Blas::syrk('U', 'N', k_, n_, T(1), scaled, k_, T(0), gram, k_);
      Device::map(k_ * k_, PosteriorPrecision<T>{gram, precision_.data(), p});
      Device::potrf('U', k_, p, k_, failure);
      Device::note_first(k_, NotPositive<double>{p, k_}, failure);
      Device::map(1, NoteFailure{failure, failure + 1, s});
      Device::fill_normal(noise, k_, t * k_, keys_[2 * c + 1]);
      Device::copy(linear_.data(), x, k_);
      Blas64::trsm('L', 'U', 'T', k_, 1, 1.0, p, k_, x, k_);
      Device::map(k_, AddNumbers{noise, x});
      Blas64::trsm('L', 'U', 'N', k_, 1, 1.0, p, k_, x, k_);
    }
    if (place >= 0) Device::map(size, ConvertNumbers<T>{beta_.device(), kept_.device() + (place - draws.first) * size});
  }

  int64_t n_, k_, chains_, b_period_;
  std::vector<uint64_t> keys_;
  typename Device::template Scratch<T> phi_, b_, weights_, f_, scaled_, gram_, omega_;
  typename Device::template Scratch<double> linear_, precision_, p_, noise_;
  typename Device::template Shared<double> beta_, last_;  // the state, and a copy to come back
  typename Device::template Shared<T> kept_;
  typename Device::template Shared<int> failures_;
};

}  // namespace lvm

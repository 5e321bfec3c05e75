// A step of stochastic variational inference for Gaussian processes with any likelihood: the bound of a batch, all its
// gradients, and the next q(u).
//
// With L L^T = K_uu + jitter I, v_i = L^-1 k_i and q(u_p) = N(m_p(Z) + L mu_p, L S_p L^T) for every latent function p,
//
//   f_p(x_i) ~ N(m_p(x_i) + v_i . mu_p, k_ii + v_i . (S_p - I) v_i),
//   ELBO = sum_i c_i E log p(y_i | f(x_i)) - sum_p 1/2 (tr S_p + |mu_p|^2 - m - log|S_p|).
//
// With g_ip, h_ip = c_i times the derivatives of the expectation by mean and variance, A_p = sum_i h_ip v_i v_i^T:
//
//   by mu_p: V g_p - mu_p,   by S_p: A_p - (I - S_p^-1) / 2,   by k_ii: sum_p h_ip,
//   by k_i: L^-T sum_p (mu_p g_ip + 2 h_ip (S_p - I) v_i),
//   by K_uu: -1/2 L^-T (Phi(X) + Phi(X)^T) L^-1,   X = sum_p mu_p (V g_p)^T + 2 (S_p - I) A_p,
//
// Phi: the lower triangle with half of the diagonal. Hensman, Matthews & Ghahramani (2015), "Scalable variational Gaussian
// process classification", eq. 18-19; the pull-back of a Cholesky factor: Murray (2016), "Differentiation of the Cholesky
// decomposition", eq. 10. Without whitening the stored q is that of u - m(Z), N(mu_p, S_p): it is whitened first, and X
// has the terms of mu' = L^-1 mu and S' = L^-1 S L^-T too, which make it symmetric.
//
// A natural gradient step of length rho, in S^-1 mu and S^-1 (Salimbeni, Eleftheriadis & Hensman 2018, "Natural gradients in
// practice", eq. 10):  S^-1 <- (1 - rho) S^-1 + rho (I - 2 A),   S^-1 mu <- (1 - rho) S^-1 mu + rho (V g - 2 A mu).
//
// Flops for a latent, n rows: n m^2 (solve) + 2 n m^2 (product) + n m^2 (A), and n m^2 more where K_uu is hardly definite (a
// solve); m^3 / 3 (factor of K_uu) + m^3 (inverse of S^-1) + m^3 (L^-T (S - I)) + m^3 (X) + 4/3 m^3 (cotangent of K_uu). A natural
// step before that costs 2 n m^2 more (variances, another A), nothing where the likelihood is Gaussian: its h do not depend
// on q.
// Memory: a few m^2 for each latent and lane, and tiles; never n m.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <vector>

#include "algo/inducing.hpp"
#include "algo/likelihood.hpp"
#include "algo/svgp_columns.hpp"
#include "algo/triangular.hpp"

namespace lvm {

// Rows on the device, row-major; own and offset (n, latents), weight (n,) or null.
template <class A>
struct SvgpBatch {
  const A *x, *y, *own;
  const double *weight, *offset;
  int64_t n;
  double scale;
};

// What is expected of the likelihood: computed by `points` or `classes`, or given (on the device).
struct SvgpLikelihood {
  const LikelihoodTask<double>* points;
  const MulticlassTask<double>* classes;
  bool softmax;
  const double *value, *by_mean, *by_variance;  // (n,), (n, latents) twice
  int64_t parameters() const { return points ? points->parameters : 0; }
};

// On the host: coef (latents, basis); basis 0, 1 or 1 + q; centre and spread (q,).
struct SvgpMean {
  const double *coef, *centre, *spread;
  int64_t basis;
};

struct SvgpUpdate {
  enum Kind { none, natural, adam } kind;
  double rate, beta_1, beta_2, epsilon, t;  // rate: rho of a natural step
};

struct SvgpResult {
  double expected, kl, rho;
};

struct SvgpShape {
  int64_t m, q, latents;
  bool whitened, diagonal, natural;  // natural: q is stored as S^-1 mu and S^-1, else as mu and the root W of S = W W^T
  int64_t first_size() const { return latents * m; }
  int64_t second_size() const { return diagonal ? latents * m : latents * m * m; }
};

template <class Device, class A>
struct SvgpLane : InducingLane<Device, A> {
  using InducingLane<Device, A>::InducingLane;
  typename Device::template Scratch<A> k, v, u, w, turned, fit, mean, variance, g, product;
  typename Device::template Scratch<double> gram, right, value, by_mean, by_variance, by_parameters, h, totals;
  bool fresh = true;  // no tile yet
};

template <class Device, class A>
class SvgpModel : public Inducing<Device, A, SvgpLane<Device, A>> {
 public:
  explicit SvgpModel(const SvgpShape& shape) : shape_(shape) {
    const int64_t first = shape.first_size(), second = shape.second_size();
    std::vector<double> identity(second, 0.0);
    for (int64_t k = 0; k < shape.latents * shape.m; ++k) {
      identity[shape.diagonal ? k : k / shape.m * shape.m * shape.m + k % shape.m * (shape.m + 1)] = 1.0;
    }
    Device::zero(first_.reserve(first), first);
    centred_.reserve(shape.latents * shape.m * shape.m);
    if (shape.natural) factor_.reserve(shape.latents * shape.m * shape.m);
    if (shape.natural && Device::kImmediate) inverse_.reserve(shape.latents * (shape.m * shape.m + kInverseBlock * kInverseBlock));
    Device::upload(identity.data(), second_.reserve(second), second);
    for (auto* moment : {&moments_[0], &moments_[1]}) Device::zero(moment->reserve(first), first);
    for (auto* moment : {&moments_[2], &moments_[3]}) Device::zero(moment->reserve(second), second);
    Device::wait();
  }
  const SvgpShape& shape() const { return shape_; }

  // Host memory: (latents, m), and (latents, m, m) row-major or (latents, m).
  void get(double* first, double* second) {
    Base::fetch(first_.data(), shape_.first_size(), first);
    Base::fetch(second_.data(), shape_.second_size(), second);
  }
  void set(const double* first, const double* second) {
    Device::upload(first, first_.data(), shape_.first_size());
    Device::upload(second, second_.data(), shape_.second_size());
    Device::wait();
    factored_ = false;
  }
  // Running means of gradients and their squares: of first, first, second, second.
  void get_moments(double* const* to) {
    for (int k = 0; k < 4; ++k) Base::fetch(moments_[k].data(), k < 2 ? shape_.first_size() : shape_.second_size(), to[k]);
  }
  void set_moments(const double* const* from) {
    for (int k = 0; k < 4; ++k) {
      Device::upload(from[k], moments_[k].data(), k < 2 ? shape_.first_size() : shape_.second_size());
    }
    Device::wait();
  }

  // The ELBO is result->expected - result->kl; gradients of it on the host: d_theta (parameters,), d_z (m, q), d_parameters of
  // the likelihood, d_coef (latents, basis). A natural step of q comes before them: they are those at the new q, which knows of
  // the batch (but where the expectations are given); a step of Adam comes after them. q changes only if the status is good.
  // jitter: as in escalate_jitter.
  Status step(const InducingPoint& point, const SvgpBatch<A>& batch, const SvgpLikelihood& likelihood, const SvgpMean& mean,
              const SvgpUpdate& update, double& jitter, SvgpResult* result, double* d_theta, double* d_z,
              double* d_parameters, double* d_coef) {
    *result = {};
    const int64_t q = shape_.q, p = shape_.latents;
    Device::upload(point.z, centres_.reserve(point.m * q + q + 1), point.m * q);
    Device::column_centres(centres_.data(), point.m, q, centres_.data() + point.m * q);
    Base::begin(point, batch.n, q, centres_.data() + point.m * q, Device::lanes_for(batch.n), p, 1 + p);
    const bool natural = update.kind == SvgpUpdate::natural;
    const bool whole = shape_.natural && shape_.whitened && !shape_.diagonal;  // natural steps share what they need with the rest
    const bool before = natural && !likelihood.value;
    lost_ = false;
    Status status;
    Device::for_lanes(whole && !before && Device::kImmediate ? 1 + p : 1, [&](int64_t k) {
      if (k == 0) {
        status = Base::factorise_inducing(point, jitter);
      } else {
        invert(k - 1);
      }
    });
    if (!status) return status;
    bool inverted = whole && !before && Device::kImmediate, moved = false;
    const int64_t rows = (batch.n + lanes_ - 1) / lanes_;
    kept_ = before && whole && rows * m_ * static_cast<int64_t>(sizeof(A)) <= kKeptBytes;
    room_ = kept_ ? rows : tile_;
    if (before) {
      keep_first();
      status = load(false, result);
      if (status && !whole) status = spread(result);
      if (!status) return status;
      if (whole) load_factor();
      pass(batch, likelihood, mean, whole ? Stage::before : Stage::whole);
      outer_sums();
      result->rho = natural_step(update.rate);
      moved = true;
      if (whole && Device::kImmediate) {
        Device::for_lanes(p, [&](int64_t k) { invert(k); });
        inverted = true;
      }
    }
    status = lost_ ? Status{Code::non_finite, -1} : load(inverted, result);
    if (status) status = spread(result);
    if (status) {
      const bool same = before && whole && of_gaussian(likelihood);  // A does not change with the means
      pass(batch, likelihood, mean, same ? Stage::after : Stage::whole);
      if (!same) outer_sums();
      totals(likelihood.parameters(), mean.basis, result, d_parameters, d_coef);
      if (!std::isfinite(result->expected) || !std::isfinite(result->kl)) status = {Code::non_finite, -1};
    }
    if (!status) {
      if (moved) restore(result->rho);
      return status;
    }
    cotangent();
    Base::pull_inducing(cotangent_.data());
    Base::gather_gradients(d_theta, d_z);
    // Tiles in float overflow where the sums, in double, do not: q must not take such a step.
    const int64_t sizes[] = {point.tree->parameters, point.m * q, likelihood.parameters(), p * mean.basis};
    const double* gradients[] = {d_theta, d_z, d_parameters, d_coef};
    for (int k = 0; k < 4; ++k) {
      const double* end = gradients[k] + sizes[k];
      if (std::all_of(gradients[k], end, [](double g) { return std::isfinite(g); })) continue;
      if (moved) restore(result->rho);
      return {Code::non_finite, -1};
    }
    if (natural && !before) {
      keep_first();
      result->rho = natural_step(update.rate);
    }
    if (update.kind == SvgpUpdate::adam) adam_step(update);
    return {};
  }

 private:
  using Lane = SvgpLane<Device, A>;
  using Base = Inducing<Device, A, Lane>;
  template <class U>
  using Scratch = typename Device::template Scratch<U>;
  template <class U>
  using Blas = typename Device::template Blas<U>;
  using Base::add_lanes, Base::direct_, Base::factorise, Base::kSame, Base::l_, Base::lane_, Base::lanes_;
  using Base::m_, Base::numbers_, Base::sandwich, Base::tile_;

  // Whether matrices whose entries are at most about 1 are in the tiles' precision, where it is not double.
  bool narrow() const { return !kSame && direct_ && shape_.whitened; }

  // What a pass is for: all; the natural step that comes before (V g and A alone); what comes after it, with the same A.
  enum class Stage { whole, before, after };

  static bool of_gaussian(const SvgpLikelihood& likelihood) {
    return likelihood.points && likelihood.points->kind == LikelihoodKind::gaussian;
  }
  // Where a step that fails goes back to.
  void keep_first() { Device::copy(first_.data(), kept_first_.reserve(shape_.first_size()), shape_.first_size()); }
  void restore(double rho) {
    if (rho > 0) {
      Device::copy(kept_first_.data(), first_.data(), shape_.first_size());
      std::swap(second_, next_);
    }
    factored_ = false;
    Device::wait();
  }

  // mu_, whitened; the factor of S^-1, or root_at_ where the root of S is what is stored; result->kl has log|S^-1| / 2.
  Status load(bool inverted, SvgpResult* result) {
    const int64_t m = m_, p = shape_.latents, all = p * m * m;
    const double* second = second_.data();
    double *mu = mu_.reserve(p * m), *log_det = terms_.reserve(3);
    Device::copy(first_.data(), mu, p * m);
    if (!shape_.whitened) second = whiten();
    const bool diagonal = shape_.diagonal && shape_.whitened;
    if (shape_.natural && diagonal) {
      Device::map(p * m, DivideBy{second, mu});
      Device::sums(1, p * m, LogEntries{second, m, 0}, log_det);
    } else if (shape_.natural) {
      double* factor = factor_.data();
      if (!inverted && (!factored_ || !shape_.whitened)) {
        Device::copy(second, factor, all);
        for (int64_t k = 0; k < p; ++k) {
          const Status status = factorise(factor + k * m * m, 0.0);
          if (!status) return {Code::non_finite, -1};
        }
      }
      for (int64_t k = 0; k < p; ++k) {
        Blas<double>::trsm('L', 'U', 'T', m, 1, 1.0, factor + k * m * m, m, mu + k * m, m);
        Blas<double>::trsm('L', 'U', 'N', m, 1, 1.0, factor + k * m * m, m, mu + k * m, m);
      }
      factored_ = shape_.whitened;
      inverted_ = inverted;
      Device::sums(1, p * m, LogEntries{factor, m, m}, log_det);
      Device::map(1, Scaled{log_det, 2.0, log_det});
    } else {
      if (diagonal) Device::map(all, FromDiagonal{second, m, 1, 0.0, root_.reserve(all)});
      root_at_ = diagonal ? root_.data() : second;
      Device::sums(1, p * m, LogEntries{root_at_, m, m}, log_det);
      Device::map(1, Scaled{log_det, -2.0, log_det});
    }
    Base::fetch(log_det, 1, &result->kl);
    result->kl *= 0.5;
    stored_ = second;
    return {};
  }

  // S - I, in centred_ or centred_narrow_; what columns are multiplied by; all of result->kl.
  Status spread(SvgpResult* result) {
    const int64_t m = m_, p = shape_.latents, all = p * m * m;
    double *mu = mu_.data(), *terms = terms_.reserve(3), found[2];
    if (narrow()) {
      centre<A>(stored_, centred_narrow_.reserve(all), terms);
    } else {
      centre<double>(stored_, centred_.data(), terms);
    }
    Device::sums(1, p * m, Square<double>{mu}, terms + 1);
    Base::fetch(terms, 2, found);
    result->kl += 0.5 * (found[0] + found[1]);
    // What columns are multiplied by: S - I, or L^-T (S - I) for columns of K_uf.
    A* to = centred_tile_.reserve(all);
    if (narrow()) {
      Device::copy(centred_narrow_.data(), to, all);
    } else {
      to_tiles(centred_.data(), all, to);
    }
    if (direct_) {
      Device::for_parts(p * m, [&](int64_t begin, int64_t end) {
        Blas<A>::trsm('L', 'U', 'N', m, end - begin, A(1), Base::l_tile(), m, to + begin * m, m);
      });
      double* left = vector_.reserve(p * m);
      Device::copy(mu, left, p * m);
      Blas<double>::trsm('L', 'U', 'N', m, p, 1.0, l_.data(), m, left, m);
      to_tiles(left, p * m, mu_tile_.reserve(p * m));
    } else {
      to_tiles(mu, p * m, mu_tile_.reserve(p * m));
    }
    return {};
  }

  // S - I from what `load` found, and its trace.
  template <class G>
  void centre(const double* second, G* to, double* trace) {
    const int64_t m = m_, p = shape_.latents, all = p * m * m;
    if (shape_.diagonal && shape_.whitened) {
      Device::map(all, FromDiagonal{second, m, shape_.natural ? -1 : 2, 0.0, centred_.data()});
      if constexpr (!std::is_same_v<G, double>) to_tiles(centred_.data(), all, to);
    } else if (shape_.natural) {
      for (int64_t k = 0; k < p; ++k) {
        if (!inverted_) invert(k);
        finish_inverse(k, to + k * m * m);
      }
    } else if constexpr (std::is_same_v<G, double>) {
      square_roots<double>(root_at_, to);
    } else {
      A* root = narrow_.reserve(all);
      to_tiles(root_at_, all, root);
      square_roots<A>(root, to);
    }
    Device::map(p * m, AddDiagonal<G>{to, m, -1.0});
    Device::sums(1, p * m, DiagonalEntries<G>{to, m}, trace);
  }

  // S from the factor R of S^-1 = R^T R: on a CPU in two parts, of which the first is R^-1 and the work of a thread.
  void invert(int64_t k) {
    const int64_t m = shape_.m, size = m * m;
    if constexpr (Device::kImmediate) {
      double *inverse = inverse_.data() + k * (size + kInverseBlock * kInverseBlock), *factor = factor_.data() + k * size;
      if (shape_.whitened && !factored_) {
        Device::copy(second_.data() + k * size, factor, size);
        if (Blas<double>::potrf('U', m, factor, m) != 0) {
          lost_ = true;
          return;
        }
      }
      Device::copy(factor, inverse, size);
      invert_upper<Blas<double>>(m, inverse, m, inverse + size);
    } else {
      Device::copy(factor_.data() + k * size, centred_.data() + k * size, size);
      Blas<double>::potri('U', m, centred_.data() + k * size, m);
    }
  }
  template <class G>
  void finish_inverse(int64_t k, G* to) {
    const int64_t m = shape_.m, size = m * m;
    if constexpr (Device::kImmediate) {  // the upper triangle of R^-1 R^-T
      double* inverse = inverse_.data() + k * (size + kInverseBlock * kInverseBlock);
      Device::for_parts(m, [&](int64_t begin, int64_t end) {
        for (int64_t j = begin; j < end; ++j) std::fill(inverse + j * m + j + 1, inverse + j * m + end, 0.0);
      });
      const G* root;
      if constexpr (std::is_same_v<G, double>) {
        root = inverse;
      } else {
        to_tiles(inverse, size, narrow_.reserve(size));
        root = narrow_.data();
      }
      Device::for_parts(m, [&](int64_t begin, int64_t end) {
        Blas<G>::gemm('N', 'T', end, end - begin, m - begin, G(1), root + begin * m, m, root + begin * (m + 1), m, G(0),
                      to + begin * m, m);
      });
    } else if constexpr (!std::is_same_v<G, double>) {
      to_tiles(centred_.data() + k * size, size, to);
    }
    Device::mirror_lower(to, m, m);
  }

  // Whole matrices W W^T from W^T, upper (column-major).
  template <class G>
  void square_roots(const G* root, G* square) {
    const int64_t m = m_, size = m * m;
    for (int64_t k = 0; k < shape_.latents; ++k) {
      const G* own = root + k * size;
      Device::for_parts(m, [&](int64_t begin, int64_t end) {  // the upper triangle
        Blas<G>::gemm('T', 'N', end, end - begin, end, G(1), own, m, own + begin * m, m, G(0), square + k * size + begin * m, m);
      });
      Device::mirror_lower(square + k * size, m, m);
    }
  }

  // Whitens what is stored: mu_ (S^-1 mu with natural), and the matrices, which are returned.
  const double* whiten() {
    const int64_t m = m_, p = shape_.latents, all = p * m * m;
    double *mu = mu_.data(), *root = root_.reserve(all);
    const double* l = l_.data();
    if (shape_.diagonal) {
      Device::map(all, FromDiagonal{second_.data(), m, 1, 0.0, root});
    } else {
      Device::copy(second_.data(), root, all);
    }
    if (shape_.natural) {  // L^T (S^-1) L, L^T (S^-1 mu)
      Blas<double>::trmm('L', 'U', 'N', m, p, 1.0, l, m, mu, m);
      for (int64_t k = 0; k < p; ++k) {
        Blas<double>::trmm('L', 'U', 'N', m, m, 1.0, l, m, root + k * m * m, m);
        Blas<double>::trmm('R', 'U', 'T', m, m, 1.0, l, m, root + k * m * m, m);
        Device::symmetrise(root + k * m * m, m);
      }
    } else {  // L^-1 W, whose transpose is stored
      Blas<double>::trsm('L', 'U', 'T', m, p, 1.0, l, m, mu, m);
      for (int64_t k = 0; k < p; ++k) Blas<double>::trsm('R', 'U', 'N', m, m, 1.0, l, m, root + k * m * m, m);
    }
    return root;
  }

  // What the natural step that comes before needs of q: mu and the factors of S^-1 in the tiles' precision.
  void load_factor() {
    const int64_t m = m_, p = shape_.latents, all = p * m * m;
    to_tiles(mu_.data(), p * m, mu_tile_.reserve(p * m));
    if constexpr (!kSame) to_tiles(factor_.data(), all, factor_tile_.reserve(all));
  }
  const A* factor_tile() const {
    if constexpr (kSame) {
      return factor_.data();
    } else {
      return factor_tile_.data();
    }
  }

  // All rows: what is expected and its gradients, in the lanes; A_p and V g_p there, too.
  void pass(const SvgpBatch<A>& batch, const SvgpLikelihood& likelihood, const SvgpMean& mean, Stage stage) {
    const int64_t m = m_, p = shape_.latents, q = shape_.q, size = m * m, parameters = likelihood.parameters();
    const int64_t sums = 1 + parameters + p * mean.basis, theta = this->uu_->kernel.tree().parameters;
    double* coef = mean_there_.reserve(p * mean.basis + 2 * q + 1);
    Device::upload(mean.coef, coef, p * mean.basis);
    Device::upload(mean.centre, coef + p * mean.basis, q);
    Device::upload(mean.spread, coef + p * mean.basis + q, q);
    const bool before = stage == Stage::before, gaussian = of_gaussian(likelihood);
    if (stage != Stage::after) concave_ = true;
    for (int64_t s = 0; s < lanes_; ++s) {
      Lane& lane = *lane_[s];
      lane.zero_gradients(tile_, m, q, theta);
      lane.gram.reserve(p * size), lane.right.reserve(p * m);
      lane.fresh = true;
      Device::zero(lane.totals.reserve(sums), sums);
    }
    Base::each_tile(batch.n, [&](Lane& lane, int64_t begin, int64_t end) {
      const int64_t count = end - begin, stride = m * tile_, at = kept_ ? m * (begin - lane.first) : 0;
      const A* x = batch.x + begin * q;
      A *k = lane.k.reserve(m * room_) + at, *v = direct_ ? lane.v.reserve(m * room_) + at : k, *u = lane.u.reserve(p * stride);
      const bool there = kept_ && !before && solved_;
      auto gram = Base::covariances(lane, x, count, there ? nullptr : k);
      if (!there) {
        if (direct_) Device::copy(k, v, m * count);
        Blas<A>::trsm('L', 'U', 'T', m, count, A(1), Base::l_tile(), m, v, m);
      }
      for (int64_t f = 0; f < p && !(before && gaussian); ++f) {
        if (before) {
          Device::copy(v, u + f * stride, m * count);
          Blas<A>::trsm('L', 'U', 'T', m, count, A(1), factor_tile() + f * size, m, u + f * stride, m);
        } else {
          Blas<A>::gemm('N', 'N', m, count, m, A(1), centred_tile_.data() + f * size, m, v, m, A(0), u + f * stride, m);
        }
      }
      // The rows' latents, and what the likelihood says of them.
      const MeanBasis<A> basis{x, q, coef + p * mean.basis, coef + p * mean.basis + q};
      const A* left = direct_ && !before ? k : v;
      const double* offset = batch.offset ? batch.offset + begin * p : nullptr;
      A *fit = lane.fit.reserve(p * tile_), *mu = lane.mean.reserve(p * tile_), *var = lane.variance.reserve(p * tile_);
      Blas<A>::gemm('T', 'N', count, p, m, A(1), left, m, mu_tile_.data(), m, A(0), fit, count);
      Device::map(count * p, LatentMarginals<A>{left, before && gaussian ? nullptr : u, fit, m, count, p, stride, before,
                                                lane.kernel.diagonal(x, q), basis, mean.basis, coef, offset, mu, var});
      const RowWeight row{batch.weight ? batch.weight + begin : nullptr, batch.scale};
      const Expected expected = expect(lane, batch, likelihood, begin, count);
      double* totals = lane.totals.data();
      if (!before) Device::sums(1 + parameters, count * expected.entries,
                   ExpectedTerms{expected.value, lane.by_parameters.data(), expected.entries, parameters, row}, totals, true);
      A* g = lane.g.reserve(p * tile_);
      double* h = lane.h.reserve(p * tile_);
      Device::map(count, LatentCotangents<A>{expected.by_mean, expected.by_variance, count, p, row, g, h, lane.diagonal.data()});
      if (!before) Device::sums(p * mean.basis, count, CoefficientTerms<A>{g, count, mean.basis, basis}, totals + 1 + parameters, true);
      // V g and A.
      add_product(lane, 'N', m, p, count, v, g, lane.right.data());
      for (int64_t f = 0; f < p && stage != Stage::after; ++f) outer_product(lane, v, f, count);
      lane.fresh = false;
      if (before) return;
      // The cotangent of K_uf.
      A* w = p == 1 ? u : lane.w.reserve(stride);
      Device::map(count, WeightedColumns<A>{u, m, p, stride, h, w});
      Blas<A>::gemm('N', 'T', m, count, p, A(1), mu_tile_.data(), m, g, count, A(1), w, m);
      if (!direct_) Blas<A>::trsm('L', 'U', 'N', m, count, A(1), Base::l_tile(), m, w, m);
      Base::pull_covariances(lane, gram, x, count, w);
    });
    solved_ = before;
  }

  struct Expected {
    const double *value, *by_mean, *by_variance;
    int64_t entries;  // of value, for a row
  };
  Expected expect(Lane& lane, const SvgpBatch<A>& batch, const SvgpLikelihood& likelihood, int64_t begin, int64_t count) {
    const int64_t p = shape_.latents;
    if (likelihood.value) {
      lane.by_parameters.reserve(1);
      return {likelihood.value + begin, likelihood.by_mean + begin * p, likelihood.by_variance + begin * p, 1};
    }
    const int64_t entries = likelihood.classes ? 1 : p, room = tile_ * p;
    const A *y = batch.y + begin * entries, *own = batch.own ? batch.own + begin * p : nullptr;
    const LikelihoodPoints<A> points{y, own, lane.mean.data(), lane.variance.data()};
    double *value = lane.value.reserve(room), *by_mean = lane.by_mean.reserve(room), *by_variance = lane.by_variance.reserve(room);
    double* by_parameters = lane.by_parameters.reserve(room * likelihood.parameters() + 1);
    if (likelihood.points) {
      Device::map(count * p, ExpectationsOfPoints<A>{*likelihood.points, points, value, by_mean, by_variance,
                                                     likelihood.parameters() ? by_parameters : nullptr}, 128);
    } else if (likelihood.softmax) {
      Device::map(count, ExpectationsOfClasses<A, true>{*likelihood.classes, points, value, by_mean, by_variance}, 4);
    } else {
      Device::map(count, ExpectationsOfClasses<A, false>{*likelihood.classes, points, value, by_mean, by_variance}, 16);
    }
    return {value, by_mean, by_variance, entries};
  }

  // sum (rows, columns) = or += a op(b), in double; a (rows, depth).
  void add_product(Lane& lane, char trans, int64_t rows, int64_t columns, int64_t depth, const A* a, const A* b, double* sum) {
    const int64_t stride = trans == 'N' ? depth : columns;
    if constexpr (kSame) {
      Blas<A>::gemm('N', trans, rows, columns, depth, 1.0, a, rows, b, stride, lane.fresh ? 0.0 : 1.0, sum, rows);
    } else {
      A* product = lane.product.reserve(m_ * std::max(m_, shape_.latents));
      Blas<A>::gemm('N', trans, rows, columns, depth, A(1), a, rows, b, stride, A(0), product, rows);
      take_product(lane, rows * columns, sum);
    }
  }
  void take_product(Lane& lane, int64_t size, double* sum) {
    if (lane.fresh) {
      Device::map(size, CastTo<A, double>{lane.product.data(), sum});
    } else {
      Device::map(size, AddTo<A>{lane.product.data(), sum});
    }
  }
  // A_f += sum_i h_if v_i v_i^T, its upper triangle. Where all h have one sign, which they have for log-concave likelihoods,
  // that is half of a product.
  void outer_product(Lane& lane, const A* v, int64_t f, int64_t count) {
    const int64_t m = m_, p = shape_.latents;
    double* sum = lane.gram.data() + f * m * m;
    const double* h = lane.h.data();
    A* turned = lane.turned.reserve(m * tile_);
    if constexpr (Device::kImmediate) {
      bool signs[2] = {false, false};
      for (int64_t i = 0; i < count; ++i) signs[h[i * p + f] > 0] = true;
      if (signs[1]) concave_ = false;
      if (!signs[1]) {
        Device::map(count, RootColumns<A>{v, m, p, f, -1, h, turned});
        if constexpr (kSame) {
          Blas<A>::syrk('U', 'N', m, count, -1.0, turned, m, lane.fresh ? 0.0 : 1.0, sum, m);
        } else {
          Blas<A>::syrk('U', 'N', m, count, A(-1), turned, m, A(0), lane.product.reserve(m * std::max(m, p)), m);
          take_product(lane, m * m, sum);
        }
        return;
      }
    }
    Device::map(count, RootColumns<A>{v, m, p, f, 0, h, turned});
    add_product(lane, 'T', m, m, count, turned, v, sum);
  }

  // Sums over lanes: A_p (whole matrices) in a_ and V g in right_.
  void outer_sums() {
    const int64_t m = m_, p = shape_.latents, all = p * m * m;
    add_lanes(all, [](Lane& lane) { return lane.gram.data(); }, a_.reserve(all));
    for (int64_t k = 0; k < p; ++k) Device::mirror_lower(a_.data() + k * m * m, m, m);
    add_lanes(p * m, [](Lane& lane) { return lane.right.data(); }, right_.reserve(p * m));
  }

  // The others to the host.
  void totals(int64_t parameters, int64_t basis, SvgpResult* result, double* d_parameters, double* d_coef) {
    const int64_t m = m_, p = shape_.latents, count = 1 + parameters + p * basis;
    add_lanes(p * m, [](Lane& lane) { return lane.right.data(); }, right_.reserve(p * m));
    std::vector<double> found(count);
    add_lanes(count, [](Lane& lane) { return lane.totals.data(); }, terms_.reserve(count));
    Base::fetch(terms_.data(), count, found.data());
    result->expected = found[0];
    std::copy_n(found.data() + 1, parameters, d_parameters);
    std::copy_n(found.data() + 1 + parameters, p * basis, d_coef);
  }

  // The cotangent of K_uu; in the tiles' precision where K_uu is far from singular.
  void cotangent() {
    const int64_t m = m_, p = shape_.latents, size = m * m;
    double* e = cotangent_.reserve(size);
    if (!shape_.whitened) {
      double* x = work_.reserve(size);
      cross_products<double>(mu_.data(), right_.data(), centred_.data(), a_.data(), 1.0, x);
      Device::map(size, UnwhitenedCotangent{x, a_.data(), mu_.data(), centred_.data(), m, p, -0.5, e});
      sandwich(e);
    } else if (!narrow()) {
      cross_products<double>(mu_.data(), right_.data(), centred_.data(), a_.data(), -1.0, e);
      triangular_sandwich<double>(l_.data(), e);
    } else {
      A *numbers = narrow_.reserve(p * (2 * m + size) + size), *mu = numbers, *vg = mu + p * m, *a = vg + p * m, *x = a + p * size;
      to_tiles(mu_.data(), p * m, mu);
      to_tiles(right_.data(), p * m, vg);
      to_tiles(a_.data(), p * size, a);
      cross_products<A>(mu, vg, centred_narrow_.data(), a, A(-1), x);
      triangular_sandwich<A>(Base::l_tile(), x);
      Device::map(size, CastTo<A, double>{x, e});
    }
  }
  // x = factor X; when q is whitened only the column-major lower triangle.
  template <class G>
  void cross_products(const G* mu, const G* vg, const G* centred, const G* a, G factor, G* x) {
    const int64_t m = m_, p = shape_.latents, size = m * m;
    Device::for_parts(m, [&](int64_t begin, int64_t end) {
      const int64_t top = shape_.whitened ? begin : 0, rows = m - top;
      G* part = x + begin * m + top;
      Blas<G>::gemm('N', 'T', rows, end - begin, p, factor, mu + top, m, vg + begin, m, G(0), part, m);
      for (int64_t k = 0; k < p; ++k) {
        Blas<G>::gemm('N', 'N', rows, end - begin, m, 2 * factor, centred + k * size + top, m, a + k * size + begin * m, m,
                      G(1), part, m);
      }
    });
  }
  // x = the mean of L^-T Phi(x) L^-1 and its transpose, x lower (column-major); 4/3 m^3 flops.
  template <class G>
  void triangular_sandwich(const G* l, G* x) {
    const int64_t m = m_;
    Device::map_entries(m, m, HalfLower<G>{x, m});
    Device::for_parts(m, [&](int64_t begin, int64_t end) {  // rows, which end at the diagonal
      Blas<G>::trsm('R', 'U', 'T', end - begin, end, G(1), l, m, x + begin, m);
    });
    Device::for_parts(m, [&](int64_t begin, int64_t end) {
      Blas<G>::trsm('L', 'U', 'N', m, end - begin, G(1), l, m, x + begin * m, m);
    });
    Device::symmetrise(x, m);
  }
  static void to_tiles(const double* from, int64_t n, A* to) {
    if constexpr (kSame) {
      Device::copy(from, to, n);
    } else {
      Device::map(n, CastTo<double, A>{from, to});
    }
  }

  // Halves rho until all S^-1 have factors, and whitened ones no variance far above the prior's, which they would have only for
  // a moment; 0 if there is no such step.
  double natural_step(double rho) {
    const int64_t m = m_, p = shape_.latents, all = p * m * m, first = shape_.first_size(), second = shape_.second_size();
    double *target = a_.data(), *vector = vector_.reserve(first);
    Device::copy(right_.data(), vector, first);
    if (!shape_.diagonal) {
      for (int64_t k = 0; k < p; ++k) {
        Blas<double>::gemm('N', 'N', m, 1, m, -2.0, target + k * m * m, m, mu_.data() + k * m, m, 1.0, vector + k * m, m);
      }
    } else {
      Device::map(first, Difference{vector, mu_.data(), vector});
    }
    double factor = -2.0, identity = 1.0;  // what the precision goes to is factor a + identity I
    if (!shape_.whitened) {
      Device::map(all, Scaled{target, factor, target});
      Device::map(p * m, AddDiagonal<double>{target, m, identity});
      factor = 1.0, identity = 0.0;
      Blas<double>::trsm('L', 'U', 'N', m, p, 1.0, l_.data(), m, vector, m);
      for (int64_t k = 0; k < p; ++k) sandwich(target + k * m * m);
    }
    if (shape_.diagonal) {
      double* diagonal = diagonal_.reserve(second);
      Device::map(second, TakeDiagonals{target, m, factor, identity, diagonal});
      Device::map(first, AddMeans{diagonal, first_.data(), second_.data(), vector});
      target = diagonal;
      factor = 1.0;
    }
    const double least = shape_.whitened ? kLeastPrecision : 0.0;
    double *next = next_.reserve(second), *factors = shape_.diagonal ? next : factor_.data();
    // Whitened, I - 2 A is then positive definite, rounding included: the next step takes the factor.
    if (Device::kImmediate && shape_.whitened && !shape_.diagonal && concave_) {
      Device::map(second, Blend{second_.data(), target, rho, factor, next, next});
      Device::map(p * m, AddDiagonal<double>{next, m, rho * identity});
      Device::map(first, Blend{first_.data(), vector, rho, 1.0, first_.data(), first_.data()});
      std::swap(second_, next_);
      factored_ = false;
      return rho;
    }
    for (int halvings = 0; halvings < 30; ++halvings, rho *= 0.5) {
      Device::map(second, Blend{second_.data(), target, rho, factor, next, factors});
      bool good = true;
      if (shape_.diagonal) {
        Device::zero(this->failure_.data(), 1);
        Device::note_first(second, NotAbove{next, least}, this->failure_.data());
        Device::map(1, StoreFailure{this->failure_.data(), numbers_.device()});
        numbers_.pull(1);
        Device::wait();
        good = numbers_.host()[0] == 0;
      } else {
        Device::map(p * m, AddDiagonal<double>{next, m, rho * identity});
        Device::map(p * m, AddDiagonal<double>{factors, m, rho * identity});
        for (int64_t k = 0; k < p && good; ++k) good = static_cast<bool>(factorise(factors + k * m * m, least));
      }
      if (!good) continue;
      Device::map(first, Blend{first_.data(), vector, rho, 1.0, first_.data(), first_.data()});
      std::swap(second_, next_);
      factored_ = !shape_.diagonal;
      Device::wait();
      return rho;
    }
    factored_ = false;
    return 0.0;
  }

  // 2 W^T a; when q is whitened only the upper triangle.
  template <class G>
  void root_products(const G* root, const G* a, G* product) {
    const int64_t m = m_, size = m * m;
    for (int64_t k = 0; k < shape_.latents; ++k) {
      Device::for_parts(m, [&](int64_t begin, int64_t end) {
        const int64_t rows = shape_.whitened ? end : m;
        Blas<G>::gemm('N', 'N', rows, end - begin, m, G(2), root + k * size, m, a + k * size + begin * m, m, G(0),
                      product + k * size + begin * m, m);
      });
    }
  }

  void adam_step(const SvgpUpdate& update) {
    const int64_t m = m_, p = shape_.latents, size = m * m, first = shape_.first_size(), second = shape_.second_size();
    double *by_first = vector_.reserve(first), *a = a_.data();
    const AdamRule rule{update.rate * std::sqrt(1.0 - std::pow(update.beta_2, update.t)) / (1.0 - std::pow(update.beta_1, update.t)),
                        update.beta_1, update.beta_2, update.epsilon};
    double *w = second_.data(), *mean = moments_[2].data(), *square = moments_[3].data();
    Device::map(first, Difference{right_.data(), mu_.data(), by_first});
    // 2 W^T (A - I / 2), for unwhitened ones times L^-1, + 1 / diagonal.
    Device::map(p * m, AddDiagonal<double>{a, m, -0.5});
    if (narrow() && !shape_.diagonal) {
      A *root = narrow_.reserve(3 * p * size), *a_tile = root + p * size, *product = a_tile + p * size;
      to_tiles(root_at_, p * size, root);
      to_tiles(a, p * size, a_tile);
      root_products<A>(root, a_tile, product);
      Device::map_entries(m, p * m, RootAscent<A>{product, w, mean, square, m, rule});
    } else {
      double* by_second = next_.reserve(p * size);
      root_products<double>(root_at_, a, by_second);
      if (!shape_.whitened) {
        Blas<double>::trsm('L', 'U', 'N', m, p, 1.0, l_.data(), m, by_first, m);
        for (int64_t k = 0; k < p; ++k) Blas<double>::trsm('R', 'U', 'T', m, m, 1.0, l_.data(), m, by_second + k * size, m);
      }
      if (shape_.diagonal) {
        double* gradient = diagonal_.reserve(second);
        Device::map(second, TakeDiagonals{by_second, m, 1.0, 0.0, gradient});
        Device::map(second, AddInverses{w, gradient});
        Device::map(second, AdamAscent{gradient, w, mean, square, rule});
      } else {
        Device::map_entries(m, p * m, RootAscent<double>{by_second, w, mean, square, m, rule});
      }
    }
    Device::map(first, AdamAscent{by_first, first_.data(), moments_[0].data(), moments_[1].data(), rule});
    Device::wait();
  }

  static constexpr double kLeastPrecision = 0.1;             // of whitened variables, whose prior's is 1
  static constexpr int64_t kKeptBytes = int64_t(1) << 25;  // of columns that a lane keeps between two passes

  SvgpShape shape_;
  bool factored_ = false;             // factor_ holds those of second_
  bool inverted_ = false;             // inverse_ holds R^-1 of them
  bool kept_ = false, solved_ = false;  // lanes hold all their columns; what they hold is K_uf and V of this step
  int64_t room_ = 0;                  // columns that a lane holds
  const double* stored_ = nullptr;    // the whitened second_
  std::atomic<bool> lost_{false};     // a factor that could not be taken
  std::atomic<bool> concave_{false};  // no h of the pass was positive
  const double* root_at_ = nullptr;   // the whitened W^T
  Scratch<double> first_, second_, moments_[4];
  Scratch<double> mu_, centred_, inverse_, kept_first_, root_, factor_, work_, a_, right_, terms_, cotangent_, vector_, next_, diagonal_, mean_there_, centres_;
  Scratch<A> centred_tile_, centred_narrow_, factor_tile_, mu_tile_, narrow_;
};

}  // namespace lvm

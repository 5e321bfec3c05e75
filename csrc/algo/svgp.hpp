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
#include <cmath>
#include <cstdint>
#include <vector>

#include "algo/likelihood.hpp"
#include "algo/svgp_state.hpp"

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

template <class Device, class A>
class SvgpModel : public SvgpState<Device, A> {
 public:
  using SvgpState<Device, A>::SvgpState;

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
    if (update.kind == SvgpUpdate::adam) Base::adam_step(update);
    return {};
  }

 private:
  using Lane = SvgpLane<Device, A>;
  using Base = SvgpState<Device, A>;
  template <class U>
  using Scratch = typename Device::template Scratch<U>;
  template <class U>
  using Blas = typename Device::template Blas<U>;
  using Base::add_lanes, Base::direct_, Base::kSame, Base::l_, Base::lane_, Base::lanes_, Base::m_, Base::sandwich, Base::tile_;
  using Base::a_, Base::centred_, Base::centred_narrow_, Base::centred_tile_, Base::concave_, Base::factor_tile, Base::invert;
  using Base::keep_first, Base::load, Base::load_factor, Base::lost_, Base::mu_, Base::mu_tile_, Base::narrow, Base::narrow_;
  using Base::natural_step, Base::restore, Base::right_, Base::shape_, Base::spread, Base::terms_, Base::to_tiles, Base::work_;

  // What a pass is for: all; the natural step that comes before (V g and A alone); what comes after it, with the same A.
  enum class Stage { whole, before, after };

  static bool of_gaussian(const SvgpLikelihood& likelihood) {
    return likelihood.points && likelihood.points->kind == LikelihoodKind::gaussian;
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
  static constexpr int64_t kKeptBytes = int64_t(1) << 25;  // of columns that a lane keeps between two passes

  bool kept_ = false, solved_ = false;  // lanes hold all their columns; what they hold is K_uf and V of this step
  int64_t room_ = 0;                    // columns that a lane holds
  Scratch<double> cotangent_, mean_there_, centres_;
};

}  // namespace lvm

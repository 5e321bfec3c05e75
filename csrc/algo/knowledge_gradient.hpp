// The knowledge gradient of a Gaussian process for minimisation: what q more observations at once are expected to take off
// the smallest posterior mean,
//
//   KG(X_c) = min_x mu(x) - sum_m w_m min_x g_m(x),   g_m(x) = mu(x) + xi_m^T R^-1 k_n(X_c, x),
//
// k_n the posterior covariance, R R^T = k_n(X_c, X_c) + noise, and xi_m the standard normal numbers of simulated outcome m.
// Frazier, Powell & Dayanik (2009), INFORMS J. Comput. 21; Wu & Frazier (2016), NIPS 29, for several points.
//
// Nothing is factorised anew: with W = C^-1 k(X, X_c) and v_m = R^-T xi_m each g_m is a sum over the same n + q points,
// k(x, X) (alpha - W v_m) + k(x, X_c) v_m, so that a candidate costs two triangular solves, and a point x after that O(n).
// Each search begins at the best of a set of points kept from the constructor, for which k(Z, X) is known, or at a point of
// the candidate; then all fantasies try the minimisers that the others found. The gradient by the candidate is that at fixed
// minimisers (envelope theorem), but for those that move with the candidate, and costs two more solves.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

#include "algo/fantasy_terms.hpp"
#include "algo/kernel_expansion.hpp"

namespace lvm {

struct KgOptions {
  BfgsOptions search;  // its tolerance in units of the range of mu
  int64_t starts;      // of the points kept, for each fantasy
};

// What is asked of M fantasies of m candidates; all on the host. Null: not asked.
struct KgResult {
  double* expected;    // (m,): sum_m w_m g_m at the minimisers
  double* gradient;    // (m, q, d): of it, by the candidates
  double* minima;      // (m, M)
  double* minimisers;  // (m, M, d)
  double* slopes;      // (m, M, d): w_m d g_m / d x at the minimisers
  double* mean;        // (m, q): mu at the candidates
  double* root;        // (m, q, q): R, lower
};

template <class Device>
class KnowledgeGradient {
 public:
  // On the device, kept by the caller: the training inputs x (n, d), L (n, n) lower, row-major, with L L^T = C, and
  // alpha (n,) = C^-1 (y - m). On the host: theta; mean (1 + d,), m(x) = mean[0] + mean[1..] x; the box; spread, how far
  // values of g may lie apart at least: tolerances are relative to it and to the range of mu.
  KnowledgeGradient(const KernelTree& tree, const double* theta, const double* x, int64_t n, int64_t d, const double* l,
                    const double* alpha, double noise, double spread, const double* mean, const double* lower,
                    const double* upper)
      : n_(n), d_(d), x_(x), l_(l), alpha_(alpha), noise_(noise), spread_(spread), tree_(tree),
        theta_(theta, theta + tree.parameters), mean_(mean, mean + 1 + d), lower_(lower, lower + d),
        upper_(upper, upper + d), scale_(d) {
    Device::column_centres(x, n, d, centre_.reserve(d + 1));
    std::vector<double> width(d);
    for (int64_t f = 0; f < d; ++f) width[f] = upper_[f] - lower_[f];
    Device::upload(width.data(), width_.reserve(d), d);
    Device::upload(mean, device_mean_.reserve(1 + d), 1 + d);
    std::copy(width.begin(), width.end(), scale_.begin());
  }

  int64_t inputs() const { return d_; }
  int64_t points() const { return points_; }

  // Where searches may begin: z (count, d) on the host; mu (count,) at these.
  void set_points(const double* z, int64_t count, double* mu) {
    points_ = count;
    host_points_.assign(z, z + count * d_);
    const double spacing = std::pow(static_cast<double>(count), -1.0 / static_cast<double>(d_));  // of the box's width
    for (int64_t f = 0; f < d_; ++f) scale_[f] = (upper_[f] - lower_[f]) * std::min(1.0, 5.0 * spacing);
    z_.reserve(count * d_), kzx_.reserve(count * n_);
    Device::upload(z, z_.data(), count * d_);
    Worker& w = worker(0);
    w.f.assign(x_, n_, alpha_);
    w.f.cross(z_.data(), count, kzx_.data());
    mu_.reserve(count);
    std::vector<int64_t> zero(count, 0);
    std::vector<double> unused(count * d_);
    w.f.evaluate(count, zero.data(), z, mu, unused.data());
    Device::upload(mu, mu_.data(), count);
    const auto ends = std::minmax_element(mu, mu + count);
    spread_ = std::max(spread_, *ends.second - *ends.first);
    Kernel<Device, double>& kernel = w.f.kernel();
    kernel.assign(z_points_, z_.data(), count, d_, nullptr, centre_.data());
    Device::wait();
  }

  // Minima of mu from starts (count, d); all on the host.
  void minimise_mean(const double* starts, int64_t count, BfgsOptions options, double* x, double* value) {
    Worker& w = worker(0);
    options.gradient_tolerance *= spread_;
    w.f.assign(x_, n_, alpha_);
    const std::vector<int64_t> zero(count, 0);
    w.f.minimise(count, zero.data(), starts, options, x, value);
  }

  // All on the host: candidates (m, q, d), xi (M, q), weights (M,). at (m, M, d): there g is taken, instead of at minimisers
  // that are searched; or null.
  void evaluate(const double* candidates, int64_t m, int64_t q, const double* xi, const double* weights, int64_t fantasies,
                const double* at, KgOptions options, const KgResult& result) {
    options.search.gradient_tolerance *= spread_;
    const int64_t lanes = std::min(m, Device::kLanes);
    for (int64_t lane = 0; lane < lanes; ++lane) worker(lane);
    Device::for_lanes(lanes, [&](int64_t lane) {
      for (int64_t c = lane; c < m; c += lanes) {
        one(*workers_[lane], candidates + c * q * d_, q, xi, weights, fantasies, at ? at + c * fantasies * d_ : nullptr, options,
            c, result);
      }
    });
  }

 private:
  using Scratch = typename Device::template Scratch<double>;
  using Blas = typename Device::template Blas<double>;
  template <class U>
  using Shared = typename Device::template Shared<U>;

  // One candidate at a time.
  struct Worker {
    KernelExpansion<Device> f;
    typename Device::template KernelPoints<double> candidate;
    Scratch points, k, v, w, weights, p, k_found, u, cotangent, unused;
    Shared<double> x, moments, coefficients, found_there, covariances, matrix, best_value, sigma_bar, gradient;
    Shared<int64_t> best;
    std::vector<double> root, starts, start_value, found, minima, x_of_row, value_of_row, root_bar, phi;
    std::vector<int64_t> which, owner;
    explicit Worker(KnowledgeGradient& all)
        : f(all.tree_, all.theta_.data(), all.d_, all.mean_.data(), all.lower_.data(), all.upper_.data(), all.scale_.data(),
            all.centre_.data()) {}
  };

  Worker& worker(int64_t lane) {
    while (static_cast<int64_t>(workers_.size()) <= lane) workers_.push_back(std::make_unique<Worker>(*this));
    return *workers_[lane];
  }

  void one(Worker& w, const double* candidate, int64_t q, const double* xi, const double* weights, int64_t fantasies,
           const double* at, const KgOptions& options, int64_t c, const KgResult& result) {
    condition(w, candidate, q, xi, fantasies);
    if (result.mean) std::copy_n(w.moments.host() + q * q, q, result.mean + c * q);
    if (result.root) std::copy_n(w.root.data(), q * q, result.root + c * q * q);
    w.x_of_row.resize(fantasies * d_);
    w.which.resize(fantasies);
    for (int64_t m = 0; m < fantasies; ++m) w.which[m] = m;
    if (at) {
      w.found.assign(at, at + fantasies * d_);
      w.minima.resize(fantasies);
      w.f.evaluate(fantasies, w.which.data(), at, w.minima.data(), w.x_of_row.data());
    } else {
      search(w, candidate, q, fantasies, options);
    }
    double expected = 0;
    for (int64_t m = 0; m < fantasies; ++m) expected += weights[m] * w.minima[m];
    result.expected[c] = expected;
    if (result.minima) std::copy_n(w.minima.data(), fantasies, result.minima + c * fantasies);
    if (result.minimisers) std::copy_n(w.found.data(), fantasies * d_, result.minimisers + c * fantasies * d_);
    if (result.slopes) {
      for (int64_t i = 0; i < fantasies * d_; ++i) {
        result.slopes[c * fantasies * d_ + i] = weights[i / d_] * w.x_of_row[i];
      }
    }
    if (!result.gradient) return;
    differentiate(w, q, weights, fantasies, result.gradient + c * q * d_);
    if (!at) follow(w, candidate, q, weights, fantasies, result.gradient + c * q * d_);
  }

  // R, v and the weights of all fantasies.
  void condition(Worker& w, const double* candidate, int64_t q, const double* xi, int64_t fantasies) {
    const int64_t columns = n_ + q;
    double* points = w.points.reserve((columns + fantasies) * d_);
    Device::copy(x_, points, n_ * d_);
    std::copy_n(candidate, q * d_, w.x.reserve(q * d_));
    w.x.push(q * d_);
    Device::copy(w.x.device(), points + n_ * d_, q * d_);
    w.f.assign(points, columns, nullptr);
    double* k = w.k.reserve(q * columns);
    w.f.cross(w.x.device(), q, k);
    double *v = w.v.reserve(q * n_), *solved = w.w.reserve(q * n_);
    for (int64_t j = 0; j < q; ++j) Device::copy(k + j * columns, v + j * n_, n_);
    Blas::trsm('L', 'U', 'T', n_, q, 1.0, l_, n_, v, n_);
    w.moments.reserve(q * (q + 2));
    Device::map(q * (q + 1), CandidateMoments{w.f.kernel().diagonal(w.x.device(), d_), k, v, alpha_, device_mean_.data(),
                                              w.x.device(), noise_, n_, q, d_, w.moments.device()});
    w.moments.pull(q * (q + 2));
    Device::copy(v, solved, q * n_);
    Blas::trsm('L', 'U', 'N', n_, q, 1.0, l_, n_, solved, n_);
    Device::wait();
    factorise(w, q);
    double* coefficients = w.coefficients.reserve(fantasies * q);
    for (int64_t m = 0; m < fantasies; ++m) {
      std::copy_n(xi + m * q, q, coefficients + m * q);
      solve_root(w, q, coefficients + m * q, true);
    }
    w.coefficients.push(fantasies * q);
    double* expansion = w.weights.reserve(fantasies * columns);
    Device::map(fantasies * columns, FantasyWeights{alpha_, solved, w.coefficients.device(), n_, q, expansion});
    w.f.set_weights(expansion);
  }

  // R, 0 in the columns of points of which nothing can be learned beyond rounding.
  static void factorise(Worker& w, int64_t q) {
    const double* sigma = w.moments.host();
    w.root.assign(q * q, 0.0);
    for (int64_t i = 0; i < q; ++i) {
      for (int64_t j = 0; j <= i; ++j) {
        double left = sigma[i * q + j];
        for (int64_t l = 0; l < j; ++l) left -= w.root[i * q + l] * w.root[j * q + l];
        if (i == j) {
          w.root[i * q + i] = left > kNothing * std::fabs(sigma[i * q + i]) && left > 0 ? std::sqrt(left) : 0.0;
        } else {
          w.root[i * q + j] = w.root[j * q + j] > 0 ? left / w.root[j * q + j] : 0.0;
        }
      }
    }
  }
  // b <- R^-1 b or R^-T b.
  static void solve_root(const Worker& w, int64_t q, double* b, bool transposed) {
    const double* r = w.root.data();
    for (int64_t step = 0; step < q; ++step) {
      const int64_t i = transposed ? q - 1 - step : step;
      const int64_t begin = transposed ? i + 1 : 0, end = transposed ? q : i;
      for (int64_t j = begin; j < end; ++j) b[i] -= (transposed ? r[j * q + i] : r[i * q + j]) * b[j];
      b[i] = r[i * q + i] > 0 ? b[i] / r[i * q + i] : 0.0;
    }
  }

  bool inside(const double* x) const {
    for (int64_t f = 0; f < d_; ++f) {
      if (!(x[f] >= lower_[f] && x[f] <= upper_[f])) return false;
    }
    return true;
  }
  double linear(const double* x) const {
    double total = mean_[0];
    for (int64_t f = 0; f < d_; ++f) total += mean_[1 + f] * x[f];
    return total;
  }

  // Minimisers and minima of all fantasies.
  void search(Worker& w, const double* candidate, int64_t q, int64_t fantasies, const KgOptions& options) {
    begin(w, candidate, q, fantasies, std::max<int64_t>(options.starts, 1));
    const int64_t rows = static_cast<int64_t>(w.owner.size());
    std::vector<double>&x = w.x_of_row, &value = w.value_of_row;
    x.resize(rows * d_);
    value.resize(rows);
    w.f.minimise(rows, w.owner.data(), w.starts.data(), options.search, x.data(), value.data());
    w.found.assign(w.starts.begin(), w.starts.begin() + fantasies * d_);
    w.minima.assign(fantasies, INFINITY);
    for (int64_t r = 0; r < rows; ++r) keep(w, w.owner[r], x.data() + r * d_, value[r]);
    share(w, q, fantasies, options.search);
  }
  void keep(Worker& w, int64_t m, const double* x, double value) const {
    if (!(value < w.minima[m])) return;
    w.minima[m] = value;
    std::copy_n(x, d_, w.found.data() + m * d_);
  }

  // Where searches begin: row r, of fantasy owner[r], at starts[r] with the value start_value[r].
  void begin(Worker& w, const double* candidate, int64_t q, int64_t fantasies, int64_t starts) {
    const int64_t columns = n_ + q, rows = fantasies * starts;
    Kernel<Device, double>& kernel = w.f.kernel();
    auto& at = w.candidate;
    kernel.assign(at, w.x.device(), q, d_, nullptr, centre_.data());
    kernel.choose_distances(at, z_points_);
    double* p = w.p.reserve(q * points_);
    const typename Device::template Gram<double> gram(kernel.prepared(), at, z_points_, q, points_, false);
    gram.values(p, points_, false, nullptr);
    Blas::gemm('T', 'N', points_, q, n_, -1.0, kzx_.data(), n_, w.w.data(), n_, 1.0, p, points_);
    w.best.reserve(rows), w.best_value.reserve(rows);
    Device::map(fantasies, BestPoints{mu_.data(), p, w.coefficients.device(), z_.data(), width_.data(), points_, q, d_, starts,
                                      w.best.device(), w.best_value.device()},
                8);
    w.best.pull(rows), w.best_value.pull(rows);
    Device::wait();
    w.owner.resize(rows);
    w.starts.resize(rows * d_);
    w.start_value.assign(w.best_value.host(), w.best_value.host() + rows);
    for (int64_t r = 0; r < rows; ++r) {
      w.owner[r] = r / starts;
      int64_t best = w.best.host()[r];
      if (best < 0) {
        best = std::max<int64_t>(w.best.host()[r / starts * starts], 0);
        w.start_value[r] = w.start_value[r / starts * starts];
      }
      std::copy_n(host_points_.data() + best * d_, d_, w.starts.data() + r * d_);
    }
    for (int64_t i = 0; i < q; ++i) begin_at(w, candidate, i, q, fantasies, starts);
    w.f.assign(w.points.data(), columns, w.weights.data());
  }

  // Point i of the candidate, if it is in the box: for the fantasies to which it is better than what they have, and for the
  // one that it suits best.
  void begin_at(Worker& w, const double* candidate, int64_t i, int64_t q, int64_t fantasies, int64_t starts) {
    const double *x = candidate + i * d_, *sigma = w.moments.host(), *mu = sigma + q * q, *variance = mu + q;
    if (!inside(x)) return;
    int64_t best = -1;
    double least = INFINITY;
    for (int64_t m = 0; m < fantasies; ++m) {
      double g = mu[i];
      for (int64_t j = 0; j < q; ++j) {
        g += w.coefficients.host()[m * q + j] * (i == j ? variance[i] : sigma[i * q + j]);
      }
      const bool better = g < w.start_value[m * starts];
      if (g < least) least = g, best = better ? -1 : m;
      if (!better) continue;
      w.start_value[m * starts] = g;
      std::copy_n(x, d_, w.starts.data() + m * starts * d_);
    }
    if (best < 0) return;
    w.owner.push_back(best);
    w.starts.insert(w.starts.end(), x, x + d_);
  }

  // Every fantasy tries the minimisers of the others.
  void share(Worker& w, int64_t q, int64_t fantasies, const BfgsOptions& options) {
    const int64_t columns = n_ + q;
    double* k = cross_found(w, columns, fantasies);
    w.matrix.reserve(fantasies * fantasies);
    Blas::gemm('T', 'N', fantasies, fantasies, columns, 1.0, w.weights.data(), columns, k, columns, 0.0, w.matrix.device(),
               fantasies);
    w.matrix.pull(fantasies * fantasies);
    Device::wait();
    w.owner.clear();
    w.starts.clear();
    for (int64_t m = 0; m < fantasies; ++m) {
      int64_t best = -1;
      double least = w.minima[m] - 1e-7 * spread_ - 1e-13 * std::fabs(w.minima[m]);
      for (int64_t i = 0; i < fantasies; ++i) {
        const double g = w.matrix.host()[i * fantasies + m] + linear(w.found.data() + i * d_);
        if (g < least) best = i, least = g;
      }
      if (best < 0) continue;
      w.owner.push_back(m);
      w.starts.insert(w.starts.end(), w.found.begin() + best * d_, w.found.begin() + (best + 1) * d_);
    }
    const int64_t rows = static_cast<int64_t>(w.owner.size());
    if (rows == 0) return;
    std::vector<double>&x = w.x_of_row, &value = w.value_of_row;
    x.resize(rows * d_);
    value.resize(rows);
    w.f.minimise(rows, w.owner.data(), w.starts.data(), options, x.data(), value.data());
    for (int64_t r = 0; r < rows; ++r) keep(w, w.owner[r], x.data() + r * d_, value[r]);
  }

  // k (M, columns) between the minimisers, which then lie behind [X, X_c] too, and the points.
  double* cross_found(Worker& w, int64_t columns, int64_t fantasies) {
    std::copy_n(w.found.data(), fantasies * d_, w.found_there.reserve(fantasies * d_));
    w.found_there.push(fantasies * d_);
    Device::copy(w.found_there.device(), w.points.data() + columns * d_, fantasies * d_);
    double* k = w.k_found.reserve(fantasies * columns);
    w.f.cross(w.found_there.device(), fantasies, k);
    return k;
  }

  // d (sum_m w_m g_m(x_m)) / d X_c at fixed x_m.
  void differentiate(Worker& w, int64_t q, const double* weights, int64_t fantasies, double* gradient) {
    const int64_t columns = n_ + q;
    const double* k = cross_found(w, columns, fantasies);
    w.covariances.reserve(fantasies * q);
    Device::map(fantasies * q, FantasyCovariances{k, w.w.data(), columns, n_, q, w.covariances.device()}, 8);
    w.covariances.pull(fantasies * q);
    Device::wait();
    // On the host, q by q: d / d R = -sum_m w_m v_m s_m^T, s_m = R^-1 p_m, and from it S = d / d Sigma.
    std::vector<double>& bar = w.root_bar;
    bar.assign(q * q, 0.0);
    for (int64_t m = 0; m < fantasies; ++m) {
      double *s = w.covariances.host() + m * q, *v = w.coefficients.host() + m * q;
      solve_root(w, q, s, false);
      for (int64_t i = 0; i < q; ++i) {
        for (int64_t j = 0; j <= i; ++j) bar[i * q + j] -= weights[m] * v[i] * s[j];
      }
      for (int64_t j = 0; j < q; ++j) v[j] *= weights[m];
    }
    double* sigma_bar = w.sigma_bar.reserve(q * q + q);
    pull_root(w, q, bar, sigma_bar);
    for (int64_t j = 0; j < q; ++j) sigma_bar[q * q + j] = sigma_bar[j * q + j];
    w.sigma_bar.push(q * q + q);
    w.coefficients.push(fantasies * q);
    double* u = w.u.reserve(n_ * q);
    Blas::gemm('N', 'T', n_, q, fantasies, 1.0, k, columns, w.coefficients.device(), q, 0.0, u, n_);
    Blas::trsm('L', 'U', 'T', n_, q, 1.0, l_, n_, u, n_);
    Blas::trsm('L', 'U', 'N', n_, q, 1.0, l_, n_, u, n_);
    const int64_t all = columns + fantasies;
    double* cotangent = w.cotangent.reserve(q * all);
    Device::map(q * all, CandidateCotangent{w.sigma_bar.device(), w.w.data(), u, w.coefficients.device(), n_, q, fantasies,
                                            cotangent});
    w.gradient.reserve(q * d_);
    double* d_x = w.gradient.device();
    Device::zero(d_x, q * d_);
    w.f.assign(w.points.data(), all, nullptr);
    w.f.pull(w.x.device(), q, cotangent, d_x);
    w.unused.reserve(tree_.parameters + 1);
    w.f.kernel().diagonal_vjp(w.x.device(), q, d_, w.sigma_bar.device() + q * q, d_x, w.unused.data());
    w.gradient.pull(q * d_);
    Device::wait();
    std::copy_n(w.gradient.host(), q * d_, gradient);
  }

  // Adds what is missing where a minimiser moves with point i of the candidate, w_m d g_m / d x: there g has the cusp of a
  // kernel such as Matern12. A bound holds the minimiser.
  void follow(Worker& w, const double* candidate, int64_t q, const double* weights, int64_t fantasies, double* gradient) {
    for (int64_t i = 0; i < q; ++i) {
      const double* x = candidate + i * d_;
      w.which.clear();
      w.starts.clear();
      for (int64_t m = 0; m < fantasies; ++m) {
        if (!std::equal(x, x + d_, w.found.begin() + m * d_)) continue;
        w.which.push_back(m);
        w.starts.insert(w.starts.end(), x, x + d_);
      }
      const int64_t rows = static_cast<int64_t>(w.which.size());
      if (rows == 0) continue;
      w.x_of_row.resize(rows * d_);
      w.value_of_row.resize(rows);
      w.f.assign(w.points.data(), n_ + q, w.weights.data());
      w.f.evaluate(rows, w.which.data(), w.starts.data(), w.value_of_row.data(), w.x_of_row.data());
      for (int64_t r = 0; r < rows * d_; ++r) {
        const int64_t f = r % d_;
        if (x[f] > lower_[f] && x[f] < upper_[f]) gradient[i * d_ + f] += weights[w.which[r / d_]] * w.x_of_row[r];
      }
    }
  }

  // S = 1/2 R^-T (phi + phi^T) R^-1, phi the lower half of R^T bar with its diagonal halved.
  static void pull_root(Worker& w, int64_t q, const std::vector<double>& bar, double* s) {
    const double* r = w.root.data();
    std::vector<double>& phi = w.phi;
    phi.assign(q * q, 0.0);
    for (int64_t i = 0; i < q; ++i) {
      for (int64_t j = 0; j <= i; ++j) {
        double total = 0;
        for (int64_t l = i; l < q; ++l) total += r[l * q + i] * bar[l * q + j];
        phi[i * q + j] += 0.5 * total;
        phi[j * q + i] += i == j ? 0.0 : 0.5 * total;
      }
    }
    std::vector<double> column(q);
    for (int half = 0; half < 2; ++half) {  // phi <- (R^-T phi)^T, twice
      for (int64_t j = 0; j < q; ++j) {
        for (int64_t i = 0; i < q; ++i) column[i] = phi[i * q + j];
        solve_root(w, q, column.data(), true);
        for (int64_t i = 0; i < q; ++i) s[j * q + i] = column[i];
      }
      std::copy_n(s, q * q, phi.data());
    }
  }


  int64_t n_, d_, points_ = 0;
  const double *x_, *l_, *alpha_;
  double noise_, spread_;
  static constexpr double kNothing = 1e-12;
  KernelTree tree_;
  std::vector<double> theta_, mean_, lower_, upper_, scale_, host_points_;
  Scratch centre_, width_, device_mean_, z_, kzx_, mu_;
  typename Device::template KernelPoints<double> z_points_;
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace lvm

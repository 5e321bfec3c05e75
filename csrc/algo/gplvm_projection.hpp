// New rows of a fitted GPLVM: -log p(y | x, X, Y) as a function of the row's latent x, and its minimum.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "algo/gram.hpp"
#include "algo/row_bfgs.hpp"
#include "device/cotangent.hpp"

namespace lvm {

// What is observed of n new rows (on the host), in the columns in which the groups hold A (all groups' side by side).
struct ProjectionRows {
  int64_t n;
  const double* targets;   // (n, columns)
  const double* mask;      // (n, columns) of 0 and 1, or null: everything is observed
  const double* observed;  // (n, groups): how many values of the row each group explains
  const double* residual;  // (n, groups): squared norm of the part of y that no x can explain
};

// Row by row of k (count, n): the numbers in the columns `rows`.
struct GatherColumns {
  const double* k;
  int64_t n, m;
  const int64_t* rows;
  double* part;
  LVM_HD void operator()(int64_t at) const { part[at] = k[at / m * n + rows[at % m]]; }
};

// One new row's terms of f from one group; see GplvmProjection.
struct ProjectionTerms {
  KernelDiagonal<double> diagonal;  // of the rows at x
  const int64_t* which;             // row of the data
  int64_t groups, group, m, columns, all_columns, first_column;
  const double *targets, *mask, *observed, *residual;  // of the data
  const double *k, *pk;                                // (count, m): k and K_O^-1 k
  double* fit;                                         // (count, columns): A^T k, then what it leaves of y
  double noise;
  double *value, *d_k, *d_fit, *d_diagonal;  // (count,): f, and its derivatives

  LVM_HD void operator()(int64_t b) const {
    const int64_t row = which[b];
    double explained = 0;
    for (int64_t i = 0; i < m; ++i) explained += k[b * m + i] * pk[b * m + i];
    const double left = diagonal.value(b) - explained;
    const double v = (left > 0.0 ? left : 0.0) + noise;
    double squares = residual[row * groups + group];
    double* r = fit + b * columns;
    const double* y = targets + row * all_columns + first_column;
    const double* seen = mask ? mask + row * all_columns + first_column : nullptr;
    for (int64_t c = 0; c < columns; ++c) {
      r[c] = (y[c] - r[c]) * (seen ? seen[c] : 1.0);
      squares += r[c] * r[c];
    }
    const double count = observed[row * groups + group];
    value[b] += 0.5 * (count * log_(kTwoPi * v) + squares / v);
    d_k[b] = -(count - squares / v) / v;  // d f / d v times d v / d k = -2 K^-1 k
    d_fit[b] = -1.0 / v;
    d_diagonal[b] += -0.5 * d_k[b];
  }
};

// d f / d k of a group, added to that of all training rows.
struct AddGroupCotangent {
  int64_t n, m, columns;
  const int64_t* rows;  // null: all
  const double *d_k, *pk, *d_fit, *back;
  double* cotangent;
  LVM_HD void operator()(int64_t at) const {
    const int64_t b = at / m, i = at % m;
    const double through_fit = columns > 0 ? d_fit[b] * back[at] : 0.0;
    cotangent[b * n + (rows ? rows[i] : i)] += d_k[b] * pk[at] + through_fit;
  }
};

struct Transpose {
  const double* a;  // (rows, columns)
  int64_t rows, columns;
  double* to;
  LVM_HD void operator()(int64_t at) const { to[at % columns * rows + at / columns] = a[at]; }
};

// For each group g of training columns with the same observed rows O:
//   y_g | x ~ N(A^T k, v I),  k = k(X_O, x),  v = variance + noise - k^T K_O^-1 k,  A = K_O^-1 Y_O,
//   f(x) = sum_g 1/2 observed_g log(2 pi v_g) + (residual_g + |mask (targets - A^T k)|^2) / (2 v_g).
// Float64 only: v is a difference of nearly equal numbers where the data lie.
template <class Device>
class GplvmProjection {
 public:
  // x: (n, q), the training latents, on the device. On the host: scale (q,), about how far a latent moves before its row
  // looks different.
  GplvmProjection(const double* x, int64_t n, int64_t q, const KernelTree& tree, const double* theta,
                  const double* scale, double noise)
      : n_(n), q_(q), noise_(noise), scale_(scale, scale + q), kernel_(tree, theta) {
    Device::column_centres(x, n, q, centre_.reserve(q + 1));
    kernel_.assign(points_, x, n, q, nullptr, centre_.data());
    unused_.reserve(tree.parameters + 1);
  }

  // rows: ascending, empty for all, on the host; on the device: precision, K_O^-1 (m, m) symmetric, full; a, (m, columns)
  // row-major. m = 0: columns that training never observed.
  void add_group(const std::vector<int64_t>& rows, int64_t m, const double* precision, const double* a, int64_t columns) {
    Group group;
    group.count = m;
    group.whole = rows.empty();
    if (!group.whole) Device::upload(rows.data(), group.rows.reserve(m), m);
    group.columns = columns;
    group.first_column = columns_;
    Device::copy(precision, group.precision.reserve(m * m + 1), m * m);
    Device::copy(a, group.a.reserve(m * columns + 1), m * columns);
    Device::map(m * columns, Transpose{a, m, columns, group.a_transposed.reserve(m * columns + 1)});
    columns_ += columns;
    groups_.push_back(std::move(group));
  }

  int64_t components() const { return q_; }
  int64_t columns() const { return columns_; }
  int64_t groups() const { return static_cast<int64_t>(groups_.size()); }

  // All on the host: value (n,) and gradient (n, q) of every row at x (n, q).
  void evaluate(const ProjectionRows& rows, const double* x, double* value, double* gradient) {
    load(rows);
    std::vector<int64_t> all(rows.n);
    for (int64_t i = 0; i < rows.n; ++i) all[i] = i;
    evaluate(rows.n, all.data(), x, value, gradient);
  }

  // All on the host. From start (n, q) to a minimum of each row's f. Outputs: x (n, q), value (n,), converged (n,).
  void minimise(const ProjectionRows& rows, const double* start, const BfgsOptions& options, double* x,
                double* value, bool* converged) {
    load(rows);
    RowSearches search;
    search.begin(rows.n, start, scale_.data(), q_);
    const auto at = [&](int64_t count, const int64_t* active, const double* trial, double* f, double* gradient) {
      evaluate(count, active, trial, f, gradient);
    };
    search.run(at, [&](int64_t row) {
      BfgsOptions scaled = options;  // f grows with the number of values observed
      scaled.gradient_tolerance *= std::max(1.0, total_observed(rows, row));
      return scaled;
    });
    for (int64_t i = 0; i < rows.n; ++i) {
      std::copy_n(search.row(i).x(), q_, x + i * q_);
      value[i] = search.row(i).value();
      converged[i] = search.row(i).converged();
    }
  }

 private:
  using Scratch = typename Device::template Scratch<double>;
  static constexpr int64_t kRowsAtATime = 8;
  struct Group {
    bool whole;
    typename Device::template Scratch<int64_t> rows;
    int64_t count, columns, first_column;
    Scratch precision, a, a_transposed;
  };

  void load(const ProjectionRows& rows) {
    const int64_t size = rows.n * columns_ + 1, terms = rows.n * groups() + 1;
    Device::upload(rows.targets, targets_.reserve(size), rows.n * columns_);
    masked_ = rows.mask != nullptr;
    if (masked_) Device::upload(rows.mask, mask_.reserve(size), rows.n * columns_);
    Device::upload(rows.observed, observed_.reserve(terms), rows.n * groups());
    Device::upload(rows.residual, unexplained_.reserve(terms), rows.n * groups());
  }

  double total_observed(const ProjectionRows& rows, int64_t i) const {
    double total = 0;
    for (int64_t g = 0; g < groups(); ++g) total += rows.observed[i * groups() + g];
    return total;
  }

  // value (count,) and gradient (count, q) of the loaded row which[b] at x[b].
  void evaluate(int64_t count, const int64_t* which, const double* x, double* value, double* gradient) {
    if (count == 0) return;
    std::copy_n(x, count * q_, x_.reserve(count * q_));
    x_.push(count * q_);
    std::copy_n(which, count, which_.reserve(count));
    which_.push(count);
    out_.reserve(count * (1 + q_));
    double *d_value = out_.device(), *d_gradient = d_value + count;
    kernel_.assign(new_points_, x_.device(), count, q_, nullptr, centre_.data());
    kernel_.choose_distances(new_points_, points_);
    typename Device::template Gram<double> gram(kernel_.prepared(), new_points_, points_, count, n_, false);
    double* k = k_.reserve(count * n_);
    double* cotangent = cotangent_.reserve(count * n_);
    gram.values(k, n_, false, nullptr);
    Device::zero(cotangent, count * n_);
    Device::zero(d_value, count * (1 + q_));
    Device::zero(weights_.reserve(3 * count), 3 * count);
    for (const Group& group : groups_) add_group_terms(group, count, k, d_value, cotangent);
    gram.pullback(gram.cotangent_of(cotangent, n_, Cotangent::direct), false, sums_);
    kernel_.finish(sums_, new_points_, x_.device(), count, nullptr, points_, nullptr, 0, q_, centre_.data(), d_gradient,
                   nullptr, unused_.data());
    kernel_.diagonal_vjp(x_.device(), count, q_, weights_.data() + 2 * count, d_gradient, unused_.data());
    out_.pull(count * (1 + q_));
    Device::wait();
    std::copy_n(out_.host(), count, value);
    std::copy_n(out_.host() + count, count * q_, gradient);
  }

  void add_group_terms(const Group& group, int64_t count, const double* k_all, double* value, double* cotangent) {
    const int64_t m = group.count, columns = group.columns;
    const int64_t* index = group.whole ? nullptr : group.rows.data();
    const double* k = k_all;
    if (index) {
      double* part = k_group_.reserve(count * m + 1);
      Device::map(count * m, GatherColumns{k_all, n_, m, index, part});
      k = part;
    }
    double *pk = pk_.reserve(count * m + 1), *fit = fit_.reserve(count * columns + 1), *back = back_.reserve(count * m + 1);
    Device::row_gemm(count, m, m, k, m, group.precision.data(), m, pk, m);
    Device::row_gemm(count, columns, m, k, m, group.a.data(), columns, fit, columns);
    double *d_k = weights_.data(), *d_fit = d_k + count, *d_diagonal = d_fit + count;
    const ProjectionTerms terms{kernel_.diagonal(x_.device(), q_), which_.device(), groups(), &group - groups_.data(), m,
                                columns, columns_, group.first_column, targets_.data(), masked_ ? mask_.data() : nullptr,
                                observed_.data(), unexplained_.data(), k, pk, fit, noise_, value, d_k, d_fit, d_diagonal};
    Device::map(count, terms, kRowsAtATime);
    Device::row_gemm(count, m, columns, fit, columns, group.a_transposed.data(), m, back, m);
    Device::map(count * m, AddGroupCotangent{n_, m, columns, index, d_k, pk, d_fit, back, cotangent});
  }

  int64_t n_, q_, columns_ = 0;
  double noise_;
  bool masked_ = false;
  std::vector<double> scale_;
  Kernel<Device, double> kernel_;
  std::vector<Group> groups_;
  typename Device::template KernelPoints<double> points_, new_points_;
  std::vector<typename Device::LeafSums> sums_;
  typename Device::template Shared<double> x_, out_;  // latents; values and gradients
  typename Device::template Shared<int64_t> which_;
  Scratch centre_, unused_, targets_, mask_, observed_, unexplained_;
  Scratch k_, k_group_, pk_, fit_, back_, cotangent_, weights_;
};

}  // namespace lvm

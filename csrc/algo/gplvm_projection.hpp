// New rows of a fitted GPLVM: -log p(y | x, X, Y) as a function of the row's latent x, and its minimum.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "algo/kernel.hpp"
#include "algo/row_bfgs.hpp"
#include "device/cotangent.hpp"

namespace lvm {

// What is observed of n new rows, in the columns in which the groups hold A (all groups' side by side).
struct ProjectionRows {
  int64_t n;
  const double* targets;   // (n, columns)
  const double* mask;      // (n, columns) of 0 and 1, or null: everything is observed
  const double* observed;  // (n, groups): how many values of the row each group explains
  const double* residual;  // (n, groups): squared norm of the part of y that no x can explain
};

// For each group g of training columns with the same observed rows O:
//   y_g | x ~ N(A^T k, v I),  k = k(X_O, x),  v = variance + noise - k^T K_O^-1 k,  A = K_O^-1 Y_O,
//   f(x) = sum_g 1/2 observed_g log(2 pi v_g) + (residual_g + |mask (targets - A^T k)|^2) / (2 v_g).
// Float64 only: v is a difference of nearly equal numbers where the data lie.
template <class Device>
class GplvmProjection {
 public:
  // x: (n, q), the training latents. scale: (q,), about how far a latent moves before its row looks different.
  GplvmProjection(const double* x, int64_t n, int64_t q, const KernelTree& tree, const double* theta,
                  const double* scale, double noise)
      : n_(n), q_(q), noise_(noise), scale_(scale, scale + q), kernel_(tree, theta) {
    centre_ = column_centres(x, n, q);
    kernel_.assign(points_, x, n, q, nullptr, centre_.data());
  }

  // rows: ascending, empty for all; precision: K_O^-1 (m, m) symmetric, full; a: (m, columns) row-major.
  // m = 0: columns that training never observed.
  void add_group(std::vector<int64_t> rows, int64_t m, const double* precision, const double* a, int64_t columns) {
    Group group;
    group.count = m;
    group.rows = std::move(rows);
    group.columns = columns;
    group.first_column = columns_;
    std::copy(precision, precision + m * m, group.precision.reserve(std::max<int64_t>(m * m, 1)));
    std::copy(a, a + m * columns, group.a.reserve(std::max<int64_t>(m * columns, 1)));
    double* at = group.a_transposed.reserve(std::max<int64_t>(m * columns, 1));
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t c = 0; c < columns; ++c) at[c * m + i] = a[i * columns + c];
    }
    columns_ += columns;
    groups_.push_back(std::move(group));
  }

  int64_t components() const { return q_; }
  int64_t columns() const { return columns_; }
  int64_t groups() const { return static_cast<int64_t>(groups_.size()); }

  // value (count,) and gradient (count, q) of row which[b] at x[b].
  void evaluate(const ProjectionRows& rows, int64_t count, const int64_t* which, const double* x, double* value,
                double* gradient) {
    kernel_.assign(new_points_, x, count, q_, nullptr, centre_.data());
    kernel_.choose_distances(new_points_, points_);
    typename Device::template Gram<double> gram(kernel_.prepared(), new_points_, points_, count, n_, false);
    double* k = k_.reserve(count * n_);
    double* cotangent = cotangent_.reserve(count * n_);
    gram.values(k, n_, false, nullptr);
    std::fill(cotangent, cotangent + count * n_, 0.0);
    std::fill(value, value + count, 0.0);
    std::fill(gradient, gradient + count * q_, 0.0);
    for (int64_t g = 0; g < groups(); ++g) add_group_terms(rows, g, count, which, x, k, value, cotangent, gradient);
    std::vector<typename Device::LeafSums> sums;
    gram.pullback(gram.cotangent_of(cotangent, n_, Cotangent::direct), false, sums);
    std::vector<double> unused(kernel_.tree().parameters);
    kernel_.finish(sums, new_points_, x, count, nullptr, points_, nullptr, 0, q_, centre_.data(), gradient, nullptr,
                   unused.data());
  }

  // From start (n, q) to a minimum of each row's f. Outputs: x (n, q), value (n,), converged (n,).
  void minimise(const ProjectionRows& rows, const double* start, const BfgsOptions& options, double* x,
                double* value, bool* converged) {
    std::vector<RowBfgs> search(rows.n);
    std::vector<int64_t> active(rows.n);
    for (int64_t i = 0; i < rows.n; ++i) {
      search[i].begin(start + i * q_, scale_.data(), q_);
      active[i] = i;
    }
    std::vector<double> trial, f, gradient;
    while (!active.empty()) {
      const int64_t count = static_cast<int64_t>(active.size());
      trial.resize(count * q_);
      f.resize(count);
      gradient.resize(count * q_);
      for (int64_t b = 0; b < count; ++b) {
        std::copy(search[active[b]].ask(), search[active[b]].ask() + q_, trial.data() + b * q_);
      }
      evaluate(rows, count, active.data(), trial.data(), f.data(), gradient.data());
      std::vector<int64_t> still;
      for (int64_t b = 0; b < count; ++b) {
        RowBfgs& row = search[active[b]];
        BfgsOptions scaled = options;  // f grows with the number of values observed
        scaled.gradient_tolerance *= std::max(1.0, total_observed(rows, active[b]));
        row.tell(f[b], gradient.data() + b * q_, scaled);
        if (!row.done()) still.push_back(active[b]);
      }
      active.swap(still);
    }
    for (int64_t i = 0; i < rows.n; ++i) {
      std::copy(search[i].x(), search[i].x() + q_, x + i * q_);
      value[i] = search[i].value();
      converged[i] = search[i].converged();
    }
  }

 private:
  using Scratch = typename Device::template Scratch<double>;
  struct Group {
    std::vector<int64_t> rows;
    int64_t count, columns, first_column;
    Scratch precision, a, a_transposed;
  };

  double total_observed(const ProjectionRows& rows, int64_t i) const {
    double total = 0;
    for (int64_t g = 0; g < groups(); ++g) total += rows.observed[i * groups() + g];
    return total;
  }

  void add_group_terms(const ProjectionRows& rows, int64_t g, int64_t count, const int64_t* which,
                       const double* x, const double* k_all, double* value, double* cotangent, double* gradient) {
    const Group& group = groups_[g];
    const int64_t m = group.count, columns = group.columns;
    const double* k = k_all;
    if (!group.rows.empty()) {
      double* part = k_group_.reserve(count * m);
      for (int64_t b = 0; b < count; ++b) {
        for (int64_t i = 0; i < m; ++i) part[b * m + i] = k_all[b * n_ + group.rows[i]];
      }
      k = part;
    }
    double* pk = pk_.reserve(count * m);
    double* residual = residual_.reserve(std::max<int64_t>(count * columns, 1));
    double* back = back_.reserve(count * m);
    Device::row_gemm(count, m, m, k, m, group.precision.data(), m, pk, m);
    Device::row_gemm(count, columns, m, k, m, group.a.data(), columns, residual, columns);
    std::vector<double> weight_precision(count), weight_back(count);
    Device::for_ranges(count, 8, [&](int64_t begin, int64_t end) {
      std::vector<double> unused(kernel_.tree().parameters);
      for (int64_t b = begin; b < end; ++b) {
        const int64_t row = which[b];
        double explained = 0;
        for (int64_t i = 0; i < m; ++i) explained += k[b * m + i] * pk[b * m + i];
        const double v = std::max(kernel_.diagonal(x + b * q_) - explained, 0.0) + noise_;
        double squares = rows.residual[row * groups() + g];
        double* r = residual + b * columns;
        const double* target = rows.targets + row * columns_ + group.first_column;
        const double* mask = rows.mask ? rows.mask + row * columns_ + group.first_column : nullptr;
        for (int64_t c = 0; c < columns; ++c) {
          r[c] = (target[c] - r[c]) * (mask ? mask[c] : 1.0);
          squares += r[c] * r[c];
        }
        const double observed = rows.observed[row * groups() + g];
        value[b] += 0.5 * (observed * std::log(kTwoPi * v) + squares / v);
        weight_precision[b] = -(observed - squares / v) / v;  // d f / d v times d v / d k = -2 K^-1 k
        weight_back[b] = -1.0 / v;
        kernel_.diagonal_vjp(x + b * q_, -0.5 * weight_precision[b], gradient + b * q_, unused.data());
      }
    });
    Device::row_gemm(count, m, columns, residual, columns, group.a_transposed.data(), m, back, m);
    Device::for_ranges(count, 8, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        for (int64_t i = 0; i < m; ++i) {
          const int64_t target = group.rows.empty() ? i : group.rows[i];
          const double back_term = columns > 0 ? weight_back[b] * back[b * m + i] : 0.0;
          cotangent[b * n_ + target] += weight_precision[b] * pk[b * m + i] + back_term;
        }
      }
    });
  }

  int64_t n_, q_, columns_ = 0;
  double noise_;
  std::vector<double> scale_, centre_;
  Kernel<Device, double> kernel_;
  std::vector<Group> groups_;
  typename Device::template KernelPoints<double> points_, new_points_;
  Scratch k_, k_group_, pk_, residual_, back_, cotangent_;
};

}  // namespace lvm

// The Gaussian process latent variable model (Lawrence, 2004): log p(Y | X) and all its gradients in one pass.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "algo/gp.hpp"
#include "algo/jitter.hpp"
#include "algo/kernel_parameters.hpp"
#include "device/cotangent.hpp"

namespace lvm {

// value = sum_d log N(y_d | 0, k(X, X) + (noise + jitter) I), gradients of it.
struct GplvmResult {
  double value;
  double d_variance;
  double d_noise;
};

// Holds what stays the same from step to step (Y, reduced) and the scratch memory, n^2 + n rank numbers.
//
// The likelihood sees the columns of Y only through Y Y^T, so each group of columns is kept as any R with
// R R^T = Y Y^T and at most min(n, columns) columns. Columns with the same missing rows form one group;
// a group's rows are those that it observes.
template <class Device, class T>
class GplvmObjective {
 public:
  GplvmObjective(int64_t n, int64_t q) : n_(n), q_(q) {}

  int64_t rows() const { return n_; }
  int64_t components() const { return q_; }

  // rows: ascending indices, empty for all n; r: (rows, rank) column-major; columns: how many R stands for.
  void add_group(std::vector<int64_t> rows, const T* r, int64_t rank, double columns) {
    Group group;
    group.count = rows.empty() ? n_ : static_cast<int64_t>(rows.size());
    group.rows = std::move(rows);
    group.rank = rank;
    group.columns = columns;
    std::copy(r, r + group.count * rank, group.r.reserve(std::max<int64_t>(group.count * rank, 1)));
    largest_ = std::max(largest_, group.count);
    largest_a_ = std::max(largest_a_, group.count * rank);
    groups_.push_back(std::move(group));
  }

  // x: (n, q) row-major. d_x: (n, q), d_lengthscale: (q,). jitter: absolute, where to start; afterwards what
  // was needed.
  Status evaluate(const T* x, const KernelParameters<T>& kernel, T noise, const JitterPolicy& policy,
                  double& jitter, GplvmResult* result, double* d_x, double* d_lengthscale) {
    *result = {};
    std::fill(d_x, d_x + n_ * q_, 0.0);
    std::fill(d_lengthscale, d_lengthscale + q_, 0.0);
    const std::vector<double> centre = column_centres(x, n_, q_);
    T* k = k_.reserve(largest_ * largest_);
    T* a = a_.reserve(std::max<int64_t>(largest_a_, 1));
    std::vector<double> d_rows(largest_ * q_), d_scale(q_);
    const double diagonal = static_cast<double>(kernel.variance) + static_cast<double>(noise);
    for (const Group& group : groups_) {
      const int64_t m = group.count;
      points_.assign(x, m, q_, group.rows.empty() ? nullptr : group.rows.data(), centre.data(),
                     kernel.lengthscale);
      double value = 0;
      const Status status = escalate_jitter(policy, diagonal, jitter, [&](double extra) {
        Device::gram(kernel.kind, q_, points_, points_, kernel.variance, k, m, true);
        const T shift = static_cast<T>(static_cast<double>(noise) + extra);
        for (int64_t i = 0; i < m; ++i) k[i * m + i] += shift;
        return gp_log_density<Device>(m, group.rank, group.columns, k, group.r.data(), a, &value);
      });
      if (!status) return status;
      double d_variance = 0;
      Device::gram_pullback(kernel.kind, q_, points_, points_, k, m, Cotangent::symmetric_lower,
                            d_rows.data(), d_scale.data(), &d_variance);
      unscale_rows(kernel, 2.0, m, d_rows.data());
      unscale_lengthscale(kernel, d_scale.data());
      result->value += value;
      result->d_variance += d_variance;
      for (int64_t i = 0; i < m; ++i) result->d_noise += static_cast<double>(k[i * m + i]);
      for (int64_t i = 0; i < m; ++i) {
        double* target = d_x + (group.rows.empty() ? i : group.rows[i]) * q_;
        for (int64_t c = 0; c < q_; ++c) target[c] += d_rows[i * q_ + c];
      }
      for (int64_t c = 0; c < q_; ++c) d_lengthscale[c] += d_scale[c];
    }
    return {};
  }

 private:
  struct Group {
    std::vector<int64_t> rows;
    int64_t count, rank;
    double columns;
    typename Device::template Scratch<T> r;
  };
  int64_t n_, q_, largest_ = 0, largest_a_ = 0;
  std::vector<Group> groups_;
  typename Device::template Scratch<T> k_, a_;
  typename Device::template Points<T> points_;
};

}  // namespace lvm

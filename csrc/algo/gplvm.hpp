// The Gaussian process latent variable model (Lawrence, 2004): log p(Y | X) and all its gradients in one pass.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "algo/gp.hpp"
#include "algo/jitter.hpp"
#include "algo/kernel.hpp"
#include "device/cotangent.hpp"

namespace lvm {

// value = sum_d log N(y_d | 0, k(X, X) + (noise + jitter) I), gradients of it.
struct GplvmResult {
  double value;
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

  // x: (n, q) row-major. d_x: (n, q), d_theta: (parameters,). jitter: absolute, where to start; afterwards what was
  // needed.
  Status evaluate(const T* x, Kernel<Device, T>& kernel, T noise, const JitterPolicy& policy, double& jitter,
                  GplvmResult* result, double* d_x, double* d_theta) {
    *result = {};
    std::fill(d_x, d_x + n_ * q_, 0.0);
    std::fill(d_theta, d_theta + kernel.tree().parameters, 0.0);
    const std::vector<double> centre = column_centres(x, n_, q_);
    T* k = k_.reserve(largest_ * largest_);
    T* a = a_.reserve(std::max<int64_t>(largest_a_, 1));
    for (const Group& group : groups_) {
      const int64_t m = group.count;
      const int64_t* index = group.rows.empty() ? nullptr : group.rows.data();
      kernel.assign(points_, x, m, q_, index, centre.data());
      kernel.choose_distances(points_, points_);
      typename Device::template Gram<T> gram(kernel.prepared(), points_, points_, m, m, true);
      double diagonal = 0, value = 0;
      for (int64_t i = 0; i < m; ++i) diagonal += kernel.diagonal(x + (index ? index[i] : i) * q_);
      diagonal = diagonal / static_cast<double>(m) + static_cast<double>(noise);
      const Status status = escalate_jitter(policy, diagonal, jitter, [&](double extra) {
        gram.values(k, m, true, nullptr);
        const T shift = static_cast<T>(static_cast<double>(noise) + extra);
        for (int64_t i = 0; i < m; ++i) k[i * m + i] += shift;
        return gp_log_density<Device>(m, group.rank, group.columns, k, group.r.data(), a, &value);
      });
      if (!status) return status;
      sums_.clear();
      gram.pullback(gram.cotangent_of(k, m, Cotangent::symmetric_lower), true, sums_);
      kernel.finish(sums_, points_, x, m, index, points_, nullptr, 0, q_, centre.data(), d_x, nullptr, d_theta);
      result->value += value;
      for (int64_t i = 0; i < m; ++i) result->d_noise += static_cast<double>(k[i * m + i]);
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
  typename Device::template KernelPoints<T> points_;
  std::vector<typename Device::LeafSums> sums_;
};

}  // namespace lvm

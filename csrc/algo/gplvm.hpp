// The Gaussian process latent variable model (Lawrence, 2004): log p(Y | X) and all its gradients in one pass.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "algo/gp_outcome.hpp"
#include "algo/gram.hpp"
#include "algo/jitter.hpp"

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

  // On the host. rows: ascending indices, empty for all n; r: (rows, rank) column-major; columns: how many R stands for.
  void add_group(const std::vector<int64_t>& rows, const T* r, int64_t rank, double columns) {
    Group group;
    group.whole = rows.empty();
    group.count = rows.empty() ? n_ : static_cast<int64_t>(rows.size());
    if (!rows.empty()) Device::upload(rows.data(), group.rows.reserve(group.count), group.count);
    group.rank = rank;
    group.columns = columns;
    Device::upload(r, group.r.reserve(group.count * rank + 1), group.count * rank);
    kernel_.reset();
    largest_ = std::max(largest_, group.count);
    largest_a_ = std::max(largest_a_, group.count * rank);
    groups_.push_back(std::move(group));
  }

  // On the host. x: (n, q) row-major; theta: (parameters,). d_x: (n, q), d_theta: (parameters,), overwritten. jitter:
  // absolute, where to start; afterwards what was needed.
  Status evaluate(const T* x, const KernelTree& tree, const double* theta, double noise, const JitterPolicy& policy,
                  double& jitter, GplvmResult* result, double* d_x, double* d_theta) {
    *result = {};
    const int64_t parameters = tree.parameters;
    std::fill(d_x, d_x + n_ * q_, 0.0);
    std::fill(d_theta, d_theta + parameters, 0.0);
    bool again = KernelOfPoints<Device, T>::keep(kernel_, tree);
    for (Group& group : groups_) {
      const bool done = std::exchange(group.done, false);
      again = again && done && group.count <= kReplayRows;
    }
    outcome_.reserve(parameters, n_ * q_);
    inputs_.reserve(parameters + 2);
    std::copy_n(theta, parameters, (inputs_.host() + 2));
    std::copy_n(x, n_ * q_, latents_.reserve(n_ * q_ + 1));
    for (Group& group : groups_) {
      const auto attempt = [&](double extra) -> Status {
        inputs_.host()[0] = noise, inputs_.host()[1] = extra;
        group.recorder.run(again, [&] {
          latents_.push(n_ * q_);
          inputs_.push(parameters + 2);
          kernel_->kernel.set(inputs_.device() + 2);
          enqueue(group);
        });
        return outcome_.status(group.count, group.columns);
      };
      const auto mean = [&] { return outcome_.host_diagonal() / static_cast<double>(group.count) + noise; };
      const Status status = escalate_jitter(policy, mean, jitter, attempt);
      if (!status) return status;
      group.done = true;
      result->value += outcome_.value(group.count, group.columns);
      result->d_noise += outcome_.host_d_noise();
      for (int64_t k = 0; k < parameters; ++k) d_theta[k] += outcome_.host_d_theta()[k];
      for (int64_t k = 0; k < n_ * q_; ++k) d_x[k] += outcome_.host_d_x()[k];
    }
    return {};
  }

 private:
  struct Group {
    bool whole;
    int64_t count, rank;
    double columns;
    typename Device::template Scratch<int64_t> rows;
    typename Device::template Scratch<T> r;
    typename Device::Recorder recorder;
    bool done = false;  // in the last evaluation: then all memory has its size
  };

  void enqueue(const Group& group) {
    auto& [kernel, pair] = *kernel_;
    const int64_t m = group.count;
    const T* x = latents_.device();
    const int64_t* index = group.whole ? nullptr : group.rows.data();
    T* k = k_.reserve(largest_ * largest_);
    T* a = a_.reserve(largest_a_ + 1);
    pair.assign(x, m, index, nullptr, 0, q_, n_);
    auto gram = pair.gram();
    gram.values(k, m, true, nullptr);
    Device::sums(1, m, kernel.diagonal(x, q_, index), outcome_.diagonal());
    Device::map(m, AddNoise<T>{k, m, inputs_.device(), nullptr});
    gp_log_density<Device>(m, group.rank, group.columns, k, group.r.data(), a, outcome_.terms(), outcome_.failure(),
                           scratch_);
    if (!(Device::kImmediate && *outcome_.failure())) {
      gram.pullback(gram.cotangent_of(k, m, Cotangent::symmetric_lower), true, sums_);
      pair.finish(sums_, outcome_.d_x(), nullptr, outcome_.d_theta(), n_);
      Device::sums(1, m, DiagonalEntry<T>{k, m}, outcome_.d_noise());
    }
    outcome_.send();
  }

  int64_t n_, q_, largest_ = 0, largest_a_ = 0;
  std::unique_ptr<KernelOfPoints<Device, T>> kernel_;
  std::vector<Group> groups_;
  GpOutcome<Device> outcome_;
  typename Device::template Shared<T> latents_;
  typename Device::template Shared<double> inputs_;  // noise, jitter, theta
  typename Device::template Scratch<T> k_, a_;
  typename Device::template Scratch<double> scratch_;
  std::vector<typename Device::LeafSums> sums_;
};

}  // namespace lvm

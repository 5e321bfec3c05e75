// What an evaluation of a likelihood brings from the device to the host, in one copy.
#pragma once

#include <cmath>
#include <cstdint>

#include "algo/gp.hpp"

namespace lvm {

// Up to so many rows launches take a good part of an evaluation's time on a GPU: they are replayed as one.
constexpr int64_t kReplayRows = 4096;

struct StoreFailure {
  const int* failure;
  double* to;
  LVM_HD void operator()(int64_t) const { *to = *failure; }
};

// Numbers in memory that both see: failure, log|K|, tr(K^-1 R R^T), d value / d noise, the mean of the kernel's diagonal,
// then the gradients by the parameters and by n q inputs.
template <class Device>
class GpOutcome {
 public:
  void reserve(int64_t parameters, int64_t inputs) {
    parameters_ = parameters;
    inputs_ = inputs;
    numbers_.reserve(size());
    failure_.reserve(1);
  }
  int64_t size() const { return kFirst + parameters_ + inputs_; }

  int* failure() { return failure_.data(); }
  double* terms() { return numbers_.device() + 1; }
  double* d_noise() { return numbers_.device() + 3; }
  double* diagonal() { return numbers_.device() + 4; }  // summed over rows
  double* d_theta() { return numbers_.device() + kFirst; }
  double* d_x() { return d_theta() + parameters_; }

  // The last thing that is enqueued: everything to the host, which waits for it with `status`.
  void send() {
    Device::map(1, StoreFailure{failure_.data(), numbers_.device()});
    numbers_.pull(size());
  }

  Status status(int64_t n, double columns) {
    Device::wait();
    const int64_t lost = static_cast<int64_t>(numbers_.host()[0]);
    if (lost > 0) return {Code::not_positive_definite, lost - 1};
    if (!std::isfinite(value(n, columns))) return {Code::non_finite, -1};
    return {};
  }
  double value(int64_t n, double columns) {
    return DensityTerms{numbers_.host()[1], numbers_.host()[2]}.value(n, columns);
  }
  double host_d_noise() { return numbers_.host()[3]; }
  double host_diagonal() { return numbers_.host()[4]; }
  const double* host_d_theta() { return numbers_.host() + kFirst; }
  const double* host_d_x() { return host_d_theta() + parameters_; }

 private:
  static constexpr int64_t kFirst = 5;
  typename Device::template Shared<double> numbers_;
  typename Device::template Scratch<int> failure_;
  int64_t parameters_ = 0, inputs_ = 0;
};

// The diagonal of a row-major matrix plus noise: numbers = [noise, jitter], own (n,) or null.
template <class T>
struct AddNoise {
  T* k;
  int64_t stride;
  const double *numbers, *own;
  LVM_HD void operator()(int64_t i) const {
    T& entry = k[i * (stride + 1)];
    entry = static_cast<T>(static_cast<double>(entry) + numbers[0] + (own ? own[i] : 0.0) + numbers[1]);
  }
};

}  // namespace lvm

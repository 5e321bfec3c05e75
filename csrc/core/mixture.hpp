// Mixtures of spherical normal distributions, with points x and centres f in units of their standard deviation:
//
//   log p(x_i) = log sum_k exp(l_ik),   l_ik = log_weights_k - |x_i - f_k|^2 / 2,
//
// without the constant -d/2 log 2 pi (Bishop, Svensen & Williams 1998, Neural Comput. 10, eq. 2.3, with a grid's points as
// centres). The largest l_ik is taken out of the sum, so that nothing underflows.
#pragma once

#include "core/config.hpp"

namespace lvm {

constexpr int64_t kMixtureFeatures = 16;  // up to here squared distances are sums of squared differences

// Points against centres. Numbers of a feature of all centres lie together, `stride` of them; behind the last centre are
// zeros and log_weights of -inf.
template <class T>
struct MixtureTask {
  int64_t d, m, stride;
  const T *centres, *log_weights;  // (d, stride), (stride,)
  const T* squares;                // (stride,): |f_k|^2 / 2, read with products only
  const T* x;                      // (n, d)
  T* products;                     // (n, stride): x_i . f_k; null: distances by differences
};

// What becomes of the points; all but log_p may be null.
template <class T>
struct MixtureResults {
  T* log_p;            // (n,)
  const T* cotangent;  // (n,): of log_p; null: ones
  T* weights;          // (n, weights_stride): cotangent times the share exp(l_ik - log p_i), which sum to 1
  int64_t weights_stride;
};

// A distance from products is taken again by differences where it is a smaller share of the squares: they have cancelled.
template <class T>
constexpr T kMixtureShare = sizeof(T) == 8 ? T(1e-6) : T(1e-2);

template <class T>
LVM_HD T half_distance_by_differences(const MixtureTask<T>& task, int64_t i, int64_t k) {
  T sum = T(0);
  for (int64_t j = 0; j < task.d; ++j) {
    const T e = task.x[i * task.d + j] - task.centres[j * task.stride + k];
    sum += e * e;
  }
  return T(0.5) * sum;
}

template <class T>
struct MixtureAt {
  MixtureTask<T> task;
  MixtureResults<T> results;

  LVM_HD T half_square(int64_t i) const {
    T sum = T(0);
    for (int64_t j = 0; task.products && j < task.d; ++j) sum += task.x[i * task.d + j] * task.x[i * task.d + j];
    return T(0.5) * sum;
  }
  LVM_HD T term(int64_t i, int64_t k, T half) const {
    if (task.products) {
      const T squares = half + task.squares[k], distance = squares - task.products[i * task.stride + k];
      if (!(distance < kMixtureShare<T> * squares)) return task.log_weights[k] - distance;
    }
    return task.log_weights[k] - half_distance_by_differences(task, i, k);
  }
};

template <class T>
struct MixtureDensityAt : MixtureAt<T> {
  LVM_HD void operator()(int64_t i) const {
    const T half = this->half_square(i);
    T most = -T(INFINITY);
    for (int64_t k = 0; k < this->task.m; ++k) {
      const T l = this->term(i, k, half);
      if (l > most) most = l;
    }
    double sum = 0;
    for (int64_t k = 0; k < this->task.m; ++k) sum += static_cast<double>(exp_(this->term(i, k, half) - most));
    this->results.log_p[i] = most > -T(INFINITY) ? most + static_cast<T>(log_(sum)) : most;
  }
};

// The weights of a point; in the place of its products where these are given as weights.
template <class T>
struct MixtureWeightAt : MixtureAt<T> {
  LVM_HD void operator()(int64_t k, int64_t i) const {
    const MixtureResults<T>& r = this->results;
    const T log_p = r.log_p[i], g = r.cotangent ? r.cotangent[i] : T(1);
    T w = T(0);
    if (k < this->task.m && log_p > -T(INFINITY)) w = g * exp_(this->term(i, k, this->half_square(i)) - log_p);
    if (k < r.weights_stride) r.weights[i * r.weights_stride + k] = w;
  }
};

}  // namespace lvm

// Covariance functions of points and parameters, ready for a device and a precision.
#pragma once

#include <cstdint>
#include <vector>

#include "device/leaf_map.hpp"
#include "device/pair_task.hpp"

namespace lvm {

// A tree whose parameters (double, tree.parameters of them) may be changed by `set`; what does not change with them is
// made once. Everything is enqueued on the device.
template <class Device, class T>
class Kernel {
 public:
  using Points = typename Device::template KernelPoints<T>;
  using Sums = std::vector<typename Device::LeafSums>;

  explicit Kernel(const KernelTree& tree) : tree_(tree) {
    std::vector<KernelStep> steps = tree_.program();
    value_steps_ = static_cast<int64_t>(steps.size());
    std::vector<int64_t> dims;
    std::vector<PairTask<T>> tasks;
    for (size_t l = 0; l < tree_.leaves.size(); ++l) {
      const KernelLeaf& leaf = tree_.leaves[l];
      const std::vector<KernelStep> context = tree_.context(static_cast<int64_t>(l));
      context_.push_back({static_cast<int64_t>(steps.size()), static_cast<int64_t>(context.size())});
      steps.insert(steps.end(), context.begin(), context.end());
      first_dim_.push_back(static_cast<int64_t>(dims.size()));
      dims.insert(dims.end(), leaf.dims.begin(), leaf.dims.end());
      tasks.push_back({pair_function(leaf.kind), feature_count(leaf), false, !has_dot_features(leaf.kind), leaf.degree, T(0), T(0)});
    }
    Device::upload(steps.data(), steps_.reserve(steps.size()), steps.size());
    Device::upload(dims.data(), dims_.reserve(dims.size() + 1), dims.size());
    factor_.reserve(static_cast<int64_t>(dims.size()) + 1);
    Device::prepare(prepared_, tree_, std::move(tasks));
  }
  Kernel(const KernelTree& tree, const double* theta) : Kernel(tree) {  // parameters on the host
    Device::upload(theta, theta_.reserve(tree_.parameters + 1), tree_.parameters);
    set(theta_.data());
  }
  Kernel(const Kernel&) = delete;

  // Parameters on the device, which stay there.
  void set(const double* theta) {
    std::vector<LeafMap> maps;
    const bool moved = theta != theta_at_;
    for (size_t l = 0; l < tree_.leaves.size(); ++l) {
      const KernelLeaf& leaf = tree_.leaves[l];
      const int64_t d = static_cast<int64_t>(leaf.dims.size());
      maps.push_back({leaf.kind, leaf.degree, d, feature_count(leaf), dims_.data() + first_dim_[l], theta + leaf.first,
                      factor_.data() + first_dim_[l]});
      if (maps.back().features) Device::map(d, LeafFactors{maps.back(), factor_.data() + first_dim_[l]});
    }
    if (moved) {
      maps_ = maps;
      Device::upload(maps_.data(), device_maps_.reserve(maps_.size()), maps_.size());
      theta_at_ = theta;
    }
    Device::set_numbers(prepared_, device_maps_.data());
  }

  const KernelTree& tree() const { return tree_; }
  const auto& prepared() const { return prepared_; }

  // The features of n points: rows of x (.., q) row-major, or its rows index[0..n).
  void assign(Points& points, const T* x, int64_t n, int64_t q, const int64_t* index, const double* centre) const {
    points.resize(tree_.leaves.size());
    for (size_t l = 0; l < tree_.leaves.size(); ++l) {
      auto& target = points[l];
      const int64_t features = maps_[l].features;
      target.resize(n, features, features && Device::kNorms ? 2 : 0);
      if (!features) continue;
      const auto view = target.view();
      Device::map(n, AssignPoint<T, std::decay_t<decltype(view)>>{maps_[l], view, x, index, q, centre, Device::kNorms});
    }
  }

  // Many features: distances by dot products, where the device does that and where it loses nothing.
  void choose_distances(const Points& rows, const Points& cols) { Device::choose_distances(prepared_, rows, cols); }

  KernelDiagonal<T> diagonal(const T* x, int64_t q, const int64_t* index = nullptr, T* out = nullptr) const {
    return {device_maps_.data(), steps_.data(), value_steps_, x, index, q, out};
  }

  // d_x (n, q) += c_i d k(x_i, x_i) / d x_i, d_theta (parameters,) likewise.
  void diagonal_vjp(const T* x, int64_t n, int64_t q, const double* cotangent, double* d_x, double* d_theta) {
    for (size_t l = 0; l < tree_.leaves.size(); ++l) {
      const DiagonalPull<T> pull = diagonal_pull(l, x, q, cotangent, d_x);
      Device::map(n, pull);
      Device::sums(pull.width(), n, pull, d_theta + tree_.leaves[l].first, true);
    }
  }
  DiagonalPull<T> diagonal_pull(size_t leaf, const T* x, int64_t q, const double* cotangent, double* d_x) const {
    return {maps_[leaf], device_maps_.data(), steps_.data() + context_[leaf].first, context_[leaf].count, x, q, cotangent, d_x};
  }

  // From what a pull-back left to d_x (.., q) += (row index[i] for point i) and d_theta +=; d_z likewise, or null.
  void finish(const Sums& sums, const Points& rows, const T* x, int64_t n, const int64_t* index, const Points& cols,
              const T* z, int64_t m, int64_t q, const double* centre, double* d_x, double* d_z, double* d_theta) {
    for (size_t l = 0; l < tree_.leaves.size(); ++l) {
      const LeafMap& map = maps_[l];
      const SumForm form = Device::template sum_form<T>(prepared_.tasks[l]);
      const double *from_rows = nullptr, *from_cols = nullptr;
      if (map.features) {
        from_rows = side(map, form, sums[l].rows, rows[l], x, n, index, q, centre, d_x, rows_sums_);
        if (d_z) from_cols = side(map, form, sums[l].cols, cols[l], z, m, nullptr, q, centre, d_z, cols_sums_);
      }
      Device::map(1, LeafFinish{map, form, sums[l].scalars.data(), from_rows, from_cols, d_theta + tree_.leaves[l].first});
    }
  }

 private:
  template <class U>
  using Scratch = typename Device::template Scratch<U>;

  // One set of points: their gradients, and what they say of the parameters.
  template <class SumPoints, class LeafPoints>
  const double* side(const LeafMap& map, SumForm form, const SumPoints& sums, const LeafPoints& points, const T* x, int64_t n,
                     const int64_t* index, int64_t q, const double* centre, double* d_x, Scratch<double>& result) {
    const auto view = points.view();
    const auto sum_view = sums.view();
    const PointPull<T, std::decay_t<decltype(view)>, std::decay_t<decltype(sum_view)>> pull{
        map, form, view, sum_view, x, index, q, centre, d_x};
    Device::map(n, pull);
    double* own = result.reserve(pull.width() + 1);
    Device::sums(pull.width(), n, pull, own, false);
    return own;
  }

  struct Part {
    int64_t first, count;
  };
  KernelTree tree_;
  std::vector<Part> context_;  // of each leaf, in steps_
  std::vector<int64_t> first_dim_;
  std::vector<LeafMap> maps_;  // pointers to the device's memory
  int64_t value_steps_;
  const double* theta_at_ = nullptr;
  Scratch<KernelStep> steps_;
  Scratch<int64_t> dims_;
  Scratch<double> theta_, factor_, rows_sums_, cols_sums_;
  Scratch<LeafMap> device_maps_;
  typename Device::template PreparedKernel<T> prepared_;
};

}  // namespace lvm

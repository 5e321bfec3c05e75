// Covariance functions of points and parameters: what a leaf's parameters are, the features phi through which it sees
// points, and the way from gradients by features back to points and parameters.
//
//   kind                                parameters, in this order             phi(x), one number per q
//   rbf, matern*                        variance, lengthscale (d)             (x_q - centre_q) / lengthscale_q
//   rational_quadratic                  variance, lengthscale (d), alpha      the same
//   periodic                            variance, lengthscale (d), period (d) cos u_q / lengthscale_q and sin u_q / lengthscale_q,
//                                                                             u_q = 2 pi (x_q - centre_q) / period_q
//   linear                              variance (d)                          sqrt(variance_q) x_q
//   polynomial                          variance (d), offset                  the same
//   cosine                              variance, lengthscale (d)             cos u, sin u, u = 2 pi sum_q (x_q - centre_q) / lengthscale_q
//   constant, white                     variance                              none
//
// The centre, the median of the inputs, changes no kernel; it keeps a common offset from costing digits.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "device/kernel_tree.hpp"

namespace lvm {

constexpr double kTwoPi = 6.283185307179586477;

inline int64_t parameter_count(Covariance kind, int64_t d) {
  switch (kind) {
    case Covariance::rational_quadratic: return d + 2;
    case Covariance::periodic: return 2 * d + 1;
    case Covariance::linear: return d;
    case Covariance::constant:
    case Covariance::white: return 1;
    default: return d + 1;
  }
}

inline int64_t feature_count(const KernelLeaf& leaf) {
  const int64_t d = static_cast<int64_t>(leaf.dims.size());
  switch (leaf.kind) {
    case Covariance::periodic: return 2 * d;
    case Covariance::cosine: return 2;
    case Covariance::constant:
    case Covariance::white: return 0;
    default: return d;
  }
}

inline PairFunction pair_function(Covariance kind) {
  switch (kind) {
    case Covariance::matern12: return PairFunction::matern12;
    case Covariance::matern32: return PairFunction::matern32;
    case Covariance::matern52: return PairFunction::matern52;
    case Covariance::rational_quadratic: return PairFunction::rational_quadratic;
    case Covariance::linear:
    case Covariance::cosine: return PairFunction::dot;
    case Covariance::polynomial: return PairFunction::power;
    case Covariance::constant: return PairFunction::constant;
    case Covariance::white: return PairFunction::white;
    default: return PairFunction::rbf;
  }
}

inline bool has_dot_features(Covariance kind) { return kind == Covariance::linear || kind == Covariance::polynomial; }

// Median of each column of x, of at most 65 rows that lie evenly. (A mean would be moved by one far point, which would
// cost the others their digits.)
template <class T>
std::vector<double> column_centres(const T* x, int64_t n, int64_t q) {
  constexpr int64_t kMost = 65;
  const int64_t count = std::min(n, kMost);
  std::vector<double> centre(q, 0.0), column(count);
  for (int64_t k = 0; k < q && n > 0; ++k) {
    for (int64_t i = 0; i < count; ++i) {
      const double value = static_cast<double>(x[i * n / count * q + k]);
      column[i] = std::isfinite(value) ? value : 0.0;
    }
    std::nth_element(column.begin(), column.begin() + count / 2, column.end());
    centre[k] = column[count / 2];
  }
  return centre;
}

// A tree with parameters theta (double, tree.parameters of them), ready for a device and a precision.
template <class Device, class T>
class Kernel {
 public:
  using Points = typename Device::template KernelPoints<T>;
  using Sums = typename Device::LeafSums;

  Kernel(const KernelTree& tree, const double* theta) : tree_(tree), theta_(theta, theta + tree.parameters) {
    prepared_.tree = &tree_;
    for (const KernelLeaf& leaf : tree_.leaves) {
      const double* p = theta_.data() + leaf.first;
      const int64_t d = static_cast<int64_t>(leaf.dims.size());
      const double variance = has_dot_features(leaf.kind) ? 1.0 : p[0];
      double shape = 0;
      if (leaf.kind == Covariance::rational_quadratic) shape = p[d + 1];
      if (leaf.kind == Covariance::polynomial) shape = p[d];
      prepared_.tasks.push_back({pair_function(leaf.kind), feature_count(leaf), false, !has_dot_features(leaf.kind), leaf.degree,
                                 static_cast<T>(variance), static_cast<T>(shape)});
    }
  }
  Kernel(const Kernel&) = delete;

  const KernelTree& tree() const { return tree_; }
  const double* theta() const { return theta_.data(); }
  const auto& prepared() const { return prepared_; }

  // The features of n points: rows of x (.., q) row-major, or its rows index[0..n).
  void assign(Points& points, const T* x, int64_t n, int64_t q, const int64_t* index, const double* centre) const {
    points.resize(tree_.leaves.size());
    for (size_t l = 0; l < tree_.leaves.size(); ++l) {
      const int64_t features = prepared_.tasks[l].features;
      auto& target = points[l];
      target.resize(n, features, features ? 2 : 0);
      if (!features) continue;
      const LeafMap map(tree_.leaves[l], theta_.data(), centre);
      Device::for_ranges(target.blocks(), kBlocksAtATime, [&](int64_t begin, int64_t end) {
        std::vector<double> phi(features);
        for (int64_t b = begin; b < end; ++b) {
          T* block = target.block(b);
          const int64_t first = b * target.kBlock, count = std::min(n - first, target.kBlock);
          for (int64_t i = 0; i < count; ++i) {
            map.forward(x + (index ? index[first + i] : first + i) * q, phi.data());
            double square = 0;
            for (int64_t f = 0; f < features; ++f) {
              const T value = static_cast<T>(phi[f]);
              block[f * target.kBlock + i] = value;
              square += static_cast<double>(value) * static_cast<double>(value);
            }
            block[features * target.kBlock + i] = T(1);
            block[(features + 1) * target.kBlock + i] = static_cast<T>(square);
          }
        }
      });
    }
  }

  // Many features: distances by dot products, unless their squares leave the range of T.
  void choose_distances(const Points& rows, const Points& cols) {
    for (size_t l = 0; l < prepared_.tasks.size(); ++l) {
      auto& task = prepared_.tasks[l];
      const bool dot = task.function == PairFunction::dot || task.function == PairFunction::power;
      task.by_dot = !dot && task.features > kDirectFeatures && small_squares(rows[l]) && small_squares(cols[l]);
    }
  }

  // k(x, x), White included.
  double diagonal(const T* x) const { return diagonal_of(last(), x); }

  // d_x (q,) += c d k(x, x) / d x, d_theta += c d k(x, x) / d theta.
  void diagonal_vjp(const T* x, double c, double* d_x, double* d_theta) const {
    pull_diagonal(last(), x, c, d_x, d_theta);
  }

  // From what a pull-back left to d_x (.., q) += (row index[i] for point i) and d_theta +=; d_z likewise, or null.
  void finish(const std::vector<Sums>& sums, const Points& rows, const T* x, int64_t n, const int64_t* index,
              const Points& cols, const T* z, int64_t m, int64_t q, const double* centre, double* d_x, double* d_z,
              double* d_theta) const {
    for (size_t l = 0; l < tree_.leaves.size(); ++l) {
      const KernelLeaf& leaf = tree_.leaves[l];
      const auto& task = prepared_.tasks[l];
      const double variance = static_cast<double>(task.variance);
      const int64_t d = static_cast<int64_t>(leaf.dims.size());
      if (!has_dot_features(leaf.kind)) d_theta[leaf.first] += sums[l].value;
      if (leaf.kind == Covariance::rational_quadratic) d_theta[leaf.first + d + 1] += variance * sums[l].shape;
      if (leaf.kind == Covariance::polynomial) d_theta[leaf.first + d] += sums[l].shape;
      if (!task.features) continue;
      const LeafMap map(leaf, theta_.data(), centre);
      std::vector<double> squares(task.features, 0.0);
      side(map, task, variance, sums[l].rows, rows[l], x, n, index, q, d_x, d_theta, squares);
      if (d_z) side(map, task, variance, sums[l].cols, cols[l], z, m, nullptr, q, d_z, d_theta, squares);
      for (int64_t f = 0; f < task.features; ++f) squares[f] += sums[l].squares[f];
      map.pull_scales(variance, squares.data(), d_theta);
    }
  }

 private:
  static constexpr int64_t kDirectFeatures = 16;
  static constexpr int64_t kBlocksAtATime = 8;

  // The features of one leaf that has some for one point, and back.
  struct LeafMap {
    const KernelLeaf& leaf;
    const double* p;  // the leaf's parameters
    const double* centre;
    int64_t first, d;
    std::vector<double> factor;  // of an input in the features: sqrt(variance_q) or 1 / lengthscale_q

    LeafMap(const KernelLeaf& l, const double* theta, const double* c)
        : leaf(l), p(theta + l.first), centre(c), first(l.first), d(static_cast<int64_t>(l.dims.size())), factor(d) {
      const bool dot = has_dot_features(leaf.kind);
      for (int64_t k = 0; k < d; ++k) factor[k] = dot ? std::sqrt(p[k]) : 1.0 / p[1 + k];
    }

    double input(const T* x, int64_t k) const { return static_cast<double>(x[leaf.dims[k]]) - centre[leaf.dims[k]]; }
    double phase(const T* x) const {
      double u = 0;
      for (int64_t k = 0; k < d; ++k) u += input(x, k) * factor[k];
      return kTwoPi * u;
    }

    void forward(const T* x, double* phi) const {
      if (has_dot_features(leaf.kind)) {
        for (int64_t k = 0; k < d; ++k) phi[k] = factor[k] * static_cast<double>(x[leaf.dims[k]]);
      } else if (leaf.kind == Covariance::periodic) {
        for (int64_t k = 0; k < d; ++k) {
          const double u = kTwoPi * input(x, k) / p[1 + d + k];
          phi[2 * k] = std::cos(u) * factor[k];
          phi[2 * k + 1] = std::sin(u) * factor[k];
        }
      } else if (leaf.kind == Covariance::cosine) {
        const double u = phase(x);
        phi[0] = std::cos(u);
        phi[1] = std::sin(u);
      } else {
        for (int64_t k = 0; k < d; ++k) phi[k] = input(x, k) * factor[k];
      }
    }

    // phi_bar: gradient by the features of point x. Squared distances tell the lengthscales (pull_scales).
    void backward(const T* x, const double* phi, const double* phi_bar, double* d_x, double* d_theta) const {
      double* d_p = d_theta + first;
      if (has_dot_features(leaf.kind)) {
        for (int64_t k = 0; k < d; ++k) {
          d_x[leaf.dims[k]] += factor[k] * phi_bar[k];
          d_p[k] += 0.5 * phi_bar[k] * phi[k] / p[k];
        }
      } else if (leaf.kind == Covariance::periodic) {
        for (int64_t k = 0; k < d; ++k) {
          const double u_bar = phi[2 * k] * phi_bar[2 * k + 1] - phi[2 * k + 1] * phi_bar[2 * k];
          const double scale = kTwoPi / p[1 + d + k];
          d_x[leaf.dims[k]] += scale * u_bar;
          d_p[1 + d + k] -= scale * u_bar * input(x, k) / p[1 + d + k];
        }
      } else if (leaf.kind == Covariance::cosine) {
        const double u_bar = phi[0] * phi_bar[1] - phi[1] * phi_bar[0];
        for (int64_t k = 0; k < d; ++k) {
          d_x[leaf.dims[k]] += kTwoPi * u_bar / p[1 + k];
          d_p[1 + k] -= kTwoPi * u_bar * input(x, k) / (p[1 + k] * p[1 + k]);
        }
      } else {
        for (int64_t k = 0; k < d; ++k) d_x[leaf.dims[k]] += phi_bar[k] * factor[k];
      }
    }

    // squares[f]: sum over pairs of w (phi_f(x) - phi_f(z))^2.
    void pull_scales(double variance, const double* squares, double* d_theta) const {
      if (has_dot_features(leaf.kind) || leaf.kind == Covariance::cosine) return;
      const int64_t per = leaf.kind == Covariance::periodic ? 2 : 1;
      for (int64_t k = 0; k < d; ++k) {
        const double square = per == 2 ? squares[2 * k] + squares[2 * k + 1] : squares[k];
        d_theta[first + 1 + k] -= 2.0 * variance * square / p[1 + k];
      }
    }
  };

  template <class Blocks>
  static bool small_squares(const Blocks& points) {
    const double most = sizeof(T) == sizeof(double) ? 1e300 : 1e36;
    for (int64_t i = 0; i < points.count(); ++i) {
      if (static_cast<double>(points.at(i, points.features() + 1)) > most) return false;
    }
    return true;
  }

  // One set of points: their sums to d_x, d_theta and, where they are not known yet, the squared differences.
  template <class Task, class SumBlocks, class Blocks>
  void side(const LeafMap& map, const Task& task, double variance, const SumBlocks& sums, const Blocks& points,
            const T* x, int64_t n, const int64_t* index, int64_t q, double* d_x, double* d_theta,
            std::vector<double>& squares) const {
    const int64_t features = task.features, parameters = tree_.parameters, width = features + parameters;
    const bool direct = Device::template by_differences<T>(task);
    const bool dot = task.function == PairFunction::dot || task.function == PairFunction::power;
    constexpr int64_t kBlock = Blocks::kBlock;
    const int64_t ranges = (points.blocks() + kBlocksAtATime - 1) / kBlocksAtATime;
    std::vector<double> partial(ranges * width, 0.0);
    Device::for_ranges(points.blocks(), kBlocksAtATime, [&](int64_t begin, int64_t end) {
      double* own_squares = partial.data() + begin / kBlocksAtATime * width;
      double* own_theta = own_squares + features;
      std::vector<double> phi(features), phi_bar(features);
      for (int64_t b = begin; b < end; ++b) {
        const T* point = points.block(b);
        const double* sum = sums.block(b);
        const int64_t first = b * kBlock, count = std::min(n - first, kBlock);
        for (int64_t i = 0; i < count; ++i) {
          const double all = direct || dot ? 0.0 : sum[features * kBlock + i];
          for (int64_t f = 0; f < features; ++f) {
            phi[f] = static_cast<double>(point[f * kBlock + i]);
            const double s = sum[f * kBlock + i];
            if (dot) {
              phi_bar[f] = variance * s;
            } else if (direct) {
              phi_bar[f] = 2.0 * variance * s;
            } else {
              const double far = all * phi[f] - s, near = sum[(features + 1 + f) * kBlock + i];
              phi_bar[f] = 2.0 * variance * (far + near);
              own_squares[f] += phi[f] * far;
            }
          }
          const int64_t row = (index ? index[first + i] : first + i) * q;
          map.backward(x + row, phi.data(), phi_bar.data(), d_x + row, own_theta);
        }
      }
    });
    for (int64_t r = 0; r < ranges; ++r) {
      for (int64_t f = 0; f < features; ++f) squares[f] += partial[r * width + f];
      for (int64_t k = 0; k < parameters; ++k) d_theta[k] += partial[r * width + features + k];
    }
  }

  int64_t last() const { return static_cast<int64_t>(tree_.nodes.size()) - 1; }

  double diagonal_of(int64_t node, const T* x) const {
    const KernelNode& n = tree_.nodes[node];
    if (n.kind == KernelNode::Kind::leaf) return leaf_diagonal(tree_.leaves[n.leaf], x);
    double result = n.kind == KernelNode::Kind::sum ? 0.0 : 1.0;
    for (int64_t part : n.parts) {
      const double value = diagonal_of(part, x);
      result = n.kind == KernelNode::Kind::sum ? result + value : result * value;
    }
    return result;
  }

  double leaf_dot(const KernelLeaf& leaf, const T* x) const {
    double s = 0;
    for (size_t k = 0; k < leaf.dims.size(); ++k) {
      const double value = static_cast<double>(x[leaf.dims[k]]);
      s += theta_[leaf.first + k] * value * value;
    }
    return s;
  }
  double leaf_diagonal(const KernelLeaf& leaf, const T* x) const {
    if (!has_dot_features(leaf.kind)) return theta_[leaf.first];
    const double s = leaf_dot(leaf, x);
    if (leaf.kind == Covariance::linear) return s;
    return Power::power(s + theta_[leaf.first + static_cast<int64_t>(leaf.dims.size())], leaf.degree);
  }

  void pull_diagonal(int64_t node, const T* x, double c, double* d_x, double* d_theta) const {
    const KernelNode& n = tree_.nodes[node];
    if (n.kind != KernelNode::Kind::leaf) {
      for (size_t a = 0; a < n.parts.size(); ++a) {
        double rest = c;
        for (size_t b = 0; b < n.parts.size() && n.kind == KernelNode::Kind::product; ++b) {
          if (b != a) rest *= diagonal_of(n.parts[b], x);
        }
        pull_diagonal(n.parts[a], x, rest, d_x, d_theta);
      }
      return;
    }
    const KernelLeaf& leaf = tree_.leaves[n.leaf];
    if (!has_dot_features(leaf.kind)) {
      d_theta[leaf.first] += c;
      return;
    }
    const int64_t d = static_cast<int64_t>(leaf.dims.size());
    double slope = c;
    if (leaf.kind == Covariance::polynomial) {
      slope *= leaf.degree * Power::power(leaf_dot(leaf, x) + theta_[leaf.first + d], leaf.degree - 1);
      d_theta[leaf.first + d] += slope;
    }
    for (int64_t k = 0; k < d; ++k) {
      const double value = static_cast<double>(x[leaf.dims[k]]);
      d_x[leaf.dims[k]] += 2.0 * slope * theta_[leaf.first + k] * value;
      d_theta[leaf.first + k] += slope * value * value;
    }
  }

  KernelTree tree_;
  std::vector<double> theta_;
  typename Device::template PreparedKernel<T> prepared_;
};

}  // namespace lvm

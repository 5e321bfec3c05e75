// BFGS on a problem of a few variables, turned inside out: the caller evaluates.
//
// Many rows minimise their own function of q variables side by side; each asks for a point and is told value
// and gradient there, so that the evaluations of all rows can be made together.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace lvm {

struct BfgsOptions {
  double gradient_tolerance;  // stop when max_q |g_q| scale_q falls below
  int max_evaluations;
};

class RowBfgs {
 public:
  // start: (q,); scale: (q,), a length in which each variable may sensibly change at first.
  void begin(const double* start, const double* scale, int64_t q) {
    q_ = q;
    scale_.assign(scale, scale + q);
    x_.assign(start, start + q);
    trial_ = x_;
    gradient_.assign(q, 0.0);
    direction_.assign(q, 0.0);
    inverse_hessian_.assign(q * q, 0.0);
    evaluations_ = 0;
    done_ = converged_ = fresh_ = false;
  }

  const double* ask() const { return trial_.data(); }
  bool done() const { return done_; }
  bool converged() const { return converged_; }
  double value() const { return value_; }
  const double* x() const { return x_.data(); }
  int evaluations() const { return evaluations_; }

  void tell(double value, const double* gradient, const BfgsOptions& options) {
    ++evaluations_;
    if (evaluations_ == 1) {
      value_ = value;
      std::copy(gradient, gradient + q_, gradient_.begin());
      restart();
    } else if (std::isfinite(value) && value <= value_ + 1e-4 * step_ * slope_) {
      accept(value, gradient);
    } else if (!shorten(value)) {
      return;
    }
    if (small_gradient(options)) {
      done_ = converged_ = true;
    } else if (evaluations_ >= options.max_evaluations) {
      done_ = true;
    } else {
      for (int64_t k = 0; k < q_; ++k) trial_[k] = x_[k] + step_ * direction_[k];
    }
  }

 private:
  // Steepest descent, a tenth of a scale long.
  void restart() {
    double norm = 0;
    for (int64_t k = 0; k < q_; ++k) norm = std::max(norm, std::fabs(gradient_[k]) * scale_[k]);
    const double length = norm > 0 ? 0.1 / norm : 0;
    std::fill(inverse_hessian_.begin(), inverse_hessian_.end(), 0.0);
    for (int64_t k = 0; k < q_; ++k) inverse_hessian_[k * q_ + k] = length * scale_[k] * scale_[k];
    fresh_ = true;
    new_direction();
  }

  void new_direction() {
    slope_ = 0;
    for (int64_t i = 0; i < q_; ++i) {
      double d = 0;
      for (int64_t j = 0; j < q_; ++j) d -= inverse_hessian_[i * q_ + j] * gradient_[j];
      direction_[i] = d;
      slope_ += d * gradient_[i];
    }
    step_ = 1;
  }

  void accept(double value, const double* gradient) {
    std::vector<double> s(q_), y(q_), hy(q_, 0.0);
    double sy = 0;
    for (int64_t k = 0; k < q_; ++k) {
      s[k] = trial_[k] - x_[k];
      y[k] = gradient[k] - gradient_[k];
      sy += s[k] * y[k];
    }
    x_ = trial_;
    value_ = value;
    std::copy(gradient, gradient + q_, gradient_.begin());
    if (sy > 0) {
      if (fresh_) {  // the first pair sets the size of the inverse Hessian
        double shy = 0;
        for (int64_t k = 0; k < q_; ++k) shy += y[k] * y[k] * inverse_hessian_[k * q_ + k];
        if (shy > 0) {
          for (double& h : inverse_hessian_) h *= sy / shy;
        }
        fresh_ = false;
      }
      double yhy = 0;
      for (int64_t i = 0; i < q_; ++i) {
        for (int64_t j = 0; j < q_; ++j) hy[i] += inverse_hessian_[i * q_ + j] * y[j];
        yhy += y[i] * hy[i];
      }
      for (int64_t i = 0; i < q_; ++i) {
        for (int64_t j = 0; j < q_; ++j) {
          inverse_hessian_[i * q_ + j] += (1 + yhy / sy) * s[i] * s[j] / sy - (hy[i] * s[j] + s[i] * hy[j]) / sy;
        }
      }
      new_direction();
      if (!(slope_ < 0)) restart();
    } else {  // negative curvature along the step: go on farther the same way
      const double reach = 2 * step_;
      restart();
      for (double& h : inverse_hessian_) h *= reach;
      new_direction();
    }
  }

  // A shorter step after a failed trial; false when the row has stopped.
  bool shorten(double value) {
    const double decrease = value - value_ - step_ * slope_;
    double factor = std::isfinite(value) && decrease > 0 ? -0.5 * step_ * slope_ / decrease : 0.1;
    factor = std::min(0.5, std::max(0.1, factor));
    step_ *= factor;
    double relative = 0;
    for (int64_t k = 0; k < q_; ++k) relative = std::max(relative, std::fabs(step_ * direction_[k]) / scale_[k]);
    if (relative < 1e-10) {
      if (fresh_) {  // even steepest descent cannot improve: a minimum to rounding
        done_ = converged_ = true;
        return false;
      }
      restart();
    }
    return true;
  }

  bool small_gradient(const BfgsOptions& options) const {
    double norm = 0;
    for (int64_t k = 0; k < q_; ++k) norm = std::max(norm, std::fabs(gradient_[k]) * scale_[k]);
    return norm <= options.gradient_tolerance;
  }

  int64_t q_ = 0;
  std::vector<double> x_, trial_, gradient_, direction_, inverse_hessian_, scale_;
  double value_ = 0, slope_ = 0, step_ = 1;
  int evaluations_ = 0;
  bool done_ = false, converged_ = false, fresh_ = false;
};

}  // namespace lvm

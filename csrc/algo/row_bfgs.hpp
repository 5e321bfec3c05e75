// BFGS on a problem of a few variables, within a box or without one, turned inside out: the caller evaluates.
//
// Many rows minimise their own function of q variables side by side; each asks for a point and is told value
// and gradient there, so that the evaluations of all rows can be made together.
//
// In a box, variables at a bound that their gradient pushes against stay there; the others go along the direction of the
// quadratic model in which those are fixed, and what leaves the box is put back onto it (Bertsekas 1982, SIAM J. Control
// Optim. 20, two-metric projection).
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
  // start: (q,); scale: (q,), a length in which each variable may sensibly change at first. lower, upper: (q,), kept by the
  // caller until the row is done; or null.
  void begin(const double* start, const double* scale, int64_t q, const double* lower = nullptr,
             const double* upper = nullptr) {
    q_ = q;
    lower_ = lower, upper_ = upper;
    scale_.assign(scale, scale + q);
    x_.assign(start, start + q);
    for (int64_t k = 0; k < q; ++k) x_[k] = inside(x_[k], k);
    trial_ = x_;
    for (auto* v : {&gradient_, &direction_, &s_, &y_, &hy_}) v->assign(q, 0.0);
    inverse_hessian_.assign(q * q, 0.0);
    held_.assign(q, 0);
    value_ = INFINITY;
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
      if (!std::isfinite(value)) {
        done_ = true;
        return;
      }
      restart();
    } else if (std::isfinite(value) && value <= value_ + 1e-4 * std::min(gain_, 0.0)) {
      accept(value, gradient);
    } else if (!shorten(value)) {
      return;
    }
    if (small_gradient(options)) {
      done_ = converged_ = true;
    } else if (evaluations_ >= options.max_evaluations) {
      done_ = true;
    } else {
      set_trial();
    }
  }

 private:
  double inside(double value, int64_t k) const {
    return lower_ ? std::min(std::max(value, lower_[k]), upper_[k]) : value;
  }

  void set_trial() {
    gain_ = 0;
    for (int64_t k = 0; k < q_; ++k) {
      trial_[k] = inside(x_[k] + step_ * direction_[k], k);
      gain_ += gradient_[k] * (trial_[k] - x_[k]);
    }
    if (!lower_) gain_ = step_ * slope_;
  }

  // Steepest descent, a tenth of a scale long.
  void restart() {
    hold();
    double norm = 0;
    for (int64_t k = 0; k < q_; ++k) norm = std::max(norm, held_[k] ? 0 : std::fabs(gradient_[k]) * scale_[k]);
    const double length = norm > 0 ? 0.1 / norm : 0;
    std::fill(inverse_hessian_.begin(), inverse_hessian_.end(), 0.0);
    for (int64_t k = 0; k < q_; ++k) inverse_hessian_[k * q_ + k] = length * scale_[k] * scale_[k];
    fresh_ = true;
    new_direction();
  }

  void hold() {
    if (!lower_) return;
    for (int64_t k = 0; k < q_; ++k) {
      held_[k] = (x_[k] <= lower_[k] && gradient_[k] > 0) || (x_[k] >= upper_[k] && gradient_[k] < 0);
    }
  }

  // Minimises the quadratic model over the variables that are not held: with H = B^-1 the inverse Hessian, F the free and A
  // the held ones, B_FF^-1 = H_FF - H_FA H_AA^-1 H_AF.
  void new_direction() {
    const double* h = inverse_hessian_.data();
    for (int64_t i = 0; i < q_; ++i) {
      double d = 0;
      for (int64_t j = 0; j < q_; ++j) d -= held_[j] ? 0.0 : h[i * q_ + j] * gradient_[j];
      direction_[i] = d;
    }
    take_out_held();
    slope_ = 0;
    for (int64_t i = 0; i < q_; ++i) slope_ += direction_[i] * gradient_[i];
    step_ = 1;
  }

  void take_out_held() {
    const double* h = inverse_hessian_.data();
    const int64_t count = std::count(held_.begin(), held_.end(), 1);
    if (count == 0) return;
    which_.clear();
    for (int64_t k = 0; k < q_; ++k) {
      if (held_[k]) which_.push_back(k);
    }
    root_.assign(count * count, 0.0);
    right_.resize(count);
    for (int64_t a = 0; a < count; ++a) {  // Cholesky of H_AA, and forward substitution
      for (int64_t b = 0; b <= a; ++b) {
        double sum = h[which_[a] * q_ + which_[b]];
        for (int64_t c = 0; c < b; ++c) sum -= root_[a * count + c] * root_[b * count + c];
        root_[a * count + b] = a == b ? std::sqrt(std::max(sum, 1e-300)) : sum / root_[b * count + b];
      }
      double sum = direction_[which_[a]];
      for (int64_t c = 0; c < a; ++c) sum -= root_[a * count + c] * right_[c];
      right_[a] = sum / root_[a * count + a];
    }
    for (int64_t a = count - 1; a >= 0; --a) {
      for (int64_t c = a + 1; c < count; ++c) right_[a] -= root_[c * count + a] * right_[c];
      right_[a] /= root_[a * count + a];
    }
    for (int64_t i = 0; i < q_; ++i) {
      for (int64_t a = 0; a < count; ++a) direction_[i] -= h[i * q_ + which_[a]] * right_[a];
      if (held_[i]) direction_[i] = 0;
    }
  }

  void accept(double value, const double* gradient) {
    double sy = 0;
    for (int64_t k = 0; k < q_; ++k) {
      s_[k] = trial_[k] - x_[k];
      y_[k] = gradient[k] - gradient_[k];
      sy += s_[k] * y_[k];
    }
    x_ = trial_;
    value_ = value;
    std::copy(gradient, gradient + q_, gradient_.begin());
    if (sy > 0) {
      if (fresh_) {  // the first pair sets the size of the inverse Hessian
        double shy = 0;
        for (int64_t k = 0; k < q_; ++k) shy += y_[k] * y_[k] * inverse_hessian_[k * q_ + k];
        if (shy > 0) {
          for (double& h : inverse_hessian_) h *= sy / shy;
        }
        fresh_ = false;
      }
      double yhy = 0;
      for (int64_t i = 0; i < q_; ++i) {
        hy_[i] = 0;
        for (int64_t j = 0; j < q_; ++j) hy_[i] += inverse_hessian_[i * q_ + j] * y_[j];
        yhy += y_[i] * hy_[i];
      }
      for (int64_t i = 0; i < q_; ++i) {
        for (int64_t j = 0; j < q_; ++j) {
          inverse_hessian_[i * q_ + j] += (1 + yhy / sy) * s_[i] * s_[j] / sy - (hy_[i] * s_[j] + s_[i] * hy_[j]) / sy;
        }
      }
      hold();
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
    const double decrease = value - value_ - gain_;
    double factor = std::isfinite(value) && decrease > 0 ? -0.5 * gain_ / decrease : 0.1;
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
    for (int64_t k = 0; k < q_; ++k) norm = std::max(norm, held_[k] ? 0 : std::fabs(gradient_[k]) * scale_[k]);
    return norm <= options.gradient_tolerance;
  }

  int64_t q_ = 0;
  const double *lower_ = nullptr, *upper_ = nullptr;
  std::vector<double> x_, trial_, gradient_, direction_, inverse_hessian_, scale_, s_, y_, hy_, root_, right_;
  std::vector<char> held_;       // at a bound that the gradient pushes against
  std::vector<int64_t> which_;   // those
  double value_ = 0, slope_ = 0, step_ = 1;
  double gain_ = 0;  // what the trial gains to first order
  int evaluations_ = 0;
  bool done_ = false, converged_ = false, fresh_ = false;
};

// Many of them, of which those not yet done are asked and told together.
class RowSearches {
 public:
  // starts (count, q); the rest as for RowBfgs::begin.
  void begin(int64_t count, const double* starts, const double* scale, int64_t q, const double* lower = nullptr,
             const double* upper = nullptr) {
    q_ = q;
    if (static_cast<int64_t>(rows_.size()) < count) rows_.resize(count);
    active_.resize(count);
    for (int64_t i = 0; i < count; ++i) {
      rows_[i].begin(starts + i * q, scale, q, lower, upper);
      active_[i] = i;
    }
  }

  const std::vector<int64_t>& active() const { return active_; }
  const RowBfgs& row(int64_t i) const { return rows_[i]; }

  // x (active, q).
  void ask(double* x) const {
    for (size_t b = 0; b < active_.size(); ++b) std::copy_n(rows_[active_[b]].ask(), q_, x + b * q_);
  }

  // value (active,) and gradient (active, q) there; options(row) gives each row's.
  template <class Options>
  void tell(const double* value, const double* gradient, const Options& options) {
    size_t left = 0;
    for (size_t b = 0; b < active_.size(); ++b) {
      RowBfgs& row = rows_[active_[b]];
      row.tell(value[b], gradient + b * q_, options(active_[b]));
      if (!row.done()) active_[left++] = active_[b];
    }
    active_.resize(left);
  }

  // To the end: evaluate(count, rows, x, value, gradient).
  template <class Evaluate, class Options>
  void run(const Evaluate& evaluate, const Options& options) {
    while (!active_.empty()) {
      const int64_t count = static_cast<int64_t>(active_.size());
      x_.resize(count * q_);
      value_.resize(count);
      gradient_.resize(count * q_);
      ask(x_.data());
      evaluate(count, active_.data(), x_.data(), value_.data(), gradient_.data());
      tell(value_.data(), gradient_.data(), options);
    }
  }

 private:
  int64_t q_ = 0;
  std::vector<RowBfgs> rows_;
  std::vector<int64_t> active_;
  std::vector<double> x_, value_, gradient_;
};

}  // namespace lvm

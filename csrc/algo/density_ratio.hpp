// A network s(x) = log p(x) / q(x), learned from rows of p and of q: the loss with its exact gradient, and training steps.
//
//   loss = sum_i |w_i| term(s(x_i)), w_i > 0 for rows of p, w_i < 0 for rows of q (core/ratio_loss.hpp).
//
// A step costs a pass through the network and back (algo/network.hpp): 6 n p flops for a dense network of p parameters. Memory
// beyond the values of the layers: the rows once more for narrow networks (device/narrow_rows.hpp), 3 n numbers for others.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "algo/training.hpp"
#include "core/ratio_steps.hpp"
#include "device/narrow_rows.hpp"
#include "device/vae_rows.hpp"

namespace lvm {

template <class Device, class T>
class RatioNetwork {
 public:
  RatioNetwork(const std::vector<LayerShape>& shapes, int64_t parameters, const RatioLossShape& loss)
      : network_(shapes), narrow_(shapes, parameters, loss), suits_(NarrowRows<Device, T>::suits(shapes, parameters)),
        parameters_(parameters), loss_(loss) {}

  const Network<Device, T>& network() const { return network_; }
  int64_t parameters() const { return parameters_; }

  // s (n,) of x (n, inputs), in parts whose values fit into `most` numbers.
  void log_ratio(const T* theta, const T* x, int64_t n, T* s) {
    if (suits_) return narrow_.log_ratio(theta, x, n, s);
    recorded_ = {};
    int64_t kept = 1;
    for (int64_t l = 0; l < network_.layers(); ++l) kept += network_.shape(l).outputs();
    const int64_t rows = std::max<int64_t>(1, (int64_t(1) << 24) / kept), d = network_.inputs();
    for (int64_t i = 0; i < n; i += rows) {
      const int64_t count = std::min(rows, n - i);
      network_.forward(theta, x + i * d, count);
      Device::copy(network_.output(0), s + i, count);
    }
  }

  // *loss (in the device's memory) of n rows, and its gradient unless that is null.
  const double* evaluate(const T* theta, const T* x, const T* w, int64_t n, T* gradient) {
    recorded_ = {};  // scratch memory may move: steps are recorded anew
    set_numbers(0, 0, 1);
    if (suits_) narrow_.take(x, w, n);
    return loss(theta, x, w, n, gradient);
  }

  // k steps: all n rows of x, or rows[j batch, (j + 1) batch) of it with weights times total / (their number). out (k, 2)
  // receives the loss before a step and the norm of its gradient, NaN where nothing was done. Of the first `done` steps numbers
  // were finite; later ones did nothing. rows and out: on the host.
  int64_t train(T* theta, T* m, T* v, const T* x, const T* w, int64_t n, int64_t total, const int64_t* rows, int64_t batch,
                int64_t steps, const double* rates, const StepOptimizer& optimizer, double* out) {
    const int64_t d = network_.inputs(), p = parameters_;
    T* gradient = gradient_.reserve(p);
    out_.reserve(2 * steps);
    double* scale = scale_.reserve(1);
    Device::zero(scale, 1);
    if (rows) {
      std::copy_n(rows, n, rows_.reserve(n));
      rows_.push(n);
    } else if (suits_) {
      narrow_.take(x, w, n);
    }
    for (int64_t j = 0; j < steps; ++j) {
      const int64_t begin = rows ? j * batch : 0, b = rows ? std::min(batch, n - begin) : n;
      const T *taken = x, *weights = w;
      double factor = 1;
      if (rows) {
        VaeRows<Device, T>::gather(x, rows_.device() + begin, b, d, batch_.reserve(b * d));
        VaeRows<Device, T>::gather(w, rows_.device() + begin, b, 1, batch_weights_.reserve(b));
        taken = batch_.data();
        weights = batch_weights_.data();
        factor = static_cast<double>(total) / static_cast<double>(b);
        if (suits_) {
          Device::map(b, ScaleNumber<T>{batch_weights_.data(), T(factor)});
          narrow_.take(taken, weights, b);
        }
      }
      set_numbers(rates[j], static_cast<double>(j), factor);
      const Recorded now{theta, m, v, taken, weights, b, out_.device(), optimizer};
      recorder_.run(now == recorded_, [&] {
        const double* value = loss(theta, taken, weights, b, gradient);
        double* square = square_.reserve(1);
        NetworkSteps<Device, T>::square_sum(p, gradient, square);
        Device::map(1, FinishRatioStep{numbers_.data(), value, square, out_.device(), scale,
                                  longest_gradient<T>(optimizer)});
        if (Device::kImmediate && *scale < 0) return;
        update_entries<Device, T>(theta, m, v, gradient, optimizer, 0, p, scale, numbers_.data() + kRatioRate);
      });
      recorded_ = now;
      if (Device::kImmediate && *scale < 0) break;
    }
    out_.pull(2 * steps);
    Device::wait();
    int64_t done = 0;
    for (const double* numbers = out_.host(); done < steps; ++done, numbers += 2, out += 2) {
      if (!std::isfinite(numbers[0]) || !std::isfinite(numbers[1])) break;
      std::copy_n(numbers, 2, out);
    }
    std::fill_n(out, 2 * (steps - done), std::nan(""));
    return done;
  }

 private:
  template <class U>
  using Scratch = typename Device::template Scratch<U>;

  // What a recorded step holds by value.
  struct Recorded {
    const T *theta = nullptr, *m = nullptr, *v = nullptr, *x = nullptr, *w = nullptr;
    int64_t rows = 0;
    const double* out = nullptr;
    StepOptimizer optimizer{};
    bool operator==(const Recorded& o) const {
      return theta == o.theta && m == o.m && v == o.v && x == o.x && w == o.w && rows == o.rows && out == o.out && optimizer == o.optimizer;
    }
  };

  void set_numbers(double rate, double place, double factor) {
    Device::map(1, SetRatioNumbers{numbers_.reserve(kRatioNumbers), rate, place, factor});
  }

  const double* loss(const T* theta, const T* x, const T* w, int64_t n, T* gradient) {
    double* value = value_.reserve(1);
    if (suits_) {
      narrow_.loss(theta, gradient, value);
      return value;
    }
    network_.forward(theta, x, n);
    T* d = d_.reserve(n);
    double* terms = terms_.reserve(n);
    Device::map(n, RatioTerms<T>{network_.output(0), w, numbers_.data(), d, terms, loss_});
    Device::sums(1, n, RatioTerm{terms}, value);
    if (gradient) network_.backward(theta, &d, gradient, nullptr);
    return value;
  }

  Network<Device, T> network_;
  NarrowRows<Device, T> narrow_;
  bool suits_;
  int64_t parameters_;
  RatioLossShape loss_;
  Scratch<T> gradient_, batch_, batch_weights_, d_;
  Scratch<double> numbers_, value_, terms_, square_, scale_;
  typename Device::template Shared<double> out_;
  typename Device::template Shared<int64_t> rows_;
  typename Device::Recorder recorder_;
  Recorded recorded_;
};

}  // namespace lvm

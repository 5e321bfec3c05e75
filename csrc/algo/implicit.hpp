// Implicit models: a generator x = G(z), z standard normal, and a network s(x) = log q(x) / p(x) of the data's law q and G's p.
//
// s descends E_q h(s(x)) + E_p h'(s(x)) of core/ratio_loss.hpp (h for points of the numerator, here the data), G descends
// E_z f'(exp(-s(G(z)))) with s given (core/implicit.hpp). A step: rows of the data, `ratio_steps` updates of s on as many
// generated rows, each with noise of its own; one of G, at the last of these noises, through the s that was reached.
//
// Parameters are one vector, the generator's and the ratio's. Work of a step for n rows: R forward passes of G and one back, R
// of s on 2 n rows forward and back to its parameters, and one on n rows forward and back to its input. Tiao (2018), "Density
// ratio estimation for KL divergence minimization between implicit distributions"; Mohamed & Lakshminarayanan (2016).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "algo/training.hpp"
#include "core/implicit.hpp"
#include "device/vae_rows.hpp"

namespace lvm {

struct ImplicitShape {
  RatioLossShape loss;
  GeneratorLossShape objective;
  int64_t ratio_steps;
};

template <class Device, class T>
class Implicit {
 public:
  Implicit(const std::vector<LayerShape>& generator, int64_t generator_size, const std::vector<LayerShape>& ratio,
           int64_t ratio_size, const ImplicitShape& shape)
      : generator_(generator), ratio_(ratio), generator_size_(generator_size), ratio_size_(ratio_size), shape_(shape) {}

  const ImplicitShape& shape() const { return shape_; }
  const Network<Device, T>& generator() const { return generator_; }
  const Network<Device, T>& ratio() const { return ratio_; }
  int64_t noise_size() const { return generator_.inputs(); }
  int64_t features() const { return ratio_.inputs(); }
  int64_t parameters() const { return generator_size_ + ratio_size_; }

  // z (n, noise_size) of update `update` of the ratio in step `step`.
  void noise(uint64_t seed, int64_t step, int64_t update, int64_t n, T* z) const {
    Device::fill_normal(z, n * noise_size(), 0, seed_of_step(seed_of_step(seed, step), update));
  }

  // Noise on the rows that the ratio sees in this update, first the generated ones: (2 n, features).
  void instance_noise(uint64_t seed, int64_t step, int64_t update, int64_t n, T* eps) const {
    Device::fill_normal(eps, 2 * n * features(), 0, seed_of_step(~seed_of_step(seed, step), update));
  }

  // Terms (n, 2) of rows x and of noise z, the ratio's loss and the generator's, and unless gradient is null both gradients,
  // each of its own loss, side by side. shift: null, or what is added to the rows that the ratio sees.
  const double* evaluate(const T* theta, const T* x, int64_t n, const T* z, T* gradient, const T* shift) {
    recorded_ = {};
    set(numbers_.reserve(kRatioRates + shape_.ratio_steps) + kInstanceNoise, 1);
    generate(theta, z, n);
    Device::copy(x, rows_of(n) + n * features(), n * features());
    ratio_.forward(theta + generator_size_, seen(shift, 2 * n, n), 2 * n);
    double* terms = terms_.reserve(2 * n);
    Device::map(n, ImplicitTerms<T>{ratio_.output(0), terms, shape_.loss, shape_.objective, n});
    if (gradient) {
      pull_ratio(theta, n, gradient);
      pull_generator(theta, n, gradient);
    }
    return terms;
  }

  // k steps from step `first`, of rows rows[j batch, (j + 1) batch) of x (or, if rows is null, one with all n rows of x):
  // out (k, 4) receives the ratio's loss before its last update, the generator's, and the norms of their gradients, NaN where
  // nothing was done. Of the first `done` steps numbers were finite; later ones did nothing. rates (k,): the generator's;
  // ratio_rates (k, ratio_steps). noises: null, or the standard deviations (k,) of noise on all rows that the ratio sees.
  // rows, rates, noises and out: on the host.
  int64_t train(T* theta, T* m, T* v, const T* x, int64_t n, const int64_t* rows, int64_t batch, uint64_t seed, int64_t first,
                int64_t steps, const double* rates, const double* ratio_rates, const double* noises,
                const StepOptimizer& optimizer, const StepOptimizer& ratio_optimizer, double* out) {
    const int64_t d = features(), updates = shape_.ratio_steps;
    T* gradient = gradient_.reserve(parameters());
    double *scale = scale_.reserve(1), *numbers = numbers_.reserve(kRatioRates + updates);
    out_.reserve(4 * steps);
    Device::zero(scale, 1);
    if (rows) {
      std::copy_n(rows, n, chosen_.reserve(n));
      chosen_.push(n);
    }
    for (int64_t j = 0; j < steps; ++j) {
      const int64_t begin = rows ? j * batch : 0, b = rows ? std::min(batch, n - begin) : n, size = b * noise_size();
      T *z = z_.reserve(updates * size), *joined = rows_of(b);
      T* eps = noises ? eps_.reserve(updates * 2 * b * d) : nullptr;
      for (int64_t s = 0; s < updates; ++s) {
        noise(seed, first + j, s, b, z + s * size);
        if (eps) instance_noise(seed, first + j, s, b, eps + s * 2 * b * d);
      }
      if (rows) {
        VaeRows<Device, T>::gather(x, chosen_.device() + begin, b, d, joined + b * d);
      } else {
        Device::copy(x, joined + b * d, b * d);
      }
      set(numbers + kStepPlace, static_cast<double>(j));
      set(numbers + kGeneratorRate, rates[j]);
      if (noises) set(numbers + kInstanceNoise, noises[j]);
      for (int64_t s = 0; s < updates; ++s) set(numbers + kRatioRates + s, ratio_rates[j * updates + s]);
      const Recorded now{theta, m, v, joined, eps, b, out_.device(), optimizer, ratio_optimizer};
      recorder_.run(now == recorded_, [&] {
        T* const arrays[3] = {theta, m, v};
        double* sums = sums_.reserve(4);
        kept_.keep(arrays, generator_size_, ratio_size_);
        for (int64_t s = 0; s < updates && !lost(); ++s) {
          update_ratio(theta, m, v, b, z + s * size, eps ? eps + s * 2 * b * d : eps, s, gradient, sums, ratio_optimizer);
        }
        const T* last = eps ? eps + (updates - 1) * 2 * b * d : eps;
        if (!lost()) generator_gradient(theta, b, last, gradient, sums + 2);
        Device::map(1, FinishImplicitStep{numbers, sums, out_.device(), scale, static_cast<double>(b),
                                          longest_gradient<T>(optimizer)});
        kept_.restore(arrays, generator_size_, ratio_size_, scale);
        if (lost()) return;
        update_entries<Device>(theta, m, v, gradient, optimizer, 0, generator_size_, scale, numbers + kGeneratorRate);
      });
      recorded_ = now;
      if (lost()) break;
    }
    out_.pull(4 * steps);
    Device::wait();
    int64_t done = 0;
    for (const double* terms = out_.host(); done < steps; ++done, terms += 4, out += 4) {
      if (!(std::isfinite(terms[0]) && std::isfinite(terms[1]) && std::isfinite(terms[2]) && std::isfinite(terms[3]))) break;
      std::copy_n(terms, 4, out);
    }
    std::fill_n(out, 4 * (steps - done), std::nan(""));
    return done;
  }

 private:
  template <class U>
  using Scratch = typename Device::template Scratch<U>;

  // What a recorded step holds by value.
  struct Recorded {
    const T *theta = nullptr, *m = nullptr, *v = nullptr, *joined = nullptr, *eps = nullptr;
    int64_t rows = 0;
    const double* out = nullptr;
    StepOptimizer optimizer{}, ratio_optimizer{};
    bool operator==(const Recorded& o) const {
      return theta == o.theta && m == o.m && v == o.v && joined == o.joined && eps == o.eps && rows == o.rows &&
             out == o.out && optimizer == o.optimizer && ratio_optimizer == o.ratio_optimizer;
    }
  };

  static void set(double* to, double value) { Device::map(1, SetNumber{to, value}); }
  // Whether a number was not finite, where that is known at once.
  bool lost() const { return Device::kImmediate && *scale_.data() < 0; }

  // [generated rows; rows of the data], (2 n, features).
  T* rows_of(int64_t n) { return joined_.reserve(2 * n * features()); }
  // The first `count` of these 2 n rows, with noise if there is some.
  const T* seen(const T* eps, int64_t count, int64_t n) {
    if (!eps) return rows_of(n);
    T* rows = seen_.reserve(2 * n * features());
    Device::map(count * features(), AddInstanceNoise<T>{rows_of(n), eps, rows, numbers_.data() + kInstanceNoise});
    return rows;
  }
  void generate(const T* theta, const T* z, int64_t n) {
    generator_.forward(theta, z, n);
    Device::copy(generator_.output(0), rows_of(n), n * features());
  }
  void pull_ratio(const T* theta, int64_t n, T* gradient) {
    T* d = slopes_.reserve(2 * n);
    Device::map(2 * n, ImplicitRatioSlope<T>{ratio_.output(0), d, shape_.loss, n});
    ratio_.backward(theta + generator_size_, &d, gradient + generator_size_, nullptr);
  }
  // Through the ratio's last pass, whose first n rows are those of the generator's.
  void pull_generator(const T* theta, int64_t n, T* gradient) {
    T *d = slopes_.reserve(2 * n), *d_rows = d_rows_.reserve(n * features());
    Device::map(n, GeneratorSlope<T>{ratio_.output(0), terms_.reserve(2 * n), d, shape_.objective, n});
    ratio_.backward(theta + generator_size_, &d, nullptr, d_rows, n);
    generator_.backward(theta, &d_rows, gradient, nullptr);
  }

  // sums: the ratio's loss and its gradient's norm^2.
  void update_ratio(T* theta, T* m, T* v, int64_t n, const T* z, const T* eps, int64_t s, T* gradient, double* sums,
                    const StepOptimizer& optimizer) {
    double *scale = scale_.data(), *terms = terms_.reserve(2 * n);
    generate(theta, z, n);
    ratio_.forward(theta + generator_size_, seen(eps, 2 * n, n), 2 * n);
    Device::map(n, ImplicitTerms<T>{ratio_.output(0), terms, shape_.loss, shape_.objective, n});
    pull_ratio(theta, n, gradient);
    Device::sums(1, n, ImplicitTermOf{terms, 0}, sums);
    NetworkSteps<Device, T>::square_sum(ratio_size_, gradient + generator_size_, sums + 1);
    Device::map(1, FinishGradient{sums, sums + 1, scale, longest_gradient<T>(optimizer)});
    if (lost()) return;
    update_entries<Device>(theta, m, v, gradient, optimizer, generator_size_, parameters(), scale,
                           numbers_.data() + kRatioRates + s);
  }
  // sums: the generator's loss and its gradient's norm^2.
  void generator_gradient(const T* theta, int64_t n, const T* eps, T* gradient, double* sums) {
    ratio_.forward(theta + generator_size_, seen(eps, n, n), n);
    pull_generator(theta, n, gradient);
    Device::sums(1, n, ImplicitTermOf{terms_.data(), 1}, sums);
    NetworkSteps<Device, T>::square_sum(generator_size_, gradient, sums + 1);
  }

  Network<Device, T> generator_, ratio_;
  int64_t generator_size_, ratio_size_;
  ImplicitShape shape_;
  Scratch<T> z_, eps_, joined_, seen_, slopes_, d_rows_, gradient_;
  Scratch<double> numbers_, terms_, sums_, scale_;
  KeptPart<Device, T> kept_;
  typename Device::template Shared<double> out_;
  typename Device::template Shared<int64_t> chosen_;
  typename Device::Recorder recorder_;
  Recorded recorded_;
};

}  // namespace lvm

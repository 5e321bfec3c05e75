// Variational autoencoders: the bound of a batch with its exact gradient, and training steps.
//
//   z_il = mean_i + exp(s_i / 2) eps_il,   log w_il = log p(x_i | z_il) + beta (log p(z_il) - log q(z_il | x_i)),
//   objective_i = (1/L) sum_l log p(x_i | z_il) - beta KL(q_i || p),   or   log (1/L) sum_l w_il  (importance weighted);
//   loss = -(1/n) sum_i objective_i.
//
// Kingma & Welling (2014), eq. 7 and 10; Burda, Grosse & Salakhutdinov (2016), eq. 8 and 13. Doubly reparameterised gradients
// of the encoder: Tucker, Lawson, Gu & Maddison (2019), eq. 8, for any beta with the weights (1 - beta) w~_l + beta w~_l^2,
// w~ = w / sum w (a code must not move other rows' weights: not for variances averaged over a batch). Codes of categories are
// relaxed (Jang, Gu & Poole, 2017), their divergence is that of the categories.
//
// Parameters are one vector: the encoder's, the decoder's, free log variances. A step costs the passes of the two networks
// (see algo/network.hpp; the encoder's input has no cotangent) and one pass over the decoder's output, which gives terms and
// cotangents together (importance weighted: another one, that weights the cotangents). Memory beyond the networks': their
// outputs once more, three times the codes, and once the parameters for the gradient.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "algo/network.hpp"
#include "core/vae_codes.hpp"
#include "device/vae_rows.hpp"

namespace lvm {

struct VaeShape {
  int64_t components, categories;  // numbers of a code; of a group of it, 0 for Gaussian codes
  RowLikelihood likelihood;
  RowVariance variance;
  int64_t classes, samples;
  bool weighted, twice;  // importance weighted, doubly reparameterised
  double low, high;      // limits of log variances
  double code_high;      // of codes, instead of high
};

struct VaeOptimizer {
  enum Kind : int64_t { adam, rmsprop, sgd } kind;
  double numbers[3];
  double clip;
  bool operator==(const VaeOptimizer& o) const {
    return kind == o.kind && clip == o.clip && std::equal(numbers, numbers + 3, o.numbers);
  }
};

template <class Device, class T>
class Vae {
 public:
  Vae(const std::vector<LayerShape>& encoder, int64_t encoder_size, const std::vector<LayerShape>& decoder,
      int64_t decoder_size, const VaeShape& shape)
      : encoder_(encoder), decoder_(decoder), encoder_size_(encoder_size), decoder_size_(decoder_size), shape_(shape) {}

  const VaeShape& shape() const { return shape_; }
  int64_t inputs() const { return encoder_.inputs(); }
  int64_t features() const { return decoder_.output_size(0); }
  int64_t free() const {
    return shape_.variance == RowVariance::shared ? 1 : shape_.variance == RowVariance::feature ? features() : 0;
  }
  int64_t parameters() const { return encoder_size_ + decoder_size_ + free(); }
  // Outputs that the networks must have.
  int64_t encoder_outputs() const { return shape_.categories ? 1 : 2; }
  int64_t decoder_outputs() const { return shape_.variance >= RowVariance::batch ? 2 : 1; }
  const Network<Device, T>& encoder() const { return encoder_; }
  const Network<Device, T>& decoder() const { return decoder_; }

  // Noise of step `step`: eps (n, samples, components), standard normal or Gumbel.
  void noise(uint64_t seed, int64_t step, int64_t n, T* eps) const {
    const int64_t size = n * shape_.samples * shape_.components;
    if (!shape_.categories) return Device::fill_normal(eps, size, 0, seed_of_step(seed, step));
    Device::fill_exponential(eps, size, 0, seed_of_step(seed, step));
    Device::map(size, GumbelDraw<T>{eps});
  }

  void set(double beta, double temperature) { set_numbers(0, beta, temperature, 0); }

  // Terms (n, 3) of rows x, with `samples` codes for each, and unless gradient is null that of the loss. fixed: null or the log
  // variances of features, which replace those averaged over a batch.
  const double* evaluate(const T* theta, const T* fixed, const T* x, int64_t n, const T* eps, int64_t samples, T* gradient) {
    recorded_ = {};  // scratch memory may move: steps are recorded anew
    return bound(theta, fixed, x, n, eps, samples, gradient);
  }

  // log_w (n, samples).
  void log_weights(const T* theta, const T* fixed, const T* x, int64_t n, const T* eps, int64_t samples, double* log_w) {
    recorded_ = {};
    set(1, 1);
    forward(theta, fixed, x, n, eps, samples, false, true);
    Device::map(n * samples, SumOfTwo{values_.data(), ratio_.data(), log_w});
  }

  // k steps from step `first`, of rows rows[j batch, (j + 1) batch) of x (or, if rows is null, one with all n rows of x):
  // out (k, 4) receives the means of terms before a step and the norm of the gradient, NaN where nothing was done. Of the first
  // `done` steps numbers were finite; later ones did nothing. rows and out: on the host.
  int64_t train(T* theta, T* m, T* v, const T* fixed, const T* x, int64_t n, const int64_t* rows, int64_t batch, uint64_t seed,
                int64_t first, int64_t steps, const double* rates, const double* betas, const double* temperatures,
                const VaeOptimizer& optimizer, double* out) {
    const int64_t count = n, d = inputs(), p = parameters();
    T* gradient = gradient_.reserve(p);
    out_.reserve(4 * steps);
    double* scale = scale_.reserve(1);
    Device::zero(scale, 1);
    if (rows) {
      std::copy_n(rows, count, rows_.reserve(count));
      rows_.push(count);
    }
    for (int64_t j = 0; j < steps; ++j) {
      const int64_t begin = rows ? j * batch : 0, b = rows ? std::min(batch, count - begin) : count;
      T* eps = eps_.reserve(b * shape_.samples * shape_.components);
      noise(seed, first + j, b, eps);
      const T* taken = x;
      if (rows) {
        VaeRows<Device, T>::gather(x, rows_.device() + begin, b, d, batch_.reserve(b * d));
        taken = batch_.data();
      }
      set_numbers(rates[j], betas[j], temperatures[j], static_cast<double>(j));
      const Recorded now{theta, m, v, taken, fixed, b, out_.device(), optimizer};
      recorder_.run(now == recorded_, [&] {
        bound(theta, fixed, taken, b, eps, shape_.samples, gradient);
        double* sums = sums_.reserve(4);
        Device::sums(3, b, TermOfRow{terms_.data()}, sums);
        NetworkSteps<Device, T>::square_sum(p, gradient, sums + 3);
        Device::map(1, FinishVaeStep{numbers_.data(), sums, sums + 3, out_.device(), scale, static_cast<double>(b),
                                     optimizer.clip > 0 ? std::min(optimizer.clip, kLongest) : kLongest});
        if (Device::kImmediate && *scale < 0) return;
        update(theta, m, v, gradient, optimizer);
      });
      recorded_ = now;
      if (Device::kImmediate && *scale < 0) break;
    }
    out_.pull(4 * steps);
    Device::wait();
    int64_t done = 0;
    for (const double* terms = out_.host(); done < steps; ++done, terms += 4, out += 4) {
      if (!std::isfinite(terms[0]) || !std::isfinite(terms[3])) break;
      std::copy_n(terms, 4, out);
    }
    std::fill_n(out, 4 * (steps - done), std::nan(""));
    return done;
  }

 private:
  template <class U>
  using Scratch = typename Device::template Scratch<U>;
  using Rows = VaeRows<Device, T>;

  // What a recorded step holds by value.
  struct Recorded {
    const T *theta = nullptr, *m = nullptr, *v = nullptr, *x = nullptr, *fixed = nullptr;
    int64_t rows = 0;
    const double* out = nullptr;
    VaeOptimizer optimizer{};
    bool operator==(const Recorded& o) const {
      return theta == o.theta && m == o.m && v == o.v && x == o.x && fixed == o.fixed && rows == o.rows && out == o.out &&
             optimizer == o.optimizer;
    }
  };

  // A key for the noise of every step. Steele, Lea & Flood (2014): the mixing of SplitMix64.
  static uint64_t seed_of_step(uint64_t seed, int64_t step) {
    uint64_t z = seed + 0x9e3779b97f4a7c15u * (static_cast<uint64_t>(step) + 1);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

  void set_numbers(double rate, double beta, double temperature, double place) {
    Device::map(1, SetVaeNumbers{numbers_.reserve(kVaeNumbers), rate, beta, temperature, place});
  }

  const double* bound(const T* theta, const T* fixed, const T* x, int64_t n, const T* eps, int64_t samples, T* gradient) {
    forward(theta, fixed, x, n, eps, samples, gradient != nullptr);
    if (gradient) backward(theta, n, eps, samples, gradient);
    return terms_.data();
  }

  void forward(const T* theta, const T* fixed, const T* x, int64_t n, const T* eps, int64_t samples, bool cotangents,
               bool ratios = false) {
    const int64_t size = shape_.components, rows = n * samples, d = features();
    const double *numbers = numbers_.data(), low = shape_.low, high = shape_.high, code_high = shape_.code_high;
    encoder_.forward(theta, x, n);
    const T *mean = encoder_.output(0), *log_var = shape_.categories ? nullptr : encoder_.output(1);
    double *kl = kl_.reserve(n), *values = values_.reserve(rows);
    T* z = z_.reserve(rows * size);
    if (shape_.categories) {
      Device::map(rows * (size / shape_.categories), RelaxedCode<T>{numbers, mean, eps, z, samples, size, shape_.categories}, kFew);
      Device::map(n, RelaxedDivergence<T>{mean, kl, size, shape_.categories}, kFew);
    } else {
      T* sigma = sigma_.reserve(n * size);
      Device::map(n * size, CodeDeviation<T>{log_var, sigma, low, code_high});
      Device::map(rows * size, DrawCode<T>{mean, sigma, eps, z, samples, size});
      Device::map(n, CodeDivergence<T>{mean, log_var, kl, size, low, code_high}, kFew);
    }
    const T* theta_decoder = theta + encoder_size_;
    decoder_.forward(theta_decoder, z, rows);

    weighted_ = (shape_.weighted || ratios) && !shape_.categories;
    decoder_terms_ = DecoderTerms<T>{shape_.likelihood, shape_.variance, samples, d, shape_.classes, x, decoder_.output(0),
                                     decoder_outputs() > 1 ? decoder_.output(1) : nullptr, nullptr, nullptr, nullptr,
                                     nullptr, values, weighted_ ? 1.0 : 1.0 / static_cast<double>(rows), low, high};
    DecoderTerms<T>& t = decoder_terms_;
    from_batch_ = shape_.variance == RowVariance::batch && !fixed;
    if (by_feature()) {
      double* totals = nullptr;
      if (from_batch_) Rows::column_sums(rows, d, t.second, totals = totals_.reserve(d));
      const T* free = from_batch_ ? nullptr : this->free() ? theta_decoder + decoder_size_ : fixed;
      T *v = log_variances_.reserve(d), *precision = precisions_.reserve(d);
      Device::map(d, FeatureVariance<T>{free, totals, v, precision, shape_.variance == RowVariance::shared,
                                        static_cast<double>(rows), low, high});
      t.v = v;
      t.precision = precision;
    }
    if (cotangents) {
      t.d_first = d_first_.reserve(rows * d);
      if (t.second) t.d_second = d_second_.reserve(rows * d);
    }
    Rows::terms(t, rows);
    double *ratio = nullptr, *weight = nullptr;
    if (weighted_) {
      ratio = ratio_.reserve(rows);
      weight = weights_.reserve(rows);
      Device::map(rows, CodeRatio<T>{z, eps, log_var, ratio, samples, size, low, code_high}, kFew);
    }
    Device::map(n, RowObjective{numbers, values, ratio, kl, terms_.reserve(3 * n), weight, samples, n}, kFew);
  }

  // Whether log variances are those of features.
  bool by_feature() const { return shape_.likelihood == RowLikelihood::gaussian && shape_.variance <= RowVariance::batch; }

  void backward(const T* theta, int64_t n, const T* eps, int64_t samples, T* gradient) {
    const int64_t size = shape_.components, rows = n * samples, d = features();
    const double low = shape_.low, high = shape_.high;
    const DecoderTerms<T>& t = decoder_terms_;
    const double* weight = weighted_ ? weights_.data() : nullptr;
    T *d_theta = gradient + encoder_size_, *d_free = d_theta + decoder_size_;
    if (weight) {
      Rows::scale_rows(rows, d, weight, t.d_first);
      if (t.d_second && !by_feature()) Rows::scale_rows(rows, d, weight, t.d_second);
    }
    if (by_feature() && t.d_second && !from_batch_) Device::zero(t.d_second, rows * d);
    if (free() || (by_feature() && from_batch_)) {
      double* slopes = slopes_.reserve(d);
      Rows::variance_slopes(t, rows, weight, slopes);
      if (free()) {
        Device::map(free(), FreeVarianceSlope<T>{theta + encoder_size_ + decoder_size_, slopes, d_free, d,
                                                 shape_.variance == RowVariance::shared, low, high});
      } else {
        Device::map(rows * d, BatchVarianceSlope<T>{totals_.data(), slopes, t.d_second, d, static_cast<double>(rows), low,
                                                    high});
      }
    }
    T* d_z = d_z_.reserve(rows * size);
    const T* d_outputs[2] = {t.d_first, t.d_second};
    decoder_.backward(theta + encoder_size_, d_outputs, d_theta, d_z);

    const double* numbers = numbers_.data();
    T* d_mean = d_mean_.reserve(n * size);
    const T* d_codes[2] = {d_mean, nullptr};
    if (shape_.categories) {
      const PullRelaxed<T> pull{numbers, encoder_.output(0), z_.data(), d_z, d_mean, samples, size, shape_.categories, n};
      Device::map(n * (size / shape_.categories), pull, kFew);
    } else {
      T* d_log_var = d_log_var_.reserve(n * size);
      d_codes[1] = d_log_var;
      Device::map(n * size, PullCodes<T>{numbers, weight, encoder_.output(0), encoder_.output(1), sigma_.data(), z_.data(),
                                         eps, d_z, d_mean, d_log_var, samples, size, n, shape_.twice, low,
                                         shape_.code_high});
    }
    encoder_.backward(theta, d_codes, gradient, nullptr);
  }

  void update(T* theta, T* m, T* v, const T* gradient, const VaeOptimizer& o) {
    const double *scale = scale_.data(), *rate = numbers_.data() + kRate;
    const int64_t p = parameters();
    if (o.kind == VaeOptimizer::adam) {
      NetworkSteps<Device, T>::run(
          p, AdamStep<T>{theta, m, v, gradient, scale, 0, 1 - o.numbers[0], 1 - o.numbers[1], o.numbers[2], rate});
    } else if (o.kind == VaeOptimizer::rmsprop) {
      NetworkSteps<Device, T>::run(
          p, RmspropStep<T>{theta, m, v, gradient, scale, 0, 1 - o.numbers[0], o.numbers[1], o.numbers[2], rate});
    } else {
      NetworkSteps<Device, T>::run(p, SgdStep<T>{theta, m, gradient, scale, 0, o.numbers[0], rate});
    }
  }

  static constexpr double kLongest = sizeof(T) == 4 ? 1e18 : 1e150;  // of a gradient, whose squares optimizers keep
  static constexpr int64_t kFew = 64;  // rows that are worked on together

  Network<Device, T> encoder_, decoder_;
  int64_t encoder_size_, decoder_size_;
  VaeShape shape_;
  DecoderTerms<T> decoder_terms_{};
  bool weighted_ = false, from_batch_ = false;
  Scratch<T> z_, sigma_, eps_, batch_, log_variances_, precisions_, d_first_, d_second_, d_z_, d_mean_, d_log_var_, gradient_;
  Scratch<double> numbers_, kl_, values_, ratio_, weights_, terms_, totals_, slopes_, sums_, scale_;
  typename Device::template Shared<double> out_;
  typename Device::template Shared<int64_t> rows_;
  typename Device::Recorder recorder_;
  Recorded recorded_;
};

}  // namespace lvm

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
// Parameters are one vector: the encoder's, the decoder's, free log variances, those of the posterior's own networks. Codes
// without a density (algo/vae_implicit.hpp) have a loss of their own for these; the gradient has both losses' side by side.
// Codes of a flow (Rezende & Mohamed, 2015, eq. 13 to 15) are z = f(mean + sigma eps) with the log q of the normal one less
// log |det df|; their divergence is the mean of log q - log p over the codes drawn.
// A step costs the passes of the two networks (see algo/network.hpp; the encoder's input has no cotangent) and one pass over
// the decoder's output, which gives terms and cotangents together (importance weighted: another one, that weights the
// cotangents). Memory beyond the networks': their outputs once more, three times the codes, and once the parameters for the
// gradient.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

#include "algo/flow.hpp"
#include "algo/training.hpp"
#include "algo/vae_implicit.hpp"
#include "core/vae_codes.hpp"
#include "device/vae_rows.hpp"

namespace lvm {

// What q(z | x) is, where codes are not of categories.
enum class VaePosterior : int64_t { gaussian, implicit, flow };

struct VaeShape {
  int64_t components, categories;  // numbers of a code; of a group of it, 0 for Gaussian codes
  RowLikelihood likelihood;
  RowVariance variance;
  int64_t classes, samples;
  bool weighted, twice;  // importance weighted, doubly reparameterised
  double low, high;      // limits of log variances
  double code_high;      // of codes, instead of high
  VaePosterior posterior = VaePosterior::gaussian;
  int64_t noise = 0;        // numbers that the encoder of an implicit posterior takes besides a row
  int64_t ratio_steps = 1;  // updates of its ratio network in a step
};

template <class Device, class T>
class Vae {
 public:
  Vae(const std::vector<LayerShape>& encoder, int64_t encoder_size, const std::vector<LayerShape>& decoder,
      int64_t decoder_size, const VaeShape& shape, const std::vector<LayerShape>& posterior = {}, int64_t posterior_size = 0)
      : encoder_(encoder), decoder_(decoder), encoder_size_(encoder_size), decoder_size_(decoder_size), shape_(shape),
        posterior_size_(posterior_size) {
    if (!is_implicit()) return;
    implicit_ = std::make_unique<ImplicitPosterior<Device, T>>(posterior, inputs(), shape.noise, shape.components);
  }
  // With VaePosterior::flow, ahead of all else: see Flow.
  void set_flow(int64_t parameters, const std::vector<FlowStep>& steps, const std::vector<uint8_t>& mask) {
    posterior_size_ = parameters;
    flow_ = std::make_unique<Flow<Device, T>>(shape_.components, parameters, steps, mask);
  }

  const VaeShape& shape() const { return shape_; }
  bool is_implicit() const { return shape_.posterior == VaePosterior::implicit; }
  int64_t inputs() const { return encoder_.inputs() - shape_.noise; }
  int64_t features() const { return decoder_.output_size(0); }
  int64_t free() const {
    return shape_.variance == RowVariance::shared ? 1 : shape_.variance == RowVariance::feature ? features() : 0;
  }
  int64_t free_at() const { return encoder_size_ + decoder_size_; }
  int64_t posterior_at() const { return free_at() + free(); }
  int64_t parameters() const { return posterior_at() + posterior_size_; }
  // Terms of a row: objective, log p(x | z), divergence, and the loss of an implicit posterior's ratio network.
  int64_t width() const { return is_implicit() ? 4 : 3; }
  int64_t noise_size() const { return implicit_ ? implicit_->noise_size() : shape_.components; }
  // Outputs that the networks must have.
  int64_t encoder_outputs() const { return shape_.categories || is_implicit() ? 1 : 2; }
  int64_t decoder_outputs() const { return shape_.variance >= RowVariance::batch ? 2 : 1; }
  const Network<Device, T>& encoder() const { return encoder_; }
  const Network<Device, T>& decoder() const { return decoder_; }
  const ImplicitPosterior<Device, T>* implicit() const { return implicit_.get(); }
  const Flow<Device, T>* flow() const { return flow_.get(); }

  // Noise of step `step`: eps (n, samples, noise_size), standard normal or Gumbel.
  void noise(uint64_t seed, int64_t step, int64_t n, T* eps) const {
    const int64_t size = n * shape_.samples * noise_size();
    if (!shape_.categories) return Device::fill_normal(eps, size, 0, seed_of_step(seed, step));
    Device::fill_exponential(eps, size, 0, seed_of_step(seed, step));
    Device::map(size, GumbelDraw<T>{eps});
  }

  void set(double beta, double temperature) { set_numbers(0, beta, temperature, 0); }

  // Terms (n, width) of rows x, with `samples` codes for each, and unless gradient is null that of the loss. fixed: null or the log
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

  // log p(x_i | z_il), (n, samples), for codes z.
  void log_likelihoods(const T* theta, const T* fixed, const T* x, int64_t n, const T* z, int64_t samples, double* out) {
    recorded_ = {};
    weighted_ = false;
    decode(theta, fixed, x, n, z, samples, false);
    Device::copy(values_.data(), out, n * samples);
  }

  // k steps from step `first`, of rows rows[j batch, (j + 1) batch) of x (or, if rows is null, one with all n rows of x):
  // out (k, width + 1) receives the means of terms before a step, the norm of the gradient in the fourth place, NaN where nothing
  // was done. Of the first `done` steps numbers were finite; later ones did nothing. ratio_rates (k, ratio_steps): of the ratio
  // network's updates, of which the last is one with all others, those before it are on noise of their own; or null, the same
  // as rates. rows, rates and out: on the host.
  int64_t train(T* theta, T* m, T* v, const T* fixed, const T* x, int64_t n, const int64_t* rows, int64_t batch, uint64_t seed,
                int64_t first, int64_t steps, const double* rates, const double* betas, const double* temperatures,
                const double* ratio_rates, const StepOptimizer& optimizer, double* out) {
    const int64_t count = n, d = inputs(), p = parameters(), width = this->width(), more = shape_.ratio_steps - 1;
    T* gradient = gradient_.reserve(p);
    out_.reserve((width + 1) * steps);
    double* scale = scale_.reserve(1);
    Device::zero(scale, 1);
    if (rows) {
      std::copy_n(rows, count, rows_.reserve(count));
      rows_.push(count);
    }
    for (int64_t j = 0; j < steps; ++j) {
      const int64_t begin = rows ? j * batch : 0, b = rows ? std::min(batch, count - begin) : count;
      const int64_t draws = b * shape_.samples * noise_size();
      T* eps = eps_.reserve((1 + more) * draws);
      noise(seed, first + j, b, eps);
      for (int64_t s = 0; s < more; ++s) noise(seed_of_step(seed, first + j), s, b, eps + (1 + s) * draws);
      const T* taken = x;
      if (rows) {
        VaeRows<Device, T>::gather(x, rows_.device() + begin, b, d, batch_.reserve(b * d));
        taken = batch_.data();
      }
      set_numbers(rates[j], betas[j], temperatures[j], static_cast<double>(j));
      for (int64_t s = 0; s <= more; ++s) {
        Device::map(1, SetNumber{numbers_.data() + kVaeNumbers + s, ratio_rates ? ratio_rates[j * (more + 1) + s] : rates[j]});
      }
      const Recorded now{theta, m, v, taken, fixed, b, out_.device(), optimizer};
      recorder_.run(now == recorded_, [&] {
        const double most = longest_gradient<T>(optimizer);
        T* const arrays[3] = {theta, m, v};
        if (more) kept_.keep(arrays, posterior_at(), posterior_size_);
        for (int64_t s = 0; s < more; ++s) {
          update_ratio(theta, m, v, taken, b, eps + (1 + s) * draws, s, gradient, most, optimizer);
        }
        bound(theta, fixed, taken, b, eps, shape_.samples, gradient);
        double* sums = sums_.reserve(width + 1);
        Device::sums(width, b, TermOfRow{terms_.data(), width}, sums);
        NetworkSteps<Device, T>::square_sum(p, gradient, sums + width);
        Device::map(1, FinishVaeStep{numbers_.data(), sums, sums + width, out_.device(), scale, static_cast<double>(b), most,
                                     width});
        if (more) kept_.restore(arrays, posterior_at(), posterior_size_, scale);
        if (Device::kImmediate && *scale < 0) return;
        const int64_t end = posterior_at();
        update(theta, m, v, gradient, optimizer, 0, implicit_ ? end : p, kRate);
        if (implicit_) update(theta, m, v, gradient, optimizer, end, p, kVaeNumbers + more);
      });
      recorded_ = now;
      if (Device::kImmediate && *scale < 0) break;
    }
    out_.pull((width + 1) * steps);
    Device::wait();
    int64_t done = 0;
    for (const double* terms = out_.host(); done < steps; ++done, terms += width + 1, out += width + 1) {
      if (!std::isfinite(terms[0]) || !std::isfinite(terms[3]) || !std::isfinite(terms[width])) break;
      std::copy_n(terms, width + 1, out);
    }
    std::fill_n(out, (width + 1) * (steps - done), std::nan(""));
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
    StepOptimizer optimizer{};
    bool operator==(const Recorded& o) const {
      return theta == o.theta && m == o.m && v == o.v && x == o.x && fixed == o.fixed && rows == o.rows && out == o.out &&
             optimizer == o.optimizer;
    }
  };

  void set_numbers(double rate, double beta, double temperature, double place) {
    Device::map(1, SetVaeNumbers{numbers_.reserve(kVaeNumbers + shape_.ratio_steps), rate, beta, temperature, place});
  }

  const double* bound(const T* theta, const T* fixed, const T* x, int64_t n, const T* eps, int64_t samples, T* gradient) {
    forward(theta, fixed, x, n, eps, samples, gradient != nullptr);
    if (gradient) backward(theta, n, eps, samples, gradient);
    return terms_.data();
  }

  void forward(const T* theta, const T* fixed, const T* x, int64_t n, const T* eps, int64_t samples, bool cotangents,
               bool ratios = false) {
    const int64_t size = shape_.components, rows = n * samples, width = this->width();
    weighted_ = (shape_.weighted || ratios) && !shape_.categories;
    codes_ = draw(theta, x, n, eps, samples);
    decode(theta, fixed, x, n, codes_, samples, cotangents);
    double *ratio = nullptr, *weight = nullptr, *terms = terms_.reserve(width * n);
    if (weighted_ || flow_) {
      ratio = ratio_.reserve(rows);
      Device::map(rows, CodeRatio<T>{codes_, eps, encoder_.output(1), ratio, samples, size, shape_.low, shape_.code_high}, kFew);
    }
    if (flow_) {
      Device::map(rows, SumOfTwo{ratio, flow_->log_det(), ratio});
      Device::map(n, SampledDivergence{ratio, kl_.data(), samples}, kFew);
    }
    if (weighted_) {
      weight = weights_.reserve(rows);
    } else {
      ratio = nullptr;
    }
    Device::map(n, RowObjective{numbers_.data(), values_.data(), ratio, kl_.data(), terms, weight, samples, n, width}, kFew);
    if (implicit_) implicit_->losses(terms);
  }

  // Codes (n samples, components), and the rows' divergences to kl_.
  const T* draw(const T* theta, const T* x, int64_t n, const T* eps, int64_t samples) {
    const int64_t size = shape_.components, rows = n * samples;
    const double *numbers = numbers_.data(), low = shape_.low, high = shape_.code_high;
    double* kl = kl_.reserve(n);
    if (implicit_) {
      encoder_.forward(theta, implicit_->encoder_rows(x, eps, n, samples), rows);
      implicit_->forward(theta + posterior_at(), x, encoder_.output(0), eps, n, samples, kl);
      return encoder_.output(0);
    }
    encoder_.forward(theta, x, n);
    const T *mean = encoder_.output(0), *log_var = shape_.categories ? nullptr : encoder_.output(1);
    T* z = z_.reserve(rows * size);
    if (shape_.categories) {
      const RelaxedCode<T> relaxed{numbers, mean, eps, z, samples, size, shape_.categories};
      Device::map(rows * (size / shape_.categories), relaxed, kFew);
      Device::map(n, RelaxedDivergence<T>{mean, kl, size, shape_.categories}, kFew);
    } else {
      T* sigma = sigma_.reserve(n * size);
      Device::map(n * size, CodeDeviation<T>{log_var, sigma, low, high});
      Device::map(rows * size, DrawCode<T>{mean, sigma, eps, z, samples, size});
      if (flow_) return flow_->forward(theta + posterior_at(), z, rows);
      Device::map(n, CodeDivergence<T>{mean, log_var, kl, size, low, high}, kFew);
    }
    return z;
  }

  // log p(x_i | z_il) to values_, and what their cotangents need.
  void decode(const T* theta, const T* fixed, const T* x, int64_t n, const T* z, int64_t samples, bool cotangents) {
    const int64_t rows = n * samples, d = features();
    const double low = shape_.low, high = shape_.high;
    double* values = values_.reserve(rows);
    const T* theta_decoder = theta + encoder_size_;
    decoder_.forward(theta_decoder, z, rows);

    decoder_terms_ = DecoderTerms<T>{shape_.likelihood, shape_.variance, samples, d, shape_.classes, x, decoder_.output(0),
                                     decoder_outputs() > 1 ? decoder_.output(1) : nullptr, nullptr, nullptr, nullptr,
                                     nullptr, values, weighted_ ? 1.0 : 1.0 / static_cast<double>(rows), low, high};
    DecoderTerms<T>& t = decoder_terms_;
    from_batch_ = shape_.variance == RowVariance::batch && !fixed;
    if (by_feature()) {
      double* totals = nullptr;
      if (from_batch_) Rows::column_sums(rows, d, t.second, totals = totals_.reserve(d));
      const T* free = from_batch_ ? nullptr : this->free() ? theta + free_at() : fixed;
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
  }

  // Whether log variances are those of features.
  bool by_feature() const { return shape_.likelihood == RowLikelihood::gaussian && shape_.variance <= RowVariance::batch; }

  void backward(const T* theta, int64_t n, const T* eps, int64_t samples, T* gradient) {
    const int64_t size = shape_.components, rows = n * samples, d = features();
    const double low = shape_.low, high = shape_.high;
    const DecoderTerms<T>& t = decoder_terms_;
    const double* weight = weighted_ ? weights_.data() : nullptr;
    T *d_theta = gradient + encoder_size_, *d_free = gradient + free_at();
    if (weight) {
      Rows::scale_rows(rows, d, weight, t.d_first);
      if (t.d_second && !by_feature()) Rows::scale_rows(rows, d, weight, t.d_second);
    }
    if (by_feature() && t.d_second && !from_batch_) Device::zero(t.d_second, rows * d);
    if (free() || (by_feature() && from_batch_)) {
      double* slopes = slopes_.reserve(d);
      Rows::variance_slopes(t, rows, weight, slopes);
      if (free()) {
        Device::map(free(), FreeVarianceSlope<T>{theta + free_at(), slopes, d_free, d,
                                                 shape_.variance == RowVariance::shared, low, high});
      } else {
        Device::map(rows * d, BatchVarianceSlope<T>{totals_.data(), slopes, t.d_second, d, static_cast<double>(rows), low,
                                                    high});
      }
    }
    T* d_z = d_z_.reserve(rows * size);
    const T* d_outputs[2] = {t.d_first, t.d_second};
    decoder_.backward(theta + encoder_size_, d_outputs, d_theta, d_z);

    pull_codes(theta, n, eps, samples, d_z, gradient);
  }

  // From d_z, which is overwritten, to the gradient of the encoder and of the posterior's networks.
  void pull_codes(const T* theta, int64_t n, const T* eps, int64_t samples, T* d_z, T* gradient) {
    const int64_t size = shape_.components;
    const double *numbers = numbers_.data(), *weight = weighted_ ? weights_.data() : nullptr;
    if (implicit_) {
      implicit_->pull(theta + posterior_at(), numbers, d_z);
      implicit_->gradient(theta + posterior_at(), gradient + posterior_at());
      return encoder_.backward(theta, &d_z, gradient, nullptr);
    }
    T* d_mean = d_mean_.reserve(n * size);
    const T* d_codes[2] = {d_mean, nullptr};
    if (flow_) {
      const int64_t rows = n * samples;
      double* d_log_det = d_log_det_.reserve(rows);
      T* d_log_var = d_log_var_.reserve(n * size);
      d_codes[1] = d_log_var;
      Device::map(rows * size, PullFlowRatio<T>{numbers, weight, codes_, d_z, d_log_det, size, rows});
      flow_->backward(d_z, d_log_det, gradient + posterior_at(), true);
      Device::map(n * size, PullFlowCodes<T>{d_log_det, encoder_.output(1), sigma_.data(), eps, d_z, d_mean, d_log_var, samples,
                                             size, shape_.low, shape_.code_high});
    } else if (shape_.categories) {
      const PullRelaxed<T> pull{numbers, encoder_.output(0), codes_, d_z, d_mean, samples, size, shape_.categories, n};
      Device::map(n * (size / shape_.categories), pull, kFew);
    } else {
      T* d_log_var = d_log_var_.reserve(n * size);
      d_codes[1] = d_log_var;
      Device::map(n * size, PullCodes<T>{numbers, weight, encoder_.output(0), encoder_.output(1), sigma_.data(), codes_,
                                         eps, d_z, d_mean, d_log_var, samples, size, n, shape_.twice, shape_.low,
                                         shape_.code_high});
    }
    encoder_.backward(theta, d_codes, gradient, nullptr);
  }

  // One update of the ratio network alone.
  void update_ratio(T* theta, T* m, T* v, const T* x, int64_t n, const T* eps, int64_t s, T* gradient, double most,
                    const StepOptimizer& optimizer) {
    double *sums = sums_.reserve(width() + 1), *scale = scale_.data(), *terms = terms_.reserve(width() * n);
    if (Device::kImmediate && *scale < 0) return;
    draw(theta, x, n, eps, shape_.samples);
    implicit_->losses(terms);
    implicit_->gradient(theta + posterior_at(), gradient + posterior_at());
    Device::sums(1, n, RatioLossTerm{terms}, sums);
    NetworkSteps<Device, T>::square_sum(posterior_size_, gradient + posterior_at(), sums + 1);
    Device::map(1, FinishGradient{sums, sums + 1, scale, most});
    if (Device::kImmediate && *scale < 0) return;
    update(theta, m, v, gradient, optimizer, posterior_at(), parameters(), kVaeNumbers + s);
  }

  void update(T* theta, T* m, T* v, const T* gradient, const StepOptimizer& o, int64_t begin, int64_t end, int64_t rate_place) {
    update_entries<Device>(theta, m, v, gradient, o, begin, end, scale_.data(), numbers_.data() + rate_place);
  }

  static constexpr int64_t kFew = 64;  // rows that are worked on together

  Network<Device, T> encoder_, decoder_;
  int64_t encoder_size_, decoder_size_;
  VaeShape shape_;
  int64_t posterior_size_;
  std::unique_ptr<ImplicitPosterior<Device, T>> implicit_;
  std::unique_ptr<Flow<Device, T>> flow_;
  const T* codes_ = nullptr;
  DecoderTerms<T> decoder_terms_{};
  bool weighted_ = false, from_batch_ = false;
  Scratch<T> z_, sigma_, eps_, batch_, log_variances_, precisions_, d_first_, d_second_, d_z_, d_mean_, d_log_var_;
  Scratch<T> gradient_;
  KeptPart<Device, T> kept_;
  Scratch<double> numbers_, kl_, values_, ratio_, weights_, terms_, totals_, slopes_, sums_, scale_, d_log_det_;
  typename Device::template Shared<double> out_;
  typename Device::template Shared<int64_t> rows_;
  typename Device::Recorder recorder_;
  Recorded recorded_;
};

}  // namespace lvm

// Normalizing flows: z = f(x) of rows with log |det dz/dx|, the exact pull-back, the inverse, and fits by maximum likelihood.
//
//   f = f_K o ... o f_1,   log |det dz/dx| = sum_k log |det df_k|,   log p(x) = log N(f(x); 0, 1) + log |det dz/dx|,
//   loss = -(1/n) sum_i log p(x_i).
//
// The layers are those of core/flow.hpp. f is the way in which every layer takes one pass; back again a coupling takes one
// pass, an autoregressive layer one for each column, a planar one the root of a scalar function. Masked weights of an
// autoregressive network count as 0 whatever they are, and their gradients are 0 (Germain, Gregor, Murray & Larochelle, 2015,
// eq. 8 and 9). Work: the networks' passes (algo/network.hpp) and a few passes over rows. Kept from forward to backward: the
// rows after each layer and, of scaled columns, log scales and factors. Whole calls are worked on in tiles of rows, for which
// all of that stays in the cache; `forward` and `backward` are not. Nothing is allocated once such a batch has passed.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

#include "algo/training.hpp"
#include "core/flow.hpp"
#include "core/vae_codes.hpp"
#include "device/vae_rows.hpp"

namespace lvm {

struct FlowStep {
  enum Kind : int64_t { coupling, autoregressive, planar, affine, permutation } kind;
  bool divide;        // (x - t) exp(-s), not x exp(s) + t
  int64_t offset, size;  // of its parameters
  double bound;       // of log scales
  std::vector<int64_t> columns;  // coupling: the first `split` go into the network; autoregressive: the order of the way back
  int64_t split;
  std::vector<LayerShape> layers;
};

template <class Device, class T>
class Flow {
 public:
  // mask: empty, or 0 for parameters that are held at 0, (parameters,).
  Flow(int64_t width, int64_t parameters, const std::vector<FlowStep>& steps, const std::vector<uint8_t>& mask)
      : width_(width), parameters_(parameters), mask_host_(mask) {
    for (const FlowStep& step : steps) layers_.push_back(std::make_unique<Layer>(step));
  }

  int64_t width() const { return width_; }
  int64_t parameters() const { return parameters_; }
  // What of the steps does not fit: null where all is well.
  const char* complaint() const {
    for (const auto& layer : layers_) {
      const FlowStep& s = layer->step;
      const bool scaled = s.kind <= FlowStep::autoregressive;
      const int64_t split = s.kind == FlowStep::coupling ? s.split : 0, inputs = split ? split : width_;
      if (s.offset < 0 || s.size < 0 || s.offset + s.size > parameters_) return "parameters must hold those of every step";
      if (s.kind == FlowStep::planar && s.size != 2 * width_ + 1) return "a planar step must have 2 d + 1 parameters";
      if (s.kind == FlowStep::affine && s.size != 2 * width_) return "an affine step must have 2 d parameters";
      if (scaled && (!layer->network || layer->network->inputs() != inputs || layer->network->outputs() != 2)) {
        return "a network must take its columns and have two heads";
      }
      for (int i = 0; scaled && i < 2; ++i) {
        if (layer->network->output_size(i) != width_ - split) return "heads must have a number for every scaled column";
      }
      if (scaled && !(s.bound > 0)) return "bound must be > 0";
      if (s.kind == FlowStep::coupling && (s.split < 1 || s.split >= width_)) return "split must lie between 1 and d - 1";
      if (s.kind == FlowStep::planar || s.kind == FlowStep::affine) continue;
      std::vector<bool> seen(width_);
      for (int64_t c : s.columns) {
        if (c < 0 || c >= width_ || seen[c]) return "columns must be a permutation";
        seen[c] = true;
      }
      if (static_cast<int64_t>(s.columns.size()) != width_) return "columns must be a permutation";
    }
    return nullptr;
  }

  // z (n, d), which stays until the next call, with log_det(); x and theta must stay until `backward`.
  const T* forward(const T* theta, const T* x, int64_t n) { return pass(prepare(theta), x, n); }
  const double* log_det() const { return log_det_.data(); }

  // d (n, d), cotangents of z, becomes those of x if `through` (else its numbers are of no use); gradient (parameters,) is
  // overwritten.
  void backward(T* d, const double* d_log_det, T* gradient, bool through) {
    for (size_t k = layers_.size(); k-- > 0;) {
      Layer& layer = *layers_[k];
      const T* x = k ? layers_[k - 1]->rows.data() : x_;
      pull(layer, theta_ + layer.step.offset, x, d, d_log_det, gradient + layer.step.offset, through || k > 0);
    }
    if (mask_) Device::map(parameters_, Masked<T>{gradient, mask_, gradient});
  }

  // z = f(x) (n, d) and log |det dz/dx| (n,).
  void run(const T* theta, const T* x, int64_t n, T* z, double* log_det) {
    recorded_ = {};  // scratch memory may move: steps are recorded anew
    const T* own = prepare(theta);
    in_tiles(n, [&](int64_t first, int64_t rows) {
      Device::copy(pass(own, x + first * width_, rows), z + first * width_, rows * width_);
      Device::copy(log_det_.data(), log_det + first, rows);
    });
  }
  // The pull-back of `run`: d (n, d) as in `backward`.
  void pull(const T* theta, const T* x, int64_t n, T* d, const double* d_log_det, T* gradient) {
    recorded_ = {};
    const T* own = prepare(theta);
    Device::zero(gradient, parameters_);
    in_tiles(n, [&](int64_t first, int64_t rows) {
      pass(own, x + first * width_, rows);
      T* to = part_of(first, gradient);
      backward(d + first * width_, d_log_det + first, to, true);
      if (first) Device::map(parameters_, AddTile<T>{to, gradient});
    });
  }
  // x (n, d) with f(x) = z, and log |det dx/dz| (n,).
  void invert(const T* theta, const T* z, int64_t n, T* x, double* log_det) {
    recorded_ = {};
    const T* own = prepare(theta);
    Device::zero(log_det, n);
    if (layers_.empty()) return Device::copy(z, x, n * width_);
    in_tiles(n, [&](int64_t first, int64_t rows) {
      const T* from = z + first * width_;
      for (size_t k = layers_.size(); k-- > 0;) {
        T* out = k ? ways_[k % 2].reserve(rows * width_) : x + first * width_;
        undo(*layers_[k], own + layers_[k]->step.offset, from, rows, out, log_det + first);
        from = out;
      }
    });
  }

  // Terms (n, 3) of rows x and unless it is null the gradient of the loss.
  const double* evaluate(const T* theta, const T* x, int64_t n, T* gradient) {
    recorded_ = {};
    return likelihood(theta, x, n, gradient);
  }

  // k steps with rows rows[j batch, (j + 1) batch) of x (or, if rows is null, one with all n rows): out (k, 4) receives the
  // means of terms before a step and the norm of the gradient, NaN where nothing was done. Of the first `done` steps numbers
  // were finite; later ones did nothing. rows and out: on the host.
  int64_t train(T* theta, T* m, T* v, const T* x, int64_t n, const int64_t* rows, int64_t batch, int64_t steps,
                const double* rates, const StepOptimizer& optimizer, double* out) {
    T* gradient = gradient_.reserve(parameters_);
    out_.reserve(4 * steps);
    double *scale = scale_.reserve(1), *numbers = numbers_.reserve(kVaeNumbers);
    Device::zero(scale, 1);
    if (rows) {
      std::copy_n(rows, n, index_.reserve(n));
      index_.push(n);
    }
    for (int64_t j = 0; j < steps; ++j) {
      const int64_t begin = rows ? j * batch : 0, b = rows ? std::min(batch, n - begin) : n;
      const T* taken = x;
      if (rows) {
        VaeRows<Device, T>::gather(x, index_.device() + begin, b, width_, batch_.reserve(b * width_));
        taken = batch_.data();
      }
      Device::map(1, SetVaeNumbers{numbers, rates[j], 1, 1, static_cast<double>(j)});
      const Recorded now{theta, m, v, taken, b, out_.device(), optimizer};
      recorder_.run(now == recorded_, [&] {
        likelihood(theta, taken, b, gradient);
        double* sums = sums_.reserve(4);
        Device::sums(3, b, TermOfRow{terms_.data(), 3}, sums);
        NetworkSteps<Device, T>::square_sum(parameters_, gradient, sums + 3);
        Device::map(1, FinishVaeStep{numbers, sums, sums + 3, out_.device(), scale, static_cast<double>(b),
                                     longest_gradient<T>(optimizer), 3});
        if (Device::kImmediate && *scale < 0) return;
        update_entries<Device, T>(theta, m, v, gradient, optimizer, 0, parameters_, scale, numbers + kRate);
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

  struct Layer {
    explicit Layer(const FlowStep& s) : step(s) {
      if (!s.layers.empty()) network = std::make_unique<Network<Device, T>>(s.layers);
    }
    FlowStep step;
    std::unique_ptr<Network<Device, T>> network;
    typename Device::template Shared<int64_t> columns;
    Scratch<T> rows, input, log_scale, factor;  // rows: after the layer
    Scratch<double> numbers, hidden;
  };

  struct Recorded {  // what a recorded step holds by value
    const T *theta = nullptr, *m = nullptr, *v = nullptr, *x = nullptr;
    int64_t rows = 0;
    const double* out = nullptr;
    StepOptimizer optimizer{};
    bool operator==(const Recorded& o) const {
      return theta == o.theta && m == o.m && v == o.v && x == o.x && rows == o.rows && out == o.out && optimizer == o.optimizer;
    }
  };

  // Moves to the device what never changes; theta with its mask.
  const T* prepare(const T* theta) {
    if (!placed_) {
      for (const auto& layer : layers_) {
        const std::vector<int64_t>& columns = layer->step.columns;
        std::copy(columns.begin(), columns.end(), layer->columns.reserve(columns.size()));
        layer->columns.push(columns.size());
      }
      if (!mask_host_.empty()) {
        std::copy(mask_host_.begin(), mask_host_.end(), mask_both_.reserve(parameters_));
        mask_both_.push(parameters_);
        mask_ = mask_both_.device();
      }
      placed_ = true;
    }
    theta_ = theta;
    if (mask_) {
      Device::map(parameters_, Masked<T>{theta, mask_, masked_.reserve(parameters_)});
      theta_ = masked_.data();
    }
    return theta_;
  }

  const T* pass(const T* theta, const T* x, int64_t n) {
    rows_ = n;
    double* log_det = log_det_.reserve(n);
    Device::zero(log_det, n);
    x_ = x;
    for (const auto& layer : layers_) x = step(*layer, theta + layer->step.offset, x, n, log_det);
    return x;
  }

  ScaledShape<T> shape_of(Layer& layer, bool ordered = false) const {
    const FlowStep& s = layer.step;
    const bool coupling = s.kind == FlowStep::coupling;
    return {coupling || ordered ? layer.columns.device() : nullptr, width_, coupling ? s.split : 0, s.divide, s.bound};
  }

  const T* step(Layer& layer, const T* theta, const T* x, int64_t n, double* log_det) {
    const FlowStep& s = layer.step;
    T* z = layer.rows.reserve(n * width_);
    if (s.kind <= FlowStep::autoregressive) {
      const ScaledShape<T> shape = shape_of(layer);
      heads(layer, shape, theta, x, n);
      const int64_t size = n * shape.count();
      T *log_scale = layer.log_scale.reserve(size), *factor = layer.factor.reserve(size);
      const Network<Device, T>& network = *layer.network;
      Device::map(n, ScaledRow<T>{shape, x, network.output(0), network.output(1), z, log_scale, factor, log_det}, kFew);
    } else if (s.kind == FlowStep::planar) {
      double *numbers = layer.numbers.reserve(kPlanarVector + width_), *hidden = layer.hidden.reserve(n);
      Device::map(1, PreparePlanar<T>{theta, numbers, width_});
      Device::map(n, PlanarRow<T>{theta, x, numbers, z, hidden, log_det, width_}, kFew);
    } else if (s.kind == FlowStep::affine) {
      double* numbers = layer.numbers.reserve(1 + width_);
      Device::map(1, PrepareAffine<T>{theta, numbers, width_, s.divide});
      Device::map(n, AffineRow<T>{theta, x, numbers, z, log_det, width_, s.divide, false}, kFew);
    } else {
      Device::map(n * width_, TakeColumns<T>{x, layer.columns.device(), z, width_, width_});
    }
    return z;
  }

  // The network's pass, of the columns that it takes.
  void heads(Layer& layer, const ScaledShape<T>& shape, const T* theta, const T* x, int64_t n) {
    const T* input = x;
    if (shape.split) {
      T* taken = layer.input.reserve(n * shape.split);
      Device::map(n * shape.split, TakeColumns<T>{x, shape.columns, taken, width_, shape.split});
      input = taken;
    }
    layer.network->forward(theta, input, n);
  }

  void pull(Layer& layer, const T* theta, const T* x, T* d, const double* d_log_det, T* gradient, bool through) {
    const FlowStep& s = layer.step;
    const int64_t n = rows_;
    const T* z = layer.rows.data();
    if (s.kind <= FlowStep::autoregressive) {
      const ScaledShape<T> shape = shape_of(layer);
      const int64_t size = n * shape.count(), taken = shape.split ? shape.split : width_;
      T *d_shift = d_shift_.reserve(size), *d_raw = d_raw_.reserve(size), *d_in = d_in_.reserve(n * taken);
      Device::map(size, PullScaled<T>{shape, x, z, layer.log_scale.data(), layer.factor.data(), d_log_det, d, d_shift, d_raw});
      const T* d_heads[2] = {d_shift, d_raw};
      layer.network->backward(theta, d_heads, gradient, through ? d_in : nullptr);
      if (through) Device::map(n * taken, ScatterColumns<T>{d_in, shape.columns, d, width_, taken});
    } else if (s.kind == FlowStep::planar) {
      const double *numbers = layer.numbers.data(), *hidden = layer.hidden.data();
      double *by_inner = by_inner_.reserve(n), *by_over = by_over_.reserve(n), *sums = column_sums_.reserve(2 * width_ + 2);
      Device::map(n, PullPlanar<T>{d, numbers, hidden, d_log_det, by_inner, by_over, width_}, kFew);
      Device::sums(2 * width_ + 2, n, PlanarTerm<T>{d, x, hidden, by_inner, by_over, width_}, sums);
      Device::map(1, FinishPlanar<T>{theta, numbers, sums, gradient, width_});
      if (through) Device::map(n * width_, AddPlanar<T>{theta, by_inner, d, width_});
    } else if (s.kind == FlowStep::affine) {
      double* sums = column_sums_.reserve(2 * width_ + 1);
      Device::sums(2 * width_ + 1, n, AffineTerm<T>{d, s.divide ? z : x, d_log_det, width_}, sums);
      Device::map(width_, FinishAffine<T>{layer.numbers.data(), sums, gradient, width_, s.divide});
      if (through) Device::map(n * width_, ScaleColumns<T>{layer.numbers.data(), d, width_});
    } else if (through) {
      T* copy = d_in_.reserve(n * width_);
      Device::copy(d, copy, n * width_);
      Device::map(n * width_, PullPermuted<T>{copy, layer.columns.device(), d, width_});
    }
  }

  void undo(Layer& layer, const T* theta, const T* z, int64_t n, T* x, double* log_det) {
    const FlowStep& s = layer.step;
    if (s.kind <= FlowStep::autoregressive) {
      const bool coupling = s.kind == FlowStep::coupling;
      const ScaledShape<T> shape = shape_of(layer, true);
      const Network<Device, T>& network = *layer.network;
      if (!coupling) Device::zero(x, n * width_);
      for (int64_t first = shape.split; first < width_;) {
        const int64_t last = coupling ? width_ : first + 1;
        heads(layer, shape, theta, coupling ? z : x, n);
        Device::map(n, InvertScaled<T>{shape, z, network.output(0), network.output(1), x, log_det, first, last, !coupling}, kFew);
        first = last;
      }
    } else if (s.kind == FlowStep::planar) {
      double* numbers = layer.numbers.reserve(kPlanarVector + width_);
      Device::map(1, PreparePlanar<T>{theta, numbers, width_});
      Device::map(n, InvertPlanar<T>{theta, z, numbers, x, log_det, width_}, kFew);
    } else if (s.kind == FlowStep::affine) {
      double* numbers = layer.numbers.reserve(1 + width_);
      Device::map(1, PrepareAffine<T>{theta, numbers, width_, s.divide});
      Device::map(n, AffineRow<T>{theta, z, numbers, x, log_det, width_, s.divide, true}, kFew);
    } else {
      Device::map(n * width_, PullPermuted<T>{z, layer.columns.device(), x, width_});
    }
  }

  // f(first, rows) for tiles of rows whose values stay in the cache from forward to backward.
  template <class F>
  void in_tiles(int64_t n, const F& f) {
    const int64_t tile = Device::tile_rows(4 * kept() * static_cast<int64_t>(sizeof(T)));
    for (int64_t first = 0; first < n; first += tile) f(first, std::min(tile, n - first));
  }
  // Where a tile's gradient goes: the first one's straight to its place.
  T* part_of(int64_t first, T* gradient) { return first ? part_.reserve(parameters_) : gradient; }

  const double* likelihood(const T* theta, const T* x, int64_t n, T* gradient) {
    double* terms = terms_.reserve(3 * n);
    const T* own = prepare(theta);
    if (gradient && !n) Device::zero(gradient, parameters_);
    in_tiles(n, [&](int64_t first, int64_t rows) {
      const T* z = pass(own, x + first * width_, rows);
      Device::map(rows, FlowTerms<T>{z, log_det_.data(), terms + 3 * first, width_}, kFew);
      if (!gradient) return;
      T *d = d_.reserve(rows * width_), *to = part_of(first, gradient);
      double* d_log_det = d_log_det_.reserve(rows);
      Device::map(rows * width_, FlowSlope<T>{z, d, d_log_det, width_, static_cast<double>(n)});
      backward(d, d_log_det, to, false);
      if (first) Device::map(parameters_, AddTile<T>{to, gradient});
    });
    return terms;
  }

  // Numbers of a row that a pass keeps.
  int64_t kept() const {
    int64_t numbers = width_;
    for (const auto& layer : layers_) {
      numbers += 3 * width_;
      for (const LayerShape& shape : layer->step.layers) numbers += shape.outputs();
    }
    return numbers;
  }

  static constexpr int64_t kFew = 64;  // rows that are worked on together

  int64_t width_, parameters_, rows_ = 0;
  std::vector<std::unique_ptr<Layer>> layers_;
  std::vector<uint8_t> mask_host_;
  bool placed_ = false;
  const T *x_ = nullptr, *theta_ = nullptr, *mask_ = nullptr;
  typename Device::template Shared<T> mask_both_;
  Scratch<T> masked_, ways_[2], d_, d_shift_, d_raw_, d_in_, gradient_, part_, batch_;
  Scratch<double> log_det_, d_log_det_, by_inner_, by_over_, column_sums_, terms_, sums_, scale_, numbers_;
  typename Device::template Shared<int64_t> index_;
  typename Device::template Shared<double> out_;
  typename Device::Recorder recorder_;
  Recorded recorded_;
};

}  // namespace lvm

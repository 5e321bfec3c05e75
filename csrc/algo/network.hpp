// Networks of dense and convolutional layers, a trunk with heads: values, and the exact pull-back of cotangents.
//
//   y_l = sigma_l(W_l * y_in(l) + b_l);   g_l = d_l sigma_l',   dW_l = sum_n y_in(l) (x) g_l,   db_l = sum_n g_l,
//   d_in(l) += W_l^T * g_l,   d_l the cotangent of y_l.
//
// Work for n inputs, a layer with P pixels of its small image, K taps, C channels in and F out: 2 n P K C F flops forward, as
// many for the weights' gradient, as many for the input's (not done for the first layer unless it is asked for); on the CPU
// 1/2.25 of the multiplications for 3 x 3 taps and stride 1 (cpu/winograd.cpp). Numbers moved: forward n (inputs + outputs) and
// the weights twice (packed); backward the outputs once, their cotangents up to four times (read, written where there is an
// activation, read for the weights and for the input), the inputs once. All parameters are one vector, gradients too; the values
// of every layer are kept from forward to backward. On the CPU nothing is allocated once such a batch has passed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/optimizer.hpp"
#include "device/layer_shape.hpp"

namespace lvm {

template <class Device, class T>
class Network {
 public:
  // Each layer after the one whose output it takes.
  explicit Network(const std::vector<LayerShape>& shapes) : shapes_(shapes), used_(shapes.size()), slots_(shapes.size(), -1) {
    for (const LayerShape& shape : shapes_) {
      layers_.push_back(std::make_unique<NetworkLayer<Device, T>>(shape));
      if (shape.input >= 0) used_[shape.input] = true;
    }
    values_.resize(shapes_.size());
    before_.resize(shapes_.size());
    for (int64_t l = 0; l < layers(); ++l) {
      if (!used_[l]) ends_.push_back(l);
    }
    assign_slots();
  }

  int64_t layers() const { return static_cast<int64_t>(shapes_.size()); }
  const LayerShape& shape(int64_t l) const { return shapes_[l]; }
  int64_t inputs() const { return shapes_[0].inputs(); }
  int64_t outputs() const { return static_cast<int64_t>(ends_.size()); }
  int64_t output_size(int64_t i) const { return shapes_[ends_[i]].outputs(); }
  const T* output(int64_t i) const { return values_[ends_[i]].data(); }
  int64_t rows() const { return rows_; }

  // x (n, inputs) must stay until `backward`. The outputs stay until the next `forward`.
  void forward(const T* theta, const T* x, int64_t n) {
    x_ = x;
    rows_ = n;
    for (int64_t l = 0; l < layers(); ++l) {
      const LayerShape& s = shapes_[l];
      T* y = values_[l].reserve(n * s.outputs());
      T* pre = s.activation == Activation::gelu ? before_[l].reserve(n * s.outputs()) : nullptr;
      layers_[l]->forward(n, theta + s.kernel, theta + s.bias, input(l), y, pre);
    }
  }

  // At theta and x of `forward`, or its first n rows: d_outputs[i] (n, output_size(i)) to gradient, of theta's size, and d_x
  // (n, inputs); both are overwritten, unless they are null.
  void backward(const T* theta, const T* const* d_outputs, T* gradient, T* d_x) {
    backward(theta, d_outputs, gradient, d_x, rows_);
  }
  void backward(const T* theta, const T* const* d_outputs, T* gradient, T* d_x, int64_t n) {
    for (size_t k = 0; k < slot_sizes_.size(); ++k) slot_data_[k].reserve(n * slot_sizes_[k]);
    std::fill(written_.begin(), written_.end(), false);
    bool x_written = false;
    for (int64_t l = layers() - 1, end = outputs() - 1; l >= 0; --l) {
      const LayerShape& s = shapes_[l];
      T* own = slots_[l] >= 0 ? slot_data_[slots_[l]].data() : nullptr;
      const T* d = used_[l] ? own : d_outputs[end--];
      const T* y = s.activation == Activation::gelu ? before_[l].data() : values_[l].data();
      const T* g = layers_[l]->pull_activation(n, d, y, own, gradient ? gradient + s.bias : unused_.reserve(s.channels()));
      if (gradient) layers_[l]->pull_weights(n, input(l), g, gradient + s.kernel);
      if (s.input >= 0) {
        layers_[l]->pull_input(n, theta + s.kernel, g, slot_data_[slots_[s.input]].data(), written_[s.input]);
        written_[s.input] = true;
      } else if (d_x) {
        layers_[l]->pull_input(n, theta + s.kernel, g, d_x, x_written);
        x_written = true;
      }
    }
  }

 private:
  template <class U>
  using Scratch = typename Device::template Scratch<U>;

  const T* input(int64_t l) const { return shapes_[l].input < 0 ? x_ : values_[shapes_[l].input].data(); }

  // Cotangents share memory: a layer's is free again when it has been pulled back.
  void assign_slots() {
    std::vector<int64_t> free;
    const auto take = [&](int64_t l) {
      if (slots_[l] >= 0) return;
      if (free.empty()) {
        free.push_back(static_cast<int64_t>(slot_sizes_.size()));
        slot_sizes_.push_back(0);
      }
      slots_[l] = free.back();
      free.pop_back();
      slot_sizes_[slots_[l]] = std::max(slot_sizes_[slots_[l]], shapes_[l].outputs());
    };
    for (int64_t l = layers() - 1; l >= 0; --l) {
      if (shapes_[l].activation != Activation::linear) take(l);
      if (shapes_[l].input >= 0) take(shapes_[l].input);
      if (slots_[l] >= 0) free.push_back(slots_[l]);
    }
    slot_data_.resize(slot_sizes_.size());
    written_.resize(shapes_.size());
  }

  std::vector<LayerShape> shapes_;
  std::vector<std::unique_ptr<NetworkLayer<Device, T>>> layers_;
  std::vector<bool> used_, written_;
  std::vector<int64_t> ends_, slots_, slot_sizes_;
  std::vector<Scratch<T>> values_, before_, slot_data_;
  Scratch<T> unused_;
  const T* x_ = nullptr;
  int64_t rows_ = 0;
};

// Steps of optimizers over n parameters, the gradient clipped to a norm of at most `clip` if that is positive.
template <class Device, class T>
class NetworkOptimizer {
 public:
  template <class Step>
  void run(int64_t n, Step step, double clip) {
    if (clip > 0) {
      double* numbers = numbers_.reserve(2);
      NetworkSteps<Device, T>::square_sum(n, step.gradient, numbers);
      Device::map(1, ClipScale{numbers, numbers + 1, clip});
      step.scale = numbers + 1;
    }
    NetworkSteps<Device, T>::run(n, step);
  }

 private:
  typename Device::template Scratch<double> numbers_;
};

}  // namespace lvm

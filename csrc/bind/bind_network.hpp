// nn: networks and the steps of their optimizers.
#pragma once

#include <memory>
#include <vector>

#include "algo/network.hpp"
#include "bind/guarded.hpp"
#include "bind/views.hpp"

namespace lvm::bind {

// The network, and the input of its last forward pass, whose memory backward reads.
template <class Device, class T>
struct NetworkOwner {
  explicit NetworkOwner(const std::vector<LayerShape>& shapes, int64_t n_parameters) : parameters(n_parameters), guarded(shapes) {}
  int64_t parameters, passes = 0;
  py::object x;
  Guarded<Network<Device, T>> guarded;
};

constexpr int64_t kLayerNumbers = 17;

// Rows of numbers in the order of LayerShape's members.
inline std::vector<LayerShape> layer_shapes(const Array<int64_t>& numbers, int64_t parameters) {
  check_shape(numbers, {-1, kLayerNumbers}, "layers");
  std::vector<LayerShape> shapes;
  for (py::ssize_t l = 0; l < numbers.shape(0); ++l) {
    const int64_t* v = numbers.data(l, 0);
    const LayerShape s{v[0], v[1] != 0, static_cast<Activation>(v[2]), v[3], v[4], v[5], v[6], v[7], v[8],
                       v[9], v[10], v[11], v[12], v[13], v[14], v[15], v[16]};
    bool good = s.input >= -1 && s.input < l && v[2] >= 0 && v[2] <= static_cast<int64_t>(Activation::gelu);
    for (int k = 5; k < 15; ++k) good = good && v[k] > 0;
    good = good && s.top >= 0 && s.left >= 0 && s.kernel >= 0 && s.bias >= 0 && s.kernel + s.weights() <= parameters;
    good = good && s.bias + s.channels() <= parameters;
    const int64_t given = good && s.input >= 0 ? shapes[s.input].outputs() : l > 0 ? shapes[0].inputs() : s.inputs();
    if (!good || given != s.inputs()) throw py::value_error("layer " + std::to_string(l) + " does not fit");
    shapes.push_back(s);
  }
  if (shapes.empty()) throw py::value_error("a network must have a layer");
  return shapes;
}

template <class Device, class T>
void bind_network_class(py::module_& m, const char* name) {
  using Object = NetworkOwner<Device, T>;
  using Rows = DeviceArray<Device, T>;
  py::class_<Object>(m, name, py::module_local(), "A network of dense and convolutional layers.")
      .def(py::init([](const Array<int64_t>& layers, int64_t parameters) {
             return std::make_unique<Object>(layer_shapes(layers, parameters), parameters);
           }),
           py::arg("layers"), py::arg("parameters"), "layers (l, 17): LayerShape, as many rows.")
      .def(
          "forward",
          [](Object& self, const Rows& theta, const Rows& x) {
            auto& network = self.guarded.object;
            check_shape(theta, {self.parameters}, "theta");
            check_shape(x, {-1, network.inputs()}, "x");
            const int64_t n = x.shape(0);
            std::vector<Rows> results;
            std::vector<T*> to;
            for (int64_t i = 0; i < network.outputs(); ++i) {
              results.push_back(Views<Device>::template result<T>({n, network.output_size(i)}));
              to.push_back(results.back().mutable_data());
            }
            const T *parameters = theta.data(), *input = x.data();
            py::object kept = object_of(x);
            int64_t pass;
            {
              py::gil_scoped_release release;
              std::lock_guard<std::mutex> lock(self.guarded.mutex);
              network.forward(parameters, input, n);
              for (int64_t i = 0; i < network.outputs(); ++i) Device::copy(network.output(i), to[i], n * network.output_size(i));
              pass = ++self.passes;
              py::gil_scoped_acquire acquire;
              std::swap(self.x, kept);
            }
            py::tuple outputs(results.size());
            for (size_t i = 0; i < results.size(); ++i) outputs[i] = object_of(results[i]);
            return py::make_tuple(outputs, pass);
          },
          py::arg("theta").noconvert(), py::arg("x").noconvert(),
          "(outputs, pass): one (n, size) for every end; the values are kept for `backward` of this pass.")
      .def(
          "backward",
          [](Object& self, const Rows& theta, const py::sequence& cotangents, int64_t pass, bool by_input) -> py::object {
            auto& network = self.guarded.object;
            check_shape(theta, {self.parameters}, "theta");
            if (static_cast<int64_t>(cotangents.size()) != network.outputs()) throw py::value_error("one cotangent for each output");
            std::vector<Rows> kept;
            std::vector<const T*> d;
            py::ssize_t n = -1;
            for (int64_t i = 0; i < network.outputs(); ++i) {
              kept.push_back(py::cast<Rows>(cotangents[i]));
              check_shape(kept.back(), {n, network.output_size(i)}, "cotangent");
              n = kept.back().shape(0);
              d.push_back(kept.back().data());
            }
            auto gradient = Views<Device>::template result<T>({self.parameters});
            auto d_x = Views<Device>::template result<T>({by_input ? n : 0, network.inputs()});
            const T* parameters = theta.data();
            T *to = gradient.mutable_data(), *to_x = by_input ? d_x.mutable_data() : nullptr;
            bool fresh;
            {
              py::gil_scoped_release release;
              std::lock_guard<std::mutex> lock(self.guarded.mutex);
              fresh = pass == self.passes && n == network.rows();
              if (fresh) network.backward(parameters, d.data(), to, to_x);
            }
            if (!fresh) return py::none();
            return py::make_tuple(gradient, by_input ? object_of(d_x) : py::object(py::none()));
          },
          py::arg("theta").noconvert(), py::arg("cotangents"), py::arg("pass"), py::arg("by_input"),
          "(gradient (p,), d_x (n, inputs) or None); None if that pass's values are gone.");
}

template <class Device, class T>
void bind_network_optimizer(py::module_& m, const char* name) {
  using Object = Guarded<NetworkOptimizer<Device, T>>;
  using Vector = DeviceArray<Device, T>;
  const auto data = [](Vector& v, int64_t n, const char* what) {
    check_shape(v, {n}, what);
    return v.mutable_data();
  };
  const auto optional = [](const py::object& v, int64_t n) -> T* {
    if (v.is_none()) return nullptr;
    auto array = py::cast<Vector>(v);
    check_shape(array, {n}, "momentum");
    return array.mutable_data();
  };
  const auto run = [](Object& self, int64_t n, const auto& step, double clip) {
    py::gil_scoped_release release;
    std::lock_guard<std::mutex> lock(self.mutex);
    self.object.run(n, step, clip);
  };
  py::class_<Object>(m, name, py::module_local(), "Steps in place; clip: the most that the gradient's norm may be, or 0.")
      .def(py::init<>())
      .def(
          "adam",
          [=](Object& self, Vector theta, const Vector& gradient, Vector mean, Vector square, double rate, double beta_1,
              double beta_2, double epsilon, double clip) {
            const int64_t n = theta.size();
            check_shape(gradient, {n}, "gradient");
            run(self, n,
                AdamStep<T>{data(theta, n, "theta"), data(mean, n, "m"), data(square, n, "v"), gradient.data(), nullptr, rate,
                            1 - beta_1, 1 - beta_2, epsilon},
                clip);
          },
          py::arg("theta").noconvert(), py::arg("gradient").noconvert(), py::arg("m").noconvert(), py::arg("v").noconvert(),
          py::arg("rate"), py::arg("beta_1"), py::arg("beta_2"), py::arg("epsilon"), py::arg("clip"))
      .def(
          "rmsprop",
          [=](Object& self, Vector theta, const Vector& gradient, const py::object& mean, Vector square, double rate, double rho,
              double momentum, double epsilon, double clip) {
            const int64_t n = theta.size();
            check_shape(gradient, {n}, "gradient");
            run(self, n,
                RmspropStep<T>{data(theta, n, "theta"), optional(mean, n), data(square, n, "v"), gradient.data(), nullptr, rate,
                               1 - rho, momentum, epsilon},
                clip);
          },
          py::arg("theta").noconvert(), py::arg("gradient").noconvert(), py::arg("m"), py::arg("v").noconvert(), py::arg("rate"),
          py::arg("rho"), py::arg("momentum"), py::arg("epsilon"), py::arg("clip"))
      .def(
          "sgd",
          [=](Object& self, Vector theta, const Vector& gradient, const py::object& mean, double rate, double momentum, double clip) {
            const int64_t n = theta.size();
            check_shape(gradient, {n}, "gradient");
            run(self, n, SgdStep<T>{data(theta, n, "theta"), optional(mean, n), gradient.data(), nullptr, rate, momentum}, clip);
          },
          py::arg("theta").noconvert(), py::arg("gradient").noconvert(), py::arg("m"), py::arg("rate"), py::arg("momentum"),
          py::arg("clip"));
}

template <class Device>
void bind_network(py::module_& m) {
  bind_network_class<Device, double>(m, "Network64");
  bind_network_class<Device, float>(m, "Network32");
  bind_network_optimizer<Device, double>(m, "NetworkOptimizer64");
  bind_network_optimizer<Device, float>(m, "NetworkOptimizer32");
}

}  // namespace lvm::bind

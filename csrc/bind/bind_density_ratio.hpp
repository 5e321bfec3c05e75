// models.density_ratio: networks of log ratios, and steps that improve them.
#pragma once

#include <memory>
#include <string>

#include "algo/density_ratio.hpp"
#include "bind/bind_network.hpp"
#include "bind/guarded.hpp"
#include "bind/step_arguments.hpp"

namespace lvm::bind {

template <class Device, class T>
void bind_ratio_network(py::module_& m, const char* name) {
  using Model = RatioNetwork<Device, T>;
  using Object = Guarded<Model>;
  using Rows = DeviceArray<Device, T>;
  const auto check = [](const Model& model, const Rows& theta, const Rows& x) {
    check_shape(theta, {model.parameters()}, "theta");
    check_shape(x, {-1, model.network().inputs()}, "x");
    if (x.shape(0) < 1) throw py::value_error("x must have a row");
  };
  py::class_<Object>(m, name, py::module_local(), "A network of log density ratios, and steps that improve it.")
      .def(py::init([](const Array<int64_t>& layers, int64_t parameters, int64_t kind, double alpha, double factor) {
             if (kind < 0 || kind > 1) throw py::value_error("kind must be 0 or 1");
             auto object = std::make_unique<Object>(layer_shapes(layers, parameters), parameters,
                                                    RatioLossShape{static_cast<RatioLoss>(kind), alpha, factor});
             const auto& network = object->object.network();
             if (network.outputs() != 1 || network.output_size(0) != 1) throw py::value_error("the network must have one output");
             return object;
           }),
           py::arg("layers"), py::arg("parameters"), py::kw_only(), py::arg("kind"), py::arg("alpha"), py::arg("factor"))
      .def(
          "log_ratio",
          [=](Object& self, const Rows& theta, const Rows& x) {
            check(self.object, theta, x);
            auto s = Views<Device>::template result<T>({x.shape(0)});
            const T *parameters = theta.data(), *rows = x.data();
            T* to = s.mutable_data();
            const int64_t n = x.shape(0);
            py::gil_scoped_release release;
            std::lock_guard<std::mutex> lock(self.mutex);
            self.object.log_ratio(parameters, rows, n, to);
            Device::wait();
            return s;
          },
          py::arg("theta").noconvert(), py::arg("x").noconvert(), "s (n,).")
      .def(
          "evaluate",
          [=](Object& self, const Rows& theta, const Rows& x, const Rows& weights, bool gradient) {
            check(self.object, theta, x);
            check_shape(weights, {x.shape(0)}, "weights");
            auto value = Views<Device>::template result<double>({1});
            auto slopes = Views<Device>::template result<T>({gradient ? self.object.parameters() : 0});
            const T *parameters = theta.data(), *rows = x.data(), *w = weights.data();
            double* to = value.mutable_data();
            T* to_slopes = gradient ? slopes.mutable_data() : nullptr;
            const int64_t n = x.shape(0);
            {
              py::gil_scoped_release release;
              std::lock_guard<std::mutex> lock(self.mutex);
              Device::copy(self.object.evaluate(parameters, rows, w, n, to_slopes), to, 1);
              Device::wait();
            }
            return py::make_tuple(value, gradient ? object_of(slopes) : py::object(py::none()));
          },
          py::arg("theta").noconvert(), py::arg("x").noconvert(), py::arg("weights").noconvert(), py::arg("gradient"),
          "(loss (1,), gradient (p,) or None) with weights > 0 for rows of p and < 0 for rows of q.")
      .def(
          "train",
          [=](Object& self, Rows theta, const py::object& first_moment, const py::object& second_moment, const Rows& x,
              const Rows& weights, const py::object& chosen, int64_t batch, const Array<double>& rates, int64_t kind,
              const Array<double>& numbers, double clip) {
            check(self.object, theta, x);
            check_shape(weights, {x.shape(0)}, "weights");
            check_shape(rates, {-1}, "rates");
            const int64_t steps = rates.size(), total = x.shape(0);
            const auto rows = rows_of_steps(chosen, total, batch, steps);
            const StepOptimizer optimizer = step_optimizer(kind, numbers, clip);
            T* m = moment_of<Device, T>(first_moment, optimizer.has_first(), self.object.parameters(), "m");
            T* v = moment_of<Device, T>(second_moment, optimizer.has_second(), self.object.parameters(), "v");
            T* parameters = theta.mutable_data();
            const T *data = x.data(), *w = weights.data();
            const int64_t* index = rows.size() ? rows.data() : nullptr;
            const int64_t n = index ? rows.size() : total;
            Array<double> terms({static_cast<py::ssize_t>(steps), py::ssize_t(2)});
            double* out = terms.mutable_data();
            int64_t done;
            {
              py::gil_scoped_release release;
              std::lock_guard<std::mutex> lock(self.mutex);
              done = self.object.train(parameters, m, v, data, w, n, total, index, batch, steps, rates.data(), optimizer, out);
            }
            return py::make_tuple(terms, done);
          },
          py::arg("theta").noconvert(), py::arg("m"), py::arg("v"), py::arg("x").noconvert(), py::arg("weights").noconvert(),
          py::arg("rows"), py::arg("batch"), py::arg("rates"), py::arg("kind"), py::arg("numbers"), py::arg("clip"),
          "(terms (k, 2), done): steps of an optimizer in place; the first `done` met finite numbers, the rest changed nothing.");
}

template <class Device>
void bind_density_ratio(py::module_& m) {
  bind_ratio_network<Device, double>(m, "RatioNetwork64");
  bind_ratio_network<Device, float>(m, "RatioNetwork32");
}

}  // namespace lvm::bind

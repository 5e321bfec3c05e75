// models.implicit: losses of a generator and a ratio network, and training steps of both.
#pragma once

#include <memory>
#include <string>

#include "algo/implicit.hpp"
#include "bind/bind_network.hpp"
#include "bind/guarded.hpp"
#include "bind/step_arguments.hpp"

namespace lvm::bind {

template <class Device, class T>
void bind_implicit_model(py::module_& m, const char* name) {
  using Model = Implicit<Device, T>;
  using Object = Guarded<Model>;
  using Rows = DeviceArray<Device, T>;
  py::class_<Object>(m, name, py::module_local(), "Losses of a generator and a ratio network, and steps of both.")
      .def(py::init([](const Array<int64_t>& generator, int64_t generator_size, const Array<int64_t>& ratio, int64_t ratio_size,
                       int64_t loss, double loss_alpha, int64_t objective, double alpha, double factor, int64_t ratio_steps) {
             const auto require = [](bool good, const char* rule) {
               if (!good) throw py::value_error(rule);
             };
             require(loss >= 0 && loss <= 1, "loss must be 0 or 1");
             require(objective >= 0 && objective <= 2, "objective must be 0, 1 or 2");
             require(ratio_steps >= 1, "ratio_steps must be >= 1");
             const ImplicitShape shape{{static_cast<RatioLoss>(loss), loss_alpha, 1},
                                       {static_cast<GeneratorLoss>(objective), alpha, factor}, ratio_steps};
             auto object = std::make_unique<Object>(layer_shapes(generator, generator_size), generator_size,
                                                    layer_shapes(ratio, ratio_size), ratio_size, shape);
             const Model& model = object->object;
             require(model.generator().outputs() == 1 && model.ratio().outputs() == 1, "networks must have one output");
             require(model.generator().output_size(0) == model.features(), "the generator must give what the ratio takes");
             require(model.ratio().output_size(0) == 1, "the ratio network must give one number");
             return object;
           }),
           py::arg("generator_layers"), py::arg("generator_parameters"), py::arg("ratio_layers"), py::arg("ratio_parameters"),
           py::kw_only(), py::arg("loss"), py::arg("loss_alpha"), py::arg("objective"), py::arg("alpha"), py::arg("factor"),
           py::arg("ratio_steps"))
      .def_property_readonly("parameters", [](const Object& self) { return self.object.parameters(); })
      .def(
          "noise",
          [](Object& self, uint64_t seed, int64_t step, int64_t update, int64_t n) {
            auto z = Views<Device>::template result<T>({n, self.object.noise_size()});
            T* to = z.mutable_data();
            py::gil_scoped_release release;
            self.object.noise(seed, step, update, n, to);
            Device::wait();
            return z;
          },
          py::arg("seed"), py::arg("step"), py::arg("update"), py::arg("n"),
          "z (n, noise) of update `update` of the ratio network in a step of `train`; the last one is the generator's.")
      .def(
          "instance_noise",
          [](Object& self, uint64_t seed, int64_t step, int64_t update, int64_t n) {
            auto eps = Views<Device>::template result<T>({2 * n, self.object.features()});
            T* to = eps.mutable_data();
            py::gil_scoped_release release;
            self.object.instance_noise(seed, step, update, n, to);
            Device::wait();
            return eps;
          },
          py::arg("seed"), py::arg("step"), py::arg("update"), py::arg("n"),
          "eps (2 n, features) of an update, on the generated rows and on the data's; before its factor.")
      .def(
          "evaluate",
          [](Object& self, const Rows& theta, const Rows& x, const Rows& z, bool gradient, const py::object& shift) {
            Model& model = self.object;
            const int64_t n = x.ndim() > 0 ? x.shape(0) : 0;
            check_shape(theta, {model.parameters()}, "theta");
            check_shape(x, {-1, model.features()}, "x");
            check_shape(z, {n, model.noise_size()}, "z");
            if (n < 1) throw py::value_error("x must have a row");
            const T *parameters = theta.data(), *rows = x.data(), *noise = z.data();
            const T* added = device_data_or_null<Device, T>(shift, {2 * n, model.features()}, "shift");
            auto terms = Views<Device>::template result<double>({n, 2});
            auto slopes = Views<Device>::template result<T>({gradient ? model.parameters() : 0});
            double* to = terms.mutable_data();
            T* to_slopes = gradient ? slopes.mutable_data() : nullptr;
            {
              py::gil_scoped_release release;
              std::lock_guard<std::mutex> lock(self.mutex);
              Device::copy(model.evaluate(parameters, rows, n, noise, to_slopes, added), to, 2 * n);
              Device::wait();
            }
            return py::make_tuple(terms, gradient ? object_of(slopes) : py::object(py::none()));
          },
          py::arg("theta").noconvert(), py::arg("x").noconvert(), py::arg("z").noconvert(), py::arg("gradient"),
          py::arg("shift") = py::none(),
          "(terms (n, 2): the ratio's loss and the generator's; gradient (p,) of either by its own parameters, or None).")
      .def(
          "train",
          [](Object& self, Rows theta, const py::object& first_moment, const py::object& second_moment, const Rows& x,
             const py::object& chosen, int64_t batch, uint64_t seed, int64_t first_step, const Array<double>& rates,
             const Array<double>& ratio_rates, int64_t kind, const Array<double>& numbers, double clip, int64_t ratio_kind,
             const Array<double>& ratio_numbers, double ratio_clip, const py::object& noises) {
            Model& model = self.object;
            check_shape(theta, {model.parameters()}, "theta");
            check_shape(x, {-1, model.features()}, "x");
            check_shape(rates, {-1}, "rates");
            const int64_t steps = rates.size();
            check_shape(ratio_rates, {steps, model.shape().ratio_steps}, "ratio_rates");
            const auto deviations = noises.is_none() ? Array<double>() : py::cast<Array<double>>(noises);
            if (!noises.is_none()) check_shape(deviations, {steps}, "noises");
            const auto rows = rows_of_steps(chosen, x.shape(0), batch, steps);
            const StepOptimizer own = step_optimizer(kind, numbers, clip);
            const StepOptimizer ratio = step_optimizer(ratio_kind, ratio_numbers, ratio_clip);
            const int64_t p = model.parameters();
            T* m = moment_of<Device, T>(first_moment, own.has_first() || ratio.has_first(), p, "m");
            T* v = moment_of<Device, T>(second_moment, own.has_second() || ratio.has_second(), p, "v");
            T* parameters = theta.mutable_data();
            const T* data = x.data();
            const int64_t* index = rows.size() ? rows.data() : nullptr;
            const int64_t n = index ? rows.size() : x.shape(0);
            Array<double> terms({static_cast<py::ssize_t>(steps), py::ssize_t(4)});
            double* out = terms.mutable_data();
            int64_t done;
            {
              py::gil_scoped_release release;
              std::lock_guard<std::mutex> lock(self.mutex);
              done = model.train(parameters, m, v, data, n, index, batch, seed, first_step, steps, rates.data(),
                                 ratio_rates.data(), noises.is_none() ? nullptr : deviations.data(), own, ratio, out);
            }
            return py::make_tuple(terms, done);
          },
          py::arg("theta").noconvert(), py::arg("m"), py::arg("v"), py::arg("x").noconvert(), py::arg("rows"), py::arg("batch"),
          py::arg("seed"), py::arg("first_step"), py::arg("rates"), py::arg("ratio_rates"), py::arg("kind"), py::arg("numbers"),
          py::arg("clip"), py::arg("ratio_kind"), py::arg("ratio_numbers"), py::arg("ratio_clip"), py::arg("noises") = py::none(),
          "(terms (k, 4): losses of the ratio and of the generator and their gradients' norms, done): steps in place; the first "
          "`done` met finite numbers, the rest changed nothing.");
}

template <class Device>
void bind_implicit(py::module_& m) {
  bind_implicit_model<Device, double>(m, "Implicit64");
  bind_implicit_model<Device, float>(m, "Implicit32");
}

}  // namespace lvm::bind

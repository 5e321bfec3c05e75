// Normalizing flows: layers in their one-pass direction, pull-backs, inverses and steps of maximum likelihood.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "algo/flow.hpp"
#include "bind/bind_network.hpp"
#include "bind/guarded.hpp"
#include "bind/step_arguments.hpp"

namespace lvm::bind {

// Steps as tuples (kind, divide, offset, size, bound, columns, split, layers or None): FlowStep.
inline std::vector<FlowStep> flow_steps(const py::sequence& given) {
  std::vector<FlowStep> steps;
  for (const py::handle& one : given) {
    const auto t = py::cast<py::tuple>(one);
    if (t.size() != 8) throw py::value_error("a step must have 8 entries");
    const auto kind = py::cast<int64_t>(t[0]);
    if (kind < FlowStep::coupling || kind > FlowStep::permutation) throw py::value_error("kind must be 0, ..., 4");
    FlowStep step{};
    step.kind = static_cast<FlowStep::Kind>(kind);
    step.divide = py::cast<bool>(t[1]);
    step.offset = py::cast<int64_t>(t[2]);
    step.size = py::cast<int64_t>(t[3]);
    step.bound = py::cast<double>(t[4]);
    const auto columns = py::cast<Array<int64_t>>(t[5]);
    check_shape(columns, {-1}, "columns");
    step.columns.assign(columns.data(), columns.data() + columns.size());
    step.split = py::cast<int64_t>(t[6]);
    if (!t[7].is_none()) step.layers = layer_shapes(py::cast<Array<int64_t>>(t[7]), step.size);
    steps.push_back(std::move(step));
  }
  return steps;
}

inline std::vector<uint8_t> flow_mask(const py::object& mask, int64_t parameters) {
  if (mask.is_none()) return {};
  const auto array = py::cast<Array<uint8_t>>(mask);
  check_shape(array, {parameters}, "mask");
  return std::vector<uint8_t>(array.data(), array.data() + parameters);
}

template <class Device, class T>
void bind_flow_class(py::module_& m, const char* name) {
  using Model = Flow<Device, T>;
  using Object = Guarded<Model>;
  using Rows = DeviceArray<Device, T>;
  const auto check_rows = [](const Model& flow, const Rows& theta, const Rows& x, const char* what) {
    check_shape(theta, {flow.parameters()}, "theta");
    check_shape(x, {-1, flow.width()}, what);
  };
  py::class_<Object>(m, name, py::module_local(), "A normalizing flow z = f(x), log |det dz/dx|.")
      .def(py::init([](int64_t width, int64_t parameters, const py::sequence& steps, const py::object& mask) {
             if (width < 1 || parameters < 0) throw py::value_error("width must be >= 1, parameters >= 0");
             auto object = std::make_unique<Object>(width, parameters, flow_steps(steps), flow_mask(mask, parameters));
             if (const char* complaint = object->object.complaint()) throw py::value_error(complaint);
             return object;
           }),
           py::arg("width"), py::arg("parameters"), py::arg("steps"), py::arg("mask") = py::none())
      .def(
          "run",
          [=](Object& self, const Rows& theta, const Rows& x) {
            Model& flow = self.object;
            check_rows(flow, theta, x, "x");
            const int64_t n = x.shape(0);
            auto z = Views<Device>::template result<T>({n, flow.width()});
            auto log_det = Views<Device>::template result<double>({n});
            const T *parameters = theta.data(), *rows = x.data();
            T* to = z.mutable_data();
            double* to_log_det = log_det.mutable_data();
            {
              py::gil_scoped_release release;
              std::lock_guard<std::mutex> lock(self.mutex);
              flow.run(parameters, rows, n, to, to_log_det);
              Device::wait();
            }
            return py::make_tuple(z, log_det);
          },
          py::arg("theta").noconvert(), py::arg("x").noconvert(), "(z (n, d), log |det dz/dx| (n,)).")
      .def(
          "pull",
          [=](Object& self, const Rows& theta, const Rows& x, const Rows& d_z, const DeviceArray<Device, double>& d_log_det) {
            Model& flow = self.object;
            check_rows(flow, theta, x, "x");
            const int64_t n = x.shape(0);
            check_shape(d_z, {n, flow.width()}, "d_z");
            check_shape(d_log_det, {n}, "d_log_det");
            auto d_x = Views<Device>::template result<T>({n, flow.width()});
            auto gradient = Views<Device>::template result<T>({flow.parameters()});
            const T *parameters = theta.data(), *rows = x.data(), *from = d_z.data();
            const double* by_log_det = d_log_det.data();
            T *to = d_x.mutable_data(), *slopes = gradient.mutable_data();
            {
              py::gil_scoped_release release;
              std::lock_guard<std::mutex> lock(self.mutex);
              Device::copy(from, to, n * flow.width());
              flow.pull(parameters, rows, n, to, by_log_det, slopes);
              Device::wait();
            }
            return py::make_tuple(d_x, gradient);
          },
          py::arg("theta").noconvert(), py::arg("x").noconvert(), py::arg("d_z").noconvert(), py::arg("d_log_det").noconvert(),
          "(d_x (n, d), gradient (p,)) of sum(d_z z) + sum(d_log_det log_det).")
      .def(
          "invert",
          [=](Object& self, const Rows& theta, const Rows& z) {
            Model& flow = self.object;
            check_rows(flow, theta, z, "z");
            const int64_t n = z.shape(0);
            auto x = Views<Device>::template result<T>({n, flow.width()});
            auto log_det = Views<Device>::template result<double>({n});
            const T *parameters = theta.data(), *rows = z.data();
            T* to = x.mutable_data();
            double* to_log_det = log_det.mutable_data();
            {
              py::gil_scoped_release release;
              std::lock_guard<std::mutex> lock(self.mutex);
              flow.invert(parameters, rows, n, to, to_log_det);
              Device::wait();
            }
            return py::make_tuple(x, log_det);
          },
          py::arg("theta").noconvert(), py::arg("z").noconvert(), "(x (n, d) with f(x) = z, log |det dx/dz| (n,)).")
      .def(
          "evaluate",
          [=](Object& self, const Rows& theta, const Rows& x, bool gradient) {
            Model& flow = self.object;
            check_rows(flow, theta, x, "x");
            const int64_t n = x.shape(0);
            auto terms = Views<Device>::template result<double>({n, 3});
            auto slopes = Views<Device>::template result<T>({gradient ? flow.parameters() : 0});
            const T *parameters = theta.data(), *rows = x.data();
            double* to = terms.mutable_data();
            T* to_slopes = gradient ? slopes.mutable_data() : nullptr;
            {
              py::gil_scoped_release release;
              std::lock_guard<std::mutex> lock(self.mutex);
              Device::copy(flow.evaluate(parameters, rows, n, to_slopes), to, 3 * n);
              Device::wait();
            }
            return py::make_tuple(terms, gradient ? object_of(slopes) : py::object(py::none()));
          },
          py::arg("theta").noconvert(), py::arg("x").noconvert(), py::arg("gradient"),
          "(terms (n, 3): log p(x), log N(z; 0, 1), log det; gradient (p,) of minus their first's mean, or None).")
      .def(
          "train",
          [=](Object& self, Rows theta, const py::object& first_moment, const py::object& second_moment, const Rows& x,
              const py::object& chosen, int64_t batch, const Array<double>& rates, int64_t kind, const Array<double>& numbers,
              double clip) {
            Model& flow = self.object;
            check_rows(flow, theta, x, "x");
            check_shape(rates, {-1}, "rates");
            const int64_t steps = rates.size();
            const auto rows = rows_of_steps(chosen, x.shape(0), batch, steps);
            const StepOptimizer optimizer = step_optimizer(kind, numbers, clip);
            T* m = moment_of<Device, T>(first_moment, optimizer.has_first(), flow.parameters(), "m");
            T* v = moment_of<Device, T>(second_moment, optimizer.has_second(), flow.parameters(), "v");
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
              done = flow.train(parameters, m, v, data, n, index, batch, steps, rates.data(), optimizer, out);
            }
            return py::make_tuple(terms, done);
          },
          py::arg("theta").noconvert(), py::arg("m"), py::arg("v"), py::arg("x").noconvert(), py::arg("rows"), py::arg("batch"),
          py::arg("rates"), py::arg("kind"), py::arg("numbers"), py::arg("clip"),
          "(terms (k, 4), done): steps of an optimizer in place; the first `done` met finite numbers, the rest changed nothing.");
}

template <class Device>
void bind_flow(py::module_& m) {
  bind_flow_class<Device, double>(m, "Flow64");
  bind_flow_class<Device, float>(m, "Flow32");
}

}  // namespace lvm::bind

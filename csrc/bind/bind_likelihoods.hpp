// likelihoods: expectations of log densities with their derivatives, predictive densities and moments.
#pragma once

#include <pybind11/stl.h>

#include <memory>
#include <string>

#include "algo/likelihood.hpp"
#include "bind/views.hpp"

namespace lvm::bind {

constexpr int64_t kLikelihoodGrain = 128;  // points for a thread: tens of microseconds

template <class Device, class T>
struct LikelihoodArguments {
  using Points = DeviceArray<Device, T>;
  LikelihoodPoints<T> points{};
  py::ssize_t n;
  LikelihoodArguments(const Points* y, const py::object& own, const Points& mean, const Points* variance) : n(mean.shape(0)) {
    check_shape(mean, {-1}, "mean");
    if (y) check_shape(*y, {n}, "y");
    if (variance) check_shape(*variance, {n}, "variance");
    points = {y ? y->data() : nullptr, device_data_or_null<Device, T>(own, {n}, "own"), mean.data(),
              variance ? variance->data() : nullptr};
  }
};

template <class Device>
DeviceArray<Device, double> new_result(const std::vector<py::ssize_t>& shape) {
  return Views<Device>::template result<double>(shape);
}

template <class Device, class T>
void bind_likelihood_points(py::class_<Likelihood<Device>>& c) {
  using Object = Likelihood<Device>;
  using Points = DeviceArray<Device, T>;
  using Arguments = LikelihoodArguments<Device, T>;
  c.def(
      "expectations",
      [](const Object& self, const Points& y, const py::object& own, const Points& mean, const Points& variance) {
        const Arguments a(&y, own, mean, &variance);
        const auto parameters = static_cast<py::ssize_t>(self.task().parameters);
        auto value = new_result<Device>({a.n}), by_mean = new_result<Device>({a.n}), by_variance = new_result<Device>({a.n});
        auto by_parameters = new_result<Device>({a.n, parameters});
        const ExpectationsOfPoints<T> f = {self.task(), a.points, value.mutable_data(), by_mean.mutable_data(),
                                           by_variance.mutable_data(), by_parameters.mutable_data()};
        {
          py::gil_scoped_release release;
          Device::map(a.n, f, kLikelihoodGrain);
        }
        return py::make_tuple(value, by_mean, by_variance, by_parameters);
      },
      py::arg("y").noconvert(), py::arg("own"), py::arg("mean").noconvert(), py::arg("variance").noconvert(),
      "E log p(y_i | f_i), f_i ~ N(mean_i, variance_i), and its derivatives by mean, variance and parameters (n, p).");
  c.def(
      "log_density",
      [](const Object& self, const Points& y, const py::object& own, const Points& f) {
        const Arguments a(&y, own, f, nullptr);
        auto value = new_result<Device>({a.n});
        const LogDensityOfPoints<T> function = {self.task(), a.points, value.mutable_data()};
        {
          py::gil_scoped_release release;
          Device::map(a.n, function, kLikelihoodGrain);
        }
        return value;
      },
      py::arg("y").noconvert(), py::arg("own"), py::arg("f").noconvert(), "log p(y_i | f_i).");
  c.def(
      "log_predictive",
      [](const Object& self, const Points& y, const py::object& own, const Points& mean, const Points& variance) {
        const Arguments a(&y, own, mean, &variance);
        auto value = new_result<Device>({a.n});
        const PredictiveOfPoints<T> f = {self.task(), a.points, value.mutable_data()};
        {
          py::gil_scoped_release release;
          Device::map(a.n, f, kLikelihoodGrain);
        }
        return value;
      },
      py::arg("y").noconvert(), py::arg("own"), py::arg("mean").noconvert(), py::arg("variance").noconvert(),
      "log E p(y_i | f_i), f_i ~ N(mean_i, variance_i).");
  c.def(
      "moments",
      [](const Object& self, const py::object& own, const Points& mean, const Points& variance) {
        const Arguments a(nullptr, own, mean, &variance);
        auto mu = new_result<Device>({a.n}), var = new_result<Device>({a.n});
        const MomentsOfPoints<T> f = {self.task(), a.points, mu.mutable_data(), var.mutable_data()};
        {
          py::gil_scoped_release release;
          Device::map(a.n, f, kLikelihoodGrain);
        }
        return py::make_tuple(mu, var);
      },
      py::arg("own"), py::arg("mean").noconvert(), py::arg("variance").noconvert(),
      "Mean and variance of y_i, f_i ~ N(mean_i, variance_i).");
}

// A class likelihood's nodes on the device; epsilon < 0: softmax.
template <class Device>
struct Multiclass {
  typename Device::template Scratch<double> memory;
  MulticlassTask<double> task{};
  bool softmax;
  Multiclass(int64_t classes, const Array<double>& nodes, double epsilon) : softmax(epsilon < 0) {
    check_shape(nodes, {softmax ? -1 : 2, softmax ? static_cast<py::ssize_t>(classes) : -1}, "nodes");
    double* data = memory.reserve(nodes.size());
    Device::upload(nodes.data(), data, nodes.size());
    Device::wait();  // before the host's copy goes
    task = {classes, nodes.shape(softmax ? 0 : 1), data, epsilon};
  }
};

template <class Device, class T>
void bind_class_points(py::class_<Multiclass<Device>>& c) {
  using Object = Multiclass<Device>;
  using Points = DeviceArray<Device, T>;
  const auto points_of = [](const Object& self, const T* y, const Points& mean, const Points& variance) {
    check_shape(mean, {-1, static_cast<py::ssize_t>(self.task.classes)}, "mean");
    check_shape(variance, {mean.shape(0), mean.shape(1)}, "variance");
    return LikelihoodPoints<T>{y, nullptr, mean.data(), variance.data()};
  };
  c.def(
      "expectations",
      [points_of](const Object& self, const Points& y, const Points& mean, const Points& variance) {
        const py::ssize_t n = mean.shape(0), classes = mean.shape(1);
        check_shape(y, {n}, "y");
        const LikelihoodPoints<T> points = points_of(self, y.data(), mean, variance);
        auto value = new_result<Device>({n}), by_mean = new_result<Device>({n, classes});
        auto by_variance = new_result<Device>({n, classes});
        double *v = value.mutable_data(), *d_m = by_mean.mutable_data(), *d_v = by_variance.mutable_data();
        {
          py::gil_scoped_release release;
          if (self.softmax) {
            Device::map(n, ExpectationsOfClasses<T, true>{self.task, points, v, d_m, d_v}, 4);
          } else {
            Device::map(n, ExpectationsOfClasses<T, false>{self.task, points, v, d_m, d_v}, 16);
          }
        }
        return py::make_tuple(value, by_mean, by_variance);
      },
      py::arg("y").noconvert(), py::arg("mean").noconvert(), py::arg("variance").noconvert(),
      "E log p(y_i | f_i), f_ic ~ N(mean_ic, variance_ic), and its derivatives by mean and variance (n, classes).");
  c.def(
      "probabilities",
      [points_of](const Object& self, const py::object& y, const Points& mean, const Points& variance) {
        const py::ssize_t n = mean.shape(0), classes = mean.shape(1);
        const LikelihoodPoints<T> points = points_of(self, device_data_or_null<Device, T>(y, {n}, "y"), mean, variance);
        auto out = points.y ? new_result<Device>({n}) : new_result<Device>({n, classes});
        double* data = out.mutable_data();
        {
          py::gil_scoped_release release;
          if (self.softmax) {
            Device::map(out.size(), ProbabilitiesOfClasses<T, true>{self.task, points, data}, 4);
          } else {
            Device::map(out.size(), ProbabilitiesOfClasses<T, false>{self.task, points, data}, 16);
          }
        }
        return out;
      },
      py::arg("y"), py::arg("mean").noconvert(), py::arg("variance").noconvert(),
      "log E p(y_i | f_i), or without y E p(c | f_i) of all classes c (n, classes).");
}

template <class Device>
void bind_likelihoods(py::module_& m) {
  py::class_<Likelihood<Device>> points(m, "Likelihood", py::module_local(),
                                        "p(y | f) of one latent number: nodes (3, count) are x, w and log w.");
  points.def(py::init([](const std::string& kind, const Array<double>& parameters, const Array<double>& nodes) {
               check_shape(nodes, {3, -1}, "nodes");
               check_shape(parameters, {-1}, "parameters");
               return std::make_unique<Likelihood<Device>>(likelihood_kind(kind), parameters.data(), parameters.size(),
                                                           nodes.data(), nodes.shape(1));
             }),
             py::arg("kind"), py::arg("parameters"), py::arg("nodes"));
  bind_likelihood_points<Device, double>(points);
  bind_likelihood_points<Device, float>(points);
  py::class_<Multiclass<Device>> classes(m, "MulticlassLikelihood", py::module_local(),
                                         "p(y | f) of one latent number per class: the softmax if epsilon < 0, with nodes\n"
                                         "(count, classes), else the robust max, with nodes (2, count), x and w.");
  classes.def(py::init([](int64_t n, const Array<double>& nodes, double epsilon) {
                return std::make_unique<Multiclass<Device>>(n, nodes, epsilon);
              }),
              py::arg("classes"), py::arg("nodes"), py::arg("epsilon"));
  bind_class_points<Device, double>(classes);
  bind_class_points<Device, float>(classes);
}

}  // namespace lvm::bind

// Mixtures of spherical normal distributions of width 1 with given centres: latent-variable models on a grid.
#pragma once

#include <utility>
#include <vector>

#include "algo/mixture_mesh.hpp"
#include "bind/views.hpp"

namespace lvm::bind {

template <class Device, class T>
void bind_mixture_of(py::module_& m) {
  using Numbers = DeviceArray<Device, T>;
  const auto check = [](const Numbers& x, const Numbers& centres, const Numbers& log_weights) {
    check_shape(x, {-1, -1}, "x");
    check_shape(centres, {-1, x.shape(1)}, "centres");
    check_shape(log_weights, {centres.shape(0)}, "log_weights");
    if (centres.size() == 0) throw py::value_error("centres must have a row and a column");
  };
  m.def(
      "mixture_log_density",
      [=](const Numbers& x, const Numbers& centres, const Numbers& log_weights) {
        check(x, centres, log_weights);
        const int64_t n = x.shape(0), k = centres.shape(0), d = centres.shape(1);
        auto log_p = Views<Device>::template result<T>({n});
        const T *points = x.data(), *f = centres.data(), *log_w = log_weights.data();
        T* to = log_p.mutable_data();
        {
          py::gil_scoped_release release;
          if (n) Mixture<Device, T>(k, d, f, log_w).log_density(n, points, to);
        }
        return log_p;
      },
      py::arg("x").noconvert(), py::arg("centres").noconvert(), py::arg("log_weights").noconvert(),
      "log sum_k exp(log_weights_k - |x_i - centres_k|^2 / 2), shape (n,), for points (n, d) and centres (m, d).");
  m.def(
      "mixture_shares",
      [=](const Numbers& x, const Numbers& centres, const Numbers& log_weights) {
        check(x, centres, log_weights);
        const int64_t n = x.shape(0), k = centres.shape(0), d = centres.shape(1);
        auto log_p = Views<Device>::template result<T>({n}), shares = Views<Device>::template result<T>({n, k});
        const T *points = x.data(), *f = centres.data(), *log_w = log_weights.data();
        T *to = log_p.mutable_data(), *to_shares = shares.mutable_data();
        {
          py::gil_scoped_release release;
          if (n) Mixture<Device, T>(k, d, f, log_w).shares(n, points, to, to_shares);
        }
        return py::make_tuple(object_of(log_p), object_of(shares));
      },
      py::arg("x").noconvert(), py::arg("centres").noconvert(), py::arg("log_weights").noconvert(),
      "(log_p, shares), shapes (n,) and (n, m): the log densities, and the terms of their sums divided by them.");
  m.def(
      "mixture_vjp",
      [=](const Numbers& x, const Numbers& centres, const Numbers& log_weights, const py::object& cotangent, bool by_x) {
        check(x, centres, log_weights);
        const int64_t n = x.shape(0), k = centres.shape(0), d = centres.shape(1);
        const T* g = device_data_or_null<Device, T>(cotangent, {n}, "cotangent");
        const auto make = [](const std::vector<py::ssize_t>& shape) { return Views<Device>::template result<T>(shape); };
        auto log_p = make({n}), d_centres = make({k, d}), d_log_weights = make({k});
        const T *points = x.data(), *f = centres.data(), *log_w = log_weights.data();
        T *to = log_p.mutable_data(), *to_centres = d_centres.mutable_data(), *to_weights = d_log_weights.mutable_data();
        py::object d_x = py::none();
        T* to_x = nullptr;
        if (by_x) {
          auto made = make({n, d});
          to_x = made.mutable_data();
          d_x = object_of(made);
        }
        {
          py::gil_scoped_release release;
          Mixture<Device, T>(k, d, f, log_w).pull(n, points, g, to, to_x, to_centres, to_weights);
        }
        return py::make_tuple(object_of(log_p), d_x, object_of(d_centres), object_of(d_log_weights));
      },
      py::arg("x").noconvert(), py::arg("centres").noconvert(), py::arg("log_weights").noconvert(), py::arg("cotangent"),
      py::arg("by_x"),
      "(log_p (n,), d_x (n, d) or None, d_centres (m, d), d_log_weights (m,)): the log densities, and the gradients of\n"
      "sum_i cotangent_i log_p_i; cotangent (n,), or None for ones.");
}

template <class Device>
void bind_mixture(py::module_& m) {
  bind_mixture_of<Device, double>(m);
  bind_mixture_of<Device, float>(m);
  using Doubles = DeviceArray<Device, double>;
  m.def(
      "mixture_mesh_log_density",
      [](const Doubles& axes, const Array<int64_t>& sizes, const Doubles& centres, const Doubles& log_weights) {
        check_shape(sizes, {-1}, "sizes");
        const int64_t d = sizes.size();
        check_shape(centres, {-1, d}, "centres");
        check_shape(log_weights, {centres.shape(0)}, "log_weights");
        if (d < 2 || d > kMeshAxes || centres.size() == 0) throw py::value_error("a mesh must have 2 to 8 axes, centres a row");
        MeshSizes mesh{};
        mesh.d = d;
        std::vector<py::ssize_t> shape;
        int64_t total = 0;
        for (int64_t j = 0; j < d; ++j) {
          if (sizes.at(j) < 1) throw py::value_error("every axis of a mesh must have a number");
          mesh.size[j] = sizes.at(j);
          mesh.start[j] = total;
          total += mesh.size[j];
          shape.push_back(mesh.size[j]);
        }
        check_shape(axes, {total}, "axes");
        auto log_p = Views<Device>::template result<double>(shape);
        const double *numbers = axes.data(), *f = centres.data(), *log_w = log_weights.data();
        double* to = log_p.mutable_data();
        const int64_t k = centres.shape(0);
        {
          py::gil_scoped_release release;
          MixtureMesh<Device>::log_density(mesh, numbers, k, f, log_w, to);
        }
        return log_p;
      },
      py::arg("axes").noconvert(), py::arg("sizes"), py::arg("centres").noconvert(), py::arg("log_weights").noconvert(),
      "mixture_log_density of the mesh of axes with `sizes` numbers, which stand one after the other; of the shape `sizes`.");
}

}  // namespace lvm::bind

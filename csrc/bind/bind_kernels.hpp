// kernels: stationary kernel matrices and their pull-backs; scalar bijectors.
#pragma once

#include "algo/gram.hpp"
#include "bind/view_numpy.hpp"
#include "core/bijector.hpp"

namespace lvm::bind {

template <class T>
KernelParameters<T> kernel_parameters(StationaryKind kind, double variance, const Array<T>& lengthscale,
                                      int64_t q) {
  check_shape(lengthscale, {q}, "lengthscale");
  return {kind, static_cast<T>(variance), lengthscale.data(), q};
}

template <class T, class F>
void bind_elementwise(py::module_& m, const char* name, const char* doc, F function) {
  m.def(
      name,
      [function](const Array<T>& x) {
        Array<T> y(std::vector<py::ssize_t>(x.shape(), x.shape() + x.ndim()));
        const T* in = x.data();
        T* out = y.mutable_data();
        const int64_t n = x.size();
        {
          py::gil_scoped_release release;
          function(in, out, n);
        }
        return y;
      },
      py::arg("x").noconvert(), doc);
}

template <class Device, class T>
void bind_kernels(py::module_& m) {
  m.def(
      "gram",
      [](StationaryKind kind, const Array<T>& x, const py::object& z, double variance, const Array<T>& lengthscale,
         Array<T> out) {
        check_shape(x, {-1, -1}, "x");
        const int64_t n = x.shape(0), q = x.shape(1);
        const T* other = data_or_null<T>(z, {-1, q}, "z");
        const int64_t columns = other ? py::cast<py::array>(z).shape(0) : n;
        check_shape(out, {n, columns}, "out");
        const auto kernel = kernel_parameters<T>(kind, variance, lengthscale, q);
        T* target = out.mutable_data();
        py::gil_scoped_release release;
        gram<Device>(kernel, x.data(), n, other, columns, target);
      },
      py::arg("kind"), py::arg("x").noconvert(), py::arg("z"), py::arg("variance"),
      py::arg("lengthscale").noconvert(), py::arg("out").noconvert(),
      "out[i, j] = k(x_i, z_j), or k(x_i, x_j) when z is None; x (n, q), z (m, q), lengthscale (q,).");
  m.def(
      "gram_vjp",
      [](StationaryKind kind, const Array<T>& x, const py::object& z, const Array<T>& cotangent, double variance,
         const Array<T>& lengthscale) {
        check_shape(x, {-1, -1}, "x");
        const int64_t n = x.shape(0), q = x.shape(1);
        const T* other = data_or_null<T>(z, {-1, q}, "z");
        const int64_t columns = other ? py::cast<py::array>(z).shape(0) : n;
        check_shape(cotangent, {n, columns}, "cotangent");
        const auto kernel = kernel_parameters<T>(kind, variance, lengthscale, q);
        Array<double> d_x({n, q}), d_lengthscale(q);
        py::object d_z = py::none();
        double* d_z_data = nullptr;
        if (other) {
          Array<double> array({columns, q});
          d_z_data = array.mutable_data();
          d_z = array;
        }
        double* d_x_data = d_x.mutable_data();
        double* d_lengthscale_data = d_lengthscale.mutable_data();
        double d_variance = 0;
        {
          py::gil_scoped_release release;
          gram_vjp<Device>(kernel, x.data(), n, other, columns, cotangent.data(), d_x_data, d_z_data,
                           d_lengthscale_data, &d_variance);
        }
        return py::make_tuple(d_x, d_z, d_variance, d_lengthscale);
      },
      py::arg("kind"), py::arg("x").noconvert(), py::arg("z"), py::arg("cotangent").noconvert(),
      py::arg("variance"), py::arg("lengthscale").noconvert(),
      "Gradients of sum(cotangent * gram(x, z)): (d_x, d_z or None, d_variance, d_lengthscale), all float64.");

  bind_elementwise<T>(m, "exp", "y = exp(x), the exponential inside the kernels.",
                      [](const T* x, T* y, int64_t n) { Device::exp(x, y, n); });
  bind_elementwise<T>(m, "softplus", "y = log(1 + exp(x)).", [](const T* x, T* y, int64_t n) {
    for (int64_t i = 0; i < n; ++i) y[i] = softplus(x[i]);
  });
  bind_elementwise<T>(m, "softplus_derivative", "y = 1 / (1 + exp(-x)).", [](const T* x, T* y, int64_t n) {
    for (int64_t i = 0; i < n; ++i) y[i] = softplus_derivative(x[i]);
  });
  bind_elementwise<T>(m, "softplus_inverse", "y = log(exp(x) - 1), x > 0.", [](const T* x, T* y, int64_t n) {
    for (int64_t i = 0; i < n; ++i) y[i] = softplus_inverse(x[i]);
  });
}

}  // namespace lvm::bind

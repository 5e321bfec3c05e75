// models.gplvm: the objective with its gradients, and the latents of new rows.
#pragma once

#include <mutex>

#include "algo/gplvm.hpp"
#include "algo/gplvm_projection.hpp"
#include "bind/bind_kernels.hpp"
#include "bind/guarded.hpp"

namespace lvm::bind {

inline std::vector<int64_t> index_vector(const py::object& rows) {
  if (rows.is_none()) return {};
  const auto array = py::cast<Array<int64_t>>(rows);
  return {array.data(), array.data() + array.size()};
}

template <class Device, class T>
void bind_gplvm_objective(py::module_& m, const char* name) {
  using Object = Guarded<GplvmObjective<Device, T>>;
  py::class_<Object>(m, name, py::module_local(),
                     "value = sum_d log N(y_d | 0, k(X, X) + (noise + jitter) I) of n rows with q latents each.")
      .def(py::init<int64_t, int64_t>(), py::arg("n"), py::arg("q"))
      .def(
          "add_group",
          [](Object& self, const py::object& rows, const py::array_t<T, py::array::f_style>& r, double columns) {
            check_shape(r, {-1, -1}, "r");
            const std::vector<int64_t> index = index_vector(rows);
            const int64_t expected = index.empty() ? self.object.rows() : static_cast<int64_t>(index.size());
            check_shape(r, {expected, -1}, "r");
            self.object.add_group(index, r.data(), r.shape(1), columns);
          },
          py::arg("rows"), py::arg("r").noconvert(), py::arg("columns"),
          "Columns of Y that observe the same rows (None: all): any r (rows, rank), Fortran order, with\n"
          "r r^T = Y Y^T, standing for `columns` columns.")
      .def(
          "evaluate",
          [](Object& self, const KernelTree& tree, const Array<double>& theta, const Array<T>& x, double noise,
             double jitter, double first, double last) {
            const int64_t n = self.object.rows(), q = self.object.components();
            check_shape(x, {n, q}, "x");
            check_shape(theta, {tree.parameters}, "theta");
            PointArguments<Device, T>::check_dims(tree, q);
            Array<double> d_x({n, q}), d_theta(tree.parameters);
            double *d_x_data = d_x.mutable_data(), *d_theta_data = d_theta.mutable_data();
            GplvmResult result{};
            Status status;
            {
              py::gil_scoped_release release;
              std::lock_guard<std::mutex> lock(self.mutex);
              status = self.object.evaluate(x.data(), tree, theta.data(), noise, {first, last}, jitter, &result, d_x_data,
                                            d_theta_data);
            }
            return py::make_tuple(static_cast<int>(status.code), status.index, jitter, result.value, d_x, d_theta,
                                  result.d_noise);
          },
          py::arg("tree"), py::arg("theta"), py::arg("x").noconvert(), py::arg("noise"), py::arg("jitter"),
          py::arg("first_jitter"), py::arg("last_jitter"),
          "(code, index, jitter, value, d_x, d_theta, d_noise); gradients are float64.");
}

inline ProjectionRows projection_rows(int64_t columns, int64_t groups, const Array<double>& targets,
                                      const py::object& mask, const Array<double>& observed,
                                      const Array<double>& residual) {
  check_shape(targets, {-1, columns}, "targets");
  const int64_t n = targets.shape(0);
  check_shape(observed, {n, groups}, "observed");
  check_shape(residual, {n, groups}, "residual");
  return {n, targets.data(), data_or_null<double>(mask, {n, columns}, "mask"), observed.data(), residual.data()};
}

template <class Device>
void bind_gplvm_projection(py::module_& m) {
  m.def(
      "row_product",
      [](const DeviceArray<Device, double>& x, const DeviceArray<Device, double>& w) {
        check_shape(x, {-1, -1}, "x");
        check_shape(w, {x.shape(1), -1}, "w");
        const py::ssize_t n = x.shape(0), depth = x.shape(1), columns = w.shape(1);
        auto y = Views<Device>::template result<double>({n, columns});
        double* out = y.mutable_data();
        {
          py::gil_scoped_release release;
          Device::row_gemm(n, columns, depth, x.data(), depth, w.data(), columns, out, columns);
        }
        return y;
      },
      py::arg("x"), py::arg("w"), "y = x w; on the CPU every row's result is the same bits whatever rows come with it.");
  using Object = Guarded<GplvmProjection<Device>>;
  py::class_<Object>(m, "GplvmProjection", py::module_local(), "f(x) = -log p(y | x, X, Y) of new rows of a fitted GPLVM.")
      .def(py::init([](const KernelTree& tree, const Array<double>& theta, const DeviceArray<Device, double>& x,
                       const Array<double>& scale, double noise) {
             const PointArguments<Device, double> points(tree, theta, x, py::none());
             check_shape(scale, {points.q}, "scale");
             return std::make_unique<Object>(points.x, points.n, points.q, tree, theta.data(), scale.data(), noise);
           }),
           py::arg("tree"), py::arg("theta"), py::arg("x"), py::arg("scale"), py::arg("noise"))
      .def(
          "add_group",
          [](Object& self, const py::object& rows, const DeviceArray<Device, double>& precision,
             const DeviceArray<Device, double>& a) {
            const int64_t count = precision.shape(0);
            check_shape(precision, {count, count}, "precision");
            check_shape(a, {count, -1}, "a");
            self.object.add_group(index_vector(rows), count, precision.data(), a.data(), a.shape(1));
          },
          py::arg("rows"), py::arg("precision"), py::arg("a"),
          "K^-1 (m, m) and A = K^-1 Y (m, columns) of the training rows (None: all) that some columns observe.")
      .def(
          "evaluate",
          [](Object& self, const Array<double>& x, const Array<double>& targets, const py::object& mask,
             const Array<double>& observed, const Array<double>& residual) {
            const auto rows =
                projection_rows(self.object.columns(), self.object.groups(), targets, mask, observed, residual);
            check_shape(x, {rows.n, self.object.components()}, "x");
            Array<double> value(rows.n), gradient({rows.n, self.object.components()});
            double* value_data = value.mutable_data();
            double* gradient_data = gradient.mutable_data();
            {
              py::gil_scoped_release release;
              std::lock_guard<std::mutex> lock(self.mutex);
              self.object.evaluate(rows, x.data(), value_data, gradient_data);
            }
            return py::make_tuple(value, gradient);
          },
          py::arg("x"), py::arg("targets"), py::arg("mask"), py::arg("observed"), py::arg("residual"),
          "f (n,) and its gradient (n, q) at x (n, q).")
      .def(
          "minimise",
          [](Object& self, const Array<double>& start, const Array<double>& targets, const py::object& mask,
             const Array<double>& observed, const Array<double>& residual, double tolerance, int max_evaluations) {
            const auto rows =
                projection_rows(self.object.columns(), self.object.groups(), targets, mask, observed, residual);
            check_shape(start, {rows.n, self.object.components()}, "start");
            Array<double> x({rows.n, self.object.components()}), value(rows.n);
            Array<bool> converged(rows.n);
            double* x_data = x.mutable_data();
            double* value_data = value.mutable_data();
            bool* converged_data = converged.mutable_data();
            {
              py::gil_scoped_release release;
              std::lock_guard<std::mutex> lock(self.mutex);
              self.object.minimise(rows, start.data(), {tolerance, max_evaluations}, x_data, value_data,
                                   converged_data);
            }
            return py::make_tuple(x, value, converged);
          },
          py::arg("start"), py::arg("targets"), py::arg("mask"), py::arg("observed"), py::arg("residual"),
          py::arg("tolerance"), py::arg("max_evaluations"),
          "Local minima (x, f, converged) of f from start (n, q), every row by itself.");
}

}  // namespace lvm::bind

// models.gpr: the log marginal likelihood with its gradients, and posterior means.
#pragma once

#include <mutex>

#include "algo/gpr.hpp"
#include "bind/bind_kernels.hpp"
#include "bind/guarded.hpp"

namespace lvm::bind {

template <class Device, class T>
void bind_gpr_objective(py::module_& m, const char* name) {
  using Object = Guarded<GprObjective<Device, T>>;
  py::class_<Object>(m, name, py::module_local(), "value = max_B sum_c log N(y_c | H b_c, k(X, X) + (noise + own noise + jitter) I).")
      .def(py::init([](const Array<T>& x, const py::array_t<T, py::array::f_style>& targets, int64_t basis,
                       const py::object& own_noise) {
             check_shape(x, {-1, -1}, "x");
             const int64_t n = x.shape(0);
             check_shape(targets, {n, -1}, "targets");
             return std::make_unique<Object>(x.data(), n, x.shape(1), targets.data(), targets.shape(1) - basis, basis,
                                             data_or_null<double>(own_noise, {n}, "own_noise"));
           }),
           py::arg("x").noconvert(), py::arg("targets").noconvert(), py::arg("basis"), py::arg("own_noise"),
           "x (n, q); targets (n, d + basis), Fortran order: Y, then H; own_noise (n,) or None.")
      .def(
          "evaluate",
          [](Object& self, const KernelTree& tree, const Array<double>& theta, double noise, double jitter,
             double first, double last) {
            check_shape(theta, {tree.parameters}, "theta");
            Array<double> d_theta(tree.parameters);
            double* d_theta_data = d_theta.mutable_data();
            GprResult result{};
            Status status;
            {
              py::gil_scoped_release release;
              std::lock_guard<std::mutex> lock(self.mutex);
              status = self.object.evaluate(tree, theta.data(), noise, {first, last}, jitter, &result, d_theta_data);
            }
            return py::make_tuple(static_cast<int>(status.code), status.index, jitter, result.value, d_theta,
                                  result.d_noise);
          },
          py::arg("tree"), py::arg("theta"), py::arg("noise"), py::arg("jitter"), py::arg("first_jitter"),
          py::arg("last_jitter"), "(code, index, jitter, value, d_theta, d_noise); gradients are float64.");
}

template <class Device>
void bind_gpr_predictor(py::module_& m) {
  using Object = GprPredictor<Device>;
  using Rows = DeviceArray<Device, double>;
  py::class_<Object>(m, "GprPredictor", py::module_local(), "k(x, X) and mean(x) = k(x, X) A.")
      .def(py::init([](const KernelTree& tree, const Array<double>& theta, const Rows& x, const Rows& a) {
             const PointArguments<Device, double> points(tree, theta, x, py::none());
             check_shape(a, {points.n, -1}, "a");
             return std::make_unique<Object>(tree, theta.data(), points.x, points.n, points.q, a.data(), a.shape(1));
           }),
           py::arg("tree"), py::arg("theta"), py::arg("x"), py::arg("a"))
      .def(
          "mean",
          [](const Object& self, const Rows& x) {
            check_shape(x, {-1, self.inputs()}, "x");
            Rows out = Views<Device>::template result<double>({x.shape(0), self.columns()});
            double* target = out.mutable_data();
            {
              py::gil_scoped_release release;
              self.mean(x.data(), x.shape(0), target);
            }
            return out;
          },
          py::arg("x"), "mean (m, columns) at x (m, q).")
      .def(
          "cross",
          [](const Object& self, const Rows& x) {
            check_shape(x, {-1, self.inputs()}, "x");
            Rows out = Views<Device>::template result<double>({x.shape(0), self.rows()});
            double* target = out.mutable_data();
            {
              py::gil_scoped_release release;
              self.cross(x.data(), x.shape(0), target);
            }
            return out;
          },
          py::arg("x"), "k(x, X) (m, n) at x (m, q).");
}

}  // namespace lvm::bind

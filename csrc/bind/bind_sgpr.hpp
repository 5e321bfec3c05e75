// models.sgpr: the collapsed bound of sparse regression with its gradients, the upper bound and what predictions need.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "algo/sgpr.hpp"
#include "bind/bind_kernels.hpp"
#include "bind/guarded.hpp"

namespace lvm::bind {

// The objective and the arrays whose memory it reads.
template <class Device, class X, class A>
struct SgprOwner {
  SgprOwner(const SgprData<X>& data, std::vector<py::object> kept) : arrays(std::move(kept)), guarded(data) {}
  std::vector<py::object> arrays;
  Guarded<SgprObjective<Device, X, A>> guarded;
};

template <class Device, class X, class A>
void bind_sgpr_objective(py::module_& m, const char* name) {
  using Object = SgprOwner<Device, X, A>;
  using Rows = DeviceArray<Device, X>;
  py::class_<Object>(m, name, py::module_local(), "The collapsed bound (fitc: FITC's likelihood) maximised over the coefficients of the mean.")
      .def(py::init([](const Rows& x, const Rows& y, const Array<double>& shift, int64_t basis, const Array<double>& centre,
                       const Array<double>& scale, const py::object& own_noise, bool fitc, int64_t tile) {
             check_shape(x, {-1, -1}, "x");
             const int64_t n = x.shape(0), q = x.shape(1);
             check_shape(y, {n, -1}, "y");
             check_shape(shift, {y.shape(1)}, "shift");
             check_shape(centre, {q}, "centre");
             check_shape(scale, {q}, "scale");
             const double* own = device_data_or_null<Device, double>(own_noise, {n}, "own_noise");
             return std::make_unique<Object>(
                 SgprData<X>{x.data(), y.data(), own, n, q, y.shape(1), basis, shift.data(), centre.data(), scale.data(), fitc, tile},
                 std::vector<py::object>{object_of(x), object_of(y), own_noise, shift, centre, scale});
           }),
           py::arg("x").noconvert(), py::arg("y").noconvert(), py::arg("shift"), py::arg("basis"), py::arg("centre"), py::arg("scale"),
           py::arg("own_noise"), py::arg("fitc"), py::arg("tile"),
           "x (n, q), y (n, d) and own_noise (n,) or None are kept, not copied; shift (d,) is taken from y; basis: 0, 1 (a\n"
           "constant) or 1 + q (with (x - centre) / scale).")
      .def(
          "evaluate",
          [](Object& self, const KernelTree& tree, const Array<double>& theta, const Array<double>& z, double noise, double jitter,
             double first, double last, double least_pivot) {
            auto& object = self.guarded.object;
            check_shape(theta, {tree.parameters}, "theta");
            check_shape(z, {-1, object.data().q}, "z");
            PointArguments<Device, X>::check_dims(tree, object.data().q);
            const SgprPoint point{{&tree, theta.data(), z.data(), z.shape(0), {first, last}, least_pivot, 0.0}, noise};
            Array<double> d_theta(tree.parameters), d_z({z.shape(0), z.shape(1)});
            double *to_theta = d_theta.mutable_data(), *to_z = d_z.mutable_data();
            SgprResult result{};
            Status status;
            {
              py::gil_scoped_release release;
              std::lock_guard<std::mutex> lock(self.guarded.mutex);
              status = object.evaluate(point, jitter, &result, to_theta, to_z);
            }
            return py::make_tuple(static_cast<int>(status.code), status.index, jitter, result.value, d_theta, d_z, result.d_noise,
                                  result.trace);
          },
          py::arg("tree"), py::arg("theta"), py::arg("z"), py::arg("noise"), py::arg("jitter"), py::arg("first_jitter"),
          py::arg("last_jitter"), py::arg("least_pivot"),
          "(code, index, jitter, value, d_theta, d_z, d_noise, trace), float64; code 3: B has no factor in the tiles' precision.")
      .def(
          "factors",
          [](Object& self) {
            auto& object = self.guarded.object;
            const py::ssize_t m = object.inducing(), d = object.columns(), p = object.basis();
            Array<double> l({m, m}), b({m, m}), gamma({d, m}), eta({d, m}), coef({d, p});
            double *to_l = l.mutable_data(), *to_b = b.mutable_data(), *to_gamma = gamma.mutable_data();
            double *to_eta = eta.mutable_data(), *to_coef = coef.mutable_data();
            {
              py::gil_scoped_release release;
              std::lock_guard<std::mutex> lock(self.guarded.mutex);
              object.factors(to_l, to_b, to_gamma, to_eta, to_coef);
            }
            return py::make_tuple(l, b, gamma, eta, coef);
          },
          "Of the last evaluation: the factors of K_uu + jitter I and of B (only their lower triangles count), gamma (d, m),\n"
          "eta (d, m) and the mean's coefficients (d, basis).")
      .def(
          "upper_bound",
          [](Object& self, double noise) {
            Status status;
            double value = 0;
            {
              py::gil_scoped_release release;
              std::lock_guard<std::mutex> lock(self.guarded.mutex);
              status = self.guarded.object.upper_bound(noise, &value);
            }
            return py::make_tuple(static_cast<int>(status.code), value);
          },
          py::arg("noise"), "(code, value) at the point of the last evaluation, whose factors are lost.");
}

template <class Device>
void bind_sgpr(py::module_& m) {
  bind_sgpr_objective<Device, double, double>(m, "SgprObjective64");
  bind_sgpr_objective<Device, float, float>(m, "SgprObjective32");
  bind_sgpr_objective<Device, float, double>(m, "SgprObjective32in64");
}

}  // namespace lvm::bind

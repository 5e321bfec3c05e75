// models.svgp: a step of stochastic variational inference.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "algo/svgp.hpp"
#include "bind/bind_kernels.hpp"
#include "bind/bind_likelihoods.hpp"
#include "bind/guarded.hpp"

namespace lvm::bind {

template <class Device>
SvgpLikelihood svgp_likelihood(const py::object& likelihood, const py::object& given, py::ssize_t n, py::ssize_t latents) {
  SvgpLikelihood result{};
  if (likelihood.is_none()) {
    const auto parts = py::cast<py::tuple>(given);
    if (parts.size() != 3) throw py::value_error("given must hold value, by_mean and by_variance");
    result.value = device_data_or_null<Device, double>(parts[0], {n}, "value");
    result.by_mean = device_data_or_null<Device, double>(parts[1], {n, latents}, "by_mean");
    result.by_variance = device_data_or_null<Device, double>(parts[2], {n, latents}, "by_variance");
    if (!result.value || !result.by_mean || !result.by_variance) throw py::value_error("given must hold three arrays");
  } else if (py::isinstance<Multiclass<Device>>(likelihood)) {
    const auto& classes = py::cast<const Multiclass<Device>&>(likelihood);
    if (classes.task.classes != latents) throw py::value_error("the likelihood must have as many classes as there are latents");
    result.classes = &classes.task;
    result.softmax = classes.softmax;
  } else {
    result.points = &py::cast<const Likelihood<Device>&>(likelihood).task();
  }
  return result;
}

inline SvgpUpdate svgp_update(const Array<double>& numbers, bool natural) {
  const double* at = numbers.data();
  if (numbers.size() == 0) return {};
  if (natural && numbers.size() == 1) return {SvgpUpdate::natural, at[0], 0, 0, 0, 0};
  if (!natural && numbers.size() == 5) return {SvgpUpdate::adam, at[0], at[1], at[2], at[3], at[4]};
  throw py::value_error("update must be empty, [rho] (natural) or [rate, beta_1, beta_2, epsilon, t]");
}

template <class Device, class A>
void bind_svgp_model(py::module_& m, const char* name) {
  using Object = Guarded<SvgpModel<Device, A>>;
  using Rows = DeviceArray<Device, A>;
  const auto second_shape = [](const SvgpShape& s) {
    return s.diagonal ? std::vector<py::ssize_t>{s.latents, s.m} : std::vector<py::ssize_t>{s.latents, s.m, s.m};
  };
  const auto check_second = [](const Array<double>& a, const SvgpShape& s, const char* what) {
    if (s.diagonal) {
      check_shape(a, {s.latents, s.m}, what);
    } else {
      check_shape(a, {s.latents, s.m, s.m}, what);
    }
  };
  py::class_<Object>(m, name, py::module_local(), "q(u) of sparse Gaussian processes with any likelihood, and steps that improve it.")
      .def(py::init([](int64_t inducing, int64_t q, int64_t latents, bool whitened, bool diagonal, bool natural) {
             if (inducing < 1 || q < 1 || latents < 1) throw py::value_error("inducing, q and latents must be >= 1");
             return std::make_unique<Object>(SvgpShape{inducing, q, latents, whitened, diagonal, natural});
           }),
           py::arg("inducing"), py::arg("q"), py::arg("latents"), py::arg("whitened"), py::arg("diagonal"), py::arg("natural"))
      .def(
          "q",
          [second_shape](Object& self) {
            const SvgpShape& s = self.object.shape();
            Array<double> first({s.latents, s.m}), second(second_shape(s));
            double *to_first = first.mutable_data(), *to_second = second.mutable_data();
            {
              py::gil_scoped_release release;
              std::lock_guard<std::mutex> lock(self.mutex);
              self.object.get(to_first, to_second);
            }
            return py::make_tuple(first, second);
          },
          "S^-1 mu (latents, m) and S^-1 (latents, m, m), or (latents, m) if diagonal; without `natural` mu and W of S = W W^T\n"
          "(standard deviations if diagonal).")
      .def(
          "set_q",
          [check_second](Object& self, const Array<double>& first, const Array<double>& second) {
            const SvgpShape& s = self.object.shape();
            check_shape(first, {s.latents, s.m}, "first");
            check_second(second, s, "second");
            py::gil_scoped_release release;
            std::lock_guard<std::mutex> lock(self.mutex);
            self.object.set(first.data(), second.data());
          },
          py::arg("first"), py::arg("second"), "As `q` gives them; W with zeros above its diagonal.")
      .def(
          "moments",
          [second_shape](Object& self) {
            const SvgpShape& s = self.object.shape();
            Array<double> parts[4] = {Array<double>({s.latents, s.m}), Array<double>({s.latents, s.m}),
                                      Array<double>(second_shape(s)), Array<double>(second_shape(s))};
            double* to[4];
            for (int k = 0; k < 4; ++k) to[k] = parts[k].mutable_data();
            {
              py::gil_scoped_release release;
              std::lock_guard<std::mutex> lock(self.mutex);
              self.object.get_moments(to);
            }
            return py::make_tuple(parts[0], parts[1], parts[2], parts[3]);
          },
          "Adam's running means: of the gradient and its square by `first`, then by `second`.")
      .def(
          "set_moments",
          [check_second](Object& self, const Array<double>& m1, const Array<double>& v1, const Array<double>& m2,
                         const Array<double>& v2) {
            const SvgpShape& s = self.object.shape();
            check_shape(m1, {s.latents, s.m}, "m1");
            check_shape(v1, {s.latents, s.m}, "v1");
            check_second(m2, s, "m2");
            check_second(v2, s, "v2");
            const double* from[4] = {m1.data(), v1.data(), m2.data(), v2.data()};
            py::gil_scoped_release release;
            std::lock_guard<std::mutex> lock(self.mutex);
            self.object.set_moments(from);
          },
          py::arg("m1"), py::arg("v1"), py::arg("m2"), py::arg("v2"))
      .def(
          "step",
          [](Object& self, const KernelTree& tree, const Array<double>& theta, const Array<double>& z, const py::object& likelihood,
             const py::object& given, const Rows& x, const Rows& y, const py::object& own, const py::object& weight,
             const py::object& offset, double scale, const Array<double>& coef, const Array<double>& centre,
             const Array<double>& spread, const Array<double>& update, double jitter, double first, double last,
             double least_pivot, double always) {
            const SvgpShape& s = self.object.shape();
            check_shape(x, {-1, s.q}, "x");
            const py::ssize_t n = x.shape(0);
            if (n < 1) throw py::value_error("x must have at least one row");
            check_shape(theta, {tree.parameters}, "theta");
            check_shape(z, {s.m, s.q}, "z");
            check_shape(coef, {s.latents, -1}, "coef");
            check_shape(centre, {s.q}, "centre");
            check_shape(spread, {s.q}, "spread");
            PointArguments<Device, A>::check_dims(tree, s.q);
            const SvgpLikelihood expected = svgp_likelihood<Device>(likelihood, given, n, s.latents);
            if (!expected.value && y.size() != (expected.classes ? n : n * s.latents)) {
              throw py::value_error("y must have as many rows as x, and a column for each latent");
            }
            const SvgpBatch<A> batch{x.data(), y.data(), device_data_or_null<Device, A>(own, {n, s.latents}, "own"),
                                     device_data_or_null<Device, double>(weight, {n}, "weight"),
                                     device_data_or_null<Device, double>(offset, {n, s.latents}, "offset"), n, scale};
            const SvgpMean mean{coef.data(), centre.data(), spread.data(), coef.shape(1)};
            const SvgpUpdate kind = svgp_update(update, s.natural);
            const InducingPoint point{&tree, theta.data(), z.data(), s.m, {first, last}, least_pivot, always};
            Array<double> d_theta(tree.parameters), d_z({s.m, s.q}), d_parameters(expected.parameters());
            Array<double> d_coef({s.latents, static_cast<int64_t>(mean.basis)});
            double *to_theta = d_theta.mutable_data(), *to_z = d_z.mutable_data(), *to_parameters = d_parameters.mutable_data();
            double* to_coef = d_coef.mutable_data();
            SvgpResult result{};
            Status status;
            {
              py::gil_scoped_release release;
              std::lock_guard<std::mutex> lock(self.mutex);
              status = self.object.step(point, batch, expected, mean, kind, jitter, &result, to_theta, to_z, to_parameters, to_coef);
            }
            return py::make_tuple(static_cast<int>(status.code), status.index, jitter, result.expected, result.kl, d_theta, d_z,
                                  d_parameters, d_coef, result.rho);
          },
          py::arg("tree"), py::arg("theta"), py::arg("z"), py::arg("likelihood"), py::arg("given"), py::arg("x").noconvert(),
          py::arg("y").noconvert(), py::arg("own"), py::arg("weight"), py::arg("offset"), py::arg("scale"), py::arg("coef"),
          py::arg("centre"), py::arg("spread"), py::arg("update"), py::arg("jitter"), py::arg("first_jitter"),
          py::arg("last_jitter"), py::arg("least_pivot"), py::arg("always"),
          "(code, index, jitter, expected, kl, d_theta, d_z, d_parameters, d_coef, rho): the ELBO of a batch is expected - kl,\n"
          "the gradients are those of it before the update; code 3: the tiles' precision cannot do it. q changes if code is 0.");
}

template <class Device>
void bind_svgp(py::module_& m) {
  bind_svgp_model<Device, double>(m, "Svgp64");
  bind_svgp_model<Device, float>(m, "Svgp32");
}

}  // namespace lvm::bind

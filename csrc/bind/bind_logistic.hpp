// models.logistic: Gibbs sampling with Polya-gamma variables.
#pragma once

#include <memory>
#include <mutex>

#include "algo/logistic_gibbs.hpp"
#include "bind/guarded.hpp"
#include "bind/views.hpp"

namespace lvm::bind {

template <class Device, class T>
void bind_logistic_gibbs(py::module_& m, const char* name) {
  using Object = Guarded<LogisticGibbs<Device, T>>;
  py::class_<Object>(m, name, py::module_local(),
                     "omega_i ~ PG(b_i, phi_i . beta), beta ~ N(P^-1 h, P^-1), P = Phi^T diag(omega) Phi + S.")
      .def(py::init([](const DeviceArray<Device, T>& phi, const DeviceArray<Device, T>& b, const Array<double>& linear,
                       const Array<double>& precision, const Array<uint64_t>& keys) {
             check_shape(phi, {-1, -1}, "phi");
             const int64_t n = phi.shape(0), k = phi.shape(1);
             if (n == 0 || k == 0) throw py::value_error("phi must have rows and columns");
             check_shape(b, {b.size() == 1 ? 1 : n}, "b");
             check_shape(linear, {k}, "linear");
             check_shape(precision, {k, k}, "precision");
             check_shape(keys, {-1, 2}, "keys");
             const LogisticProblem<T> problem = {n,        k, keys.shape(0), phi.data(), b.data(), b.size(), linear.data(),
                                                 precision.data(), keys.data()};
             py::gil_scoped_release release;
             return std::make_unique<Object>(problem);
           }),
           py::arg("phi").noconvert(), py::arg("b").noconvert(), py::arg("linear"), py::arg("precision"),
           py::arg("keys").noconvert(),
           "phi (n, k); b (n,) or (1,), > 0; linear h (k,); precision S (k, k); keys (chains, 2), uint64.")
      .def(
          "run",
          [](Object& self, Array<double> beta, int64_t start, int64_t iterations, int64_t thin, int64_t first,
             const py::object& draws, const py::object& omega) {
            const int64_t chains = self.object.chains(), k = self.object.columns();
            check_shape(beta, {chains, k}, "beta");
            if (start < 0 || iterations < 0 || thin < 0 || first < 0) {
              throw py::value_error("start, iterations, thin and first must be >= 0");
            }
            LogisticDraws<T> kept = {thin, first, 0, nullptr, nullptr};
            Array<T> target;
            DeviceArray<Device, T> omega_target;
            if (thin > 0) {
              if (!py::isinstance<Array<T>>(draws)) throw py::value_error("draws must be an array of the dtype of phi");
              target = py::cast<Array<T>>(draws);
              check_shape(target, {chains, -1, k}, "draws");
              kept.capacity = target.shape(1);
              if (first + iterations / thin > kept.capacity) throw py::value_error("draws must have room for what is kept");
              kept.beta = target.mutable_data();
              if (!omega.is_none()) {
                omega_target = py::cast<DeviceArray<Device, T>>(omega);
                check_shape(omega_target, {chains, kept.capacity, self.object.rows()}, "omega");
                kept.omega = omega_target.mutable_data();
              }
            }
            double* state = beta.mutable_data();
            LogisticFailure failure;
            {
              py::gil_scoped_release release;
              std::lock_guard<std::mutex> lock(self.mutex);
              failure = self.object.run(state, start, iterations, kept);
            }
            return py::make_tuple(failure.chain, failure.iteration, failure.pivot);
          },
          py::arg("beta").noconvert(), py::arg("start"), py::arg("iterations"), py::arg("thin"), py::arg("first"),
          py::arg("draws"), py::arg("omega"),
          "Iterations start, ... from beta (chains, k), which is overwritten; every thin-th state (0: none) to places first, ... "
          "of draws (chains, capacity, k) and omega (chains, capacity, n) or None. (chain, iteration, pivot) of a failure, -1 "
          "without.");
}

}  // namespace lvm::bind

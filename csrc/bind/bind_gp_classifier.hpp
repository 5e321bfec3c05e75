// models.gp_classifier: Gibbs chains, the variational bound with its gradients, probabilities.
#pragma once

#include <mutex>

#include "algo/gp_gibbs.hpp"
#include "algo/gp_variational.hpp"
#include "bind/bind_kernels.hpp"
#include "bind/guarded.hpp"

namespace lvm::bind {

// The chains, and the matrices that they read, kept alive.
template <class Device, class T>
struct GibbsChains {
  DeviceArray<Device, T> k, l;
  Guarded<GpGibbs<Device, T>> chains;
  GibbsChains(const DeviceArray<Device, T>& k_, const DeviceArray<Device, T>& l_, double mean)
      : k(k_), l(l_), chains(k_.shape(0), k.data(), l.data(), mean) {}
};

template <class Device, class T>
void bind_gp_gibbs(py::module_& m, const char* name) {
  using Object = GibbsChains<Device, T>;
  using There = DeviceArray<Device, T>;
  py::class_<Object>(m, name, py::module_local(), "omega_i ~ PG(1, f_i); f ~ N(S (K^-1 m + kappa), S), S = (K^-1 + diag(omega))^-1.")
      .def(py::init([](const There& k, const There& l, double mean) {
             check_shape(k, {-1, -1}, "k");
             check_shape(k, {k.shape(0), k.shape(0)}, "k");
             check_shape(l, {k.shape(0), k.shape(0)}, "l");
             return std::make_unique<Object>(k, l, mean);
           }),
           py::arg("k").noconvert(), py::arg("l").noconvert(), py::arg("mean"),
           "k = l l^T (n, n), l with zeros above its diagonal; neither may change while the object lives.")
      .def(
          "start",
          [](Object& self, const Array<uint64_t>& seeds, There f) {
            auto& gibbs = self.chains.object;
            check_shape(seeds, {-1}, "seeds");
            check_shape(f, {seeds.shape(0), gibbs.rows()}, "f");
            T* to = f.mutable_data();
            const int64_t chains = seeds.shape(0);
            py::gil_scoped_release release;
            std::lock_guard<std::mutex> lock(self.chains.mutex);
            gibbs.start(chains, seeds.data(), to);
          },
          py::arg("seeds").noconvert(), py::arg("f").noconvert(), "f (chains, n) <- m + l e: draws of the prior, iteration 0.")
      .def(
          "run",
          [](Object& self, const Array<uint64_t>& seeds, int64_t first, int64_t count, int64_t burn_in, int64_t thin,
             const There& kappa, There f, There omega, There draws) {
            auto& gibbs = self.chains.object;
            check_shape(seeds, {-1}, "seeds");
            const int64_t chains = seeds.shape(0), n = gibbs.rows();
            for (const There& a : {kappa, f, omega}) check_shape(a, {chains, n}, "kappa, f and omega");
            check_shape(draws, {chains, -1, n}, "draws");
            if (first < 1 || count < 0 || burn_in < 0 || thin < 1) throw py::value_error("first and thin must be >= 1");
            const T* given = kappa.data();
            T *state = f.mutable_data(), *last = omega.mutable_data(), *kept = draws.mutable_data();
            const int64_t capacity = draws.shape(1);
            Status status;
            {
              py::gil_scoped_release release;
              std::lock_guard<std::mutex> lock(self.chains.mutex);
              status = gibbs.run(chains, seeds.data(), {first, count, burn_in, thin}, given, state, last, kept, capacity);
            }
            return py::make_tuple(static_cast<int>(status.code), status.index);
          },
          py::arg("seeds").noconvert(), py::arg("first"), py::arg("count"), py::arg("burn_in"), py::arg("thin"),
          py::arg("kappa").noconvert(), py::arg("f").noconvert(), py::arg("omega").noconvert(), py::arg("draws").noconvert(),
          "(code, index) of iterations first, ..., first + count - 1 of every chain. f and omega (chains, n) are\n"
          "overwritten; iteration t goes to draws[:, (t - burn_in) / thin - 1], if that is a place in (chains, capacity, n).");
}

template <class Device, class T>
void bind_gp_variational(py::module_& m, const char* name) {
  using Object = Guarded<GpVariational<Device, T>>;
  py::class_<Object>(m, name, py::module_local(), "bound = log N(kappa / theta | m, k(X, X) + diag(1 / theta)) + local terms of c.")
      .def(py::init([](const Array<T>& x, const Array<T>& kappa, double mean) {
             check_shape(x, {-1, -1}, "x");
             check_shape(kappa, {x.shape(0)}, "kappa");
             return std::make_unique<Object>(x.data(), x.shape(0), x.shape(1), kappa.data(), mean);
           }),
           py::arg("x").noconvert(), py::arg("kappa").noconvert(), py::arg("mean"))
      .def(
          "evaluate",
          [](Object& self, const KernelTree& tree, const Array<double>& theta, const Array<double>& c, bool gradient) {
            const int64_t n = self.object.rows();
            check_shape(theta, {tree.parameters}, "theta");
            check_shape(c, {n}, "c");
            Array<double> next(n), d_theta(gradient ? tree.parameters : 0);
            double* next_data = next.mutable_data();
            double* d_theta_data = gradient ? d_theta.mutable_data() : nullptr;
            double value = 0;
            Status status;
            {
              py::gil_scoped_release release;
              std::lock_guard<std::mutex> lock(self.mutex);
              status = self.object.evaluate(tree, theta.data(), c.data(), next_data, &value, d_theta_data);
            }
            return py::make_tuple(static_cast<int>(status.code), status.index, value, next, d_theta);
          },
          py::arg("tree"), py::arg("theta"), py::arg("c"), py::arg("gradient"),
          "(code, index, bound at c, the c that follows, d bound / d theta with c held); float64.");
}

template <class Device, class T>
void bind_expected_sigmoid(py::module_& m) {
  using There = DeviceArray<Device, T>;
  m.def(
      "expected_sigmoid",
      [](const There& mean, const There& variance, There out) {
        check_shape(variance, {-1}, "variance");
        const int64_t n = mean.size(), period = variance.size();
        if (out.size() != n) throw py::value_error("out must have the size of mean");
        if (n > 0 && (period == 0 || n % period)) throw py::value_error("the size of mean must be a multiple of variance's");
        const T *mean_data = mean.data(), *variance_data = variance.data();
        T* target = out.mutable_data();
        py::gil_scoped_release release;
        Device::map(n, ExpectedSigmoid<T>{mean_data, variance_data, period, target}, 64);
      },
      py::arg("mean").noconvert(), py::arg("variance").noconvert(), py::arg("out").noconvert(),
      "out[i] = E sigma(x), x ~ N(mean[i], variance[i % variance.size]), within 1e-10; C order.");
}

template <class Device>
void bind_gp_classifier(py::module_& m) {
  bind_gp_gibbs<Device, double>(m, "GpGibbs64");
  bind_gp_gibbs<Device, float>(m, "GpGibbs32");
  bind_gp_variational<Device, double>(m, "GpVariational64");
  bind_gp_variational<Device, float>(m, "GpVariational32");
  bind_expected_sigmoid<Device, double>(m);
}

}  // namespace lvm::bind

// bayesopt: the knowledge gradient, and minimisations of many functions side by side.
#pragma once

#include <mutex>
#include <vector>

#include "algo/knowledge_gradient.hpp"
#include "bind/bind_kernels.hpp"
#include "bind/guarded.hpp"

namespace lvm::bind {

template <class Device>
void bind_knowledge_gradient(py::module_& m) {
  using Doubles = Array<double>;
  using Rows = DeviceArray<Device, double>;
  struct Kept {  // arrays on the device that the object reads
    Rows x, l, alpha;
    Guarded<KnowledgeGradient<Device>> guarded;
    Kept(const KernelTree& tree, const Doubles& theta, const Rows& x_, const Rows& l_, const Rows& alpha_, double noise,
         double spread, const Doubles& mean, const Doubles& lower, const Doubles& upper)
        : x(x_), l(l_), alpha(alpha_),
          guarded(tree, theta.data(), x.data(), x.shape(0), x.shape(1), l.data(), alpha.data(), noise, spread, mean.data(),
                  lower.data(), upper.data()) {}
  };
  const auto shape = [](std::initializer_list<int64_t> extents) {
    return std::vector<py::ssize_t>(extents.begin(), extents.end());
  };
  py::class_<Kept>(m, "KnowledgeGradient", py::module_local(), "KG(X_c) = min mu - sum_m w_m min_x g_m(x); see the header.")
      .def(py::init([](const KernelTree& tree, const Doubles& theta, const Rows& x, const Rows& l, const Rows& alpha,
                       double noise, double spread, const Doubles& mean, const Doubles& lower, const Doubles& upper) {
             const PointArguments<Device, double> points(tree, theta, x, py::none());
             check_shape(l, {points.n, points.n}, "l");
             check_shape(alpha, {points.n}, "alpha");
             check_shape(mean, {1 + points.q}, "mean");
             check_shape(lower, {points.q}, "lower");
             check_shape(upper, {points.q}, "upper");
             return std::make_unique<Kept>(tree, theta, x, l, alpha, noise, spread, mean, lower, upper);
           }),
           py::arg("tree"), py::arg("theta"), py::arg("x"), py::arg("l"), py::arg("alpha"), py::arg("noise"), py::arg("spread"),
           py::arg("mean"), py::arg("lower"), py::arg("upper"),
           "x (n, d), l (n, n) lower, row-major, with l l^T = C, alpha (n,) = C^-1 (y - m); mean (1 + d,); the box (d,), (d,).")
      .def(
          "set_points",
          [](Kept& self, const Doubles& z) {
            auto& kg = self.guarded.object;
            check_shape(z, {-1, kg.inputs()}, "z");
            if (z.shape(0) < 1) throw py::value_error("z must have a row");
            Doubles mu(z.shape(0));
            double* to = mu.mutable_data();
            {
              py::gil_scoped_release release;
              std::lock_guard<std::mutex> lock(self.guarded.mutex);
              kg.set_points(z.data(), z.shape(0), to);
            }
            return mu;
          },
          py::arg("z"), "mu (k,) at z (k, d), where searches may begin from now on.")
      .def(
          "minimise_mean",
          [shape](Kept& self, const Doubles& starts, double tolerance, int max_evaluations) {
            auto& kg = self.guarded.object;
            check_shape(starts, {-1, kg.inputs()}, "starts");
            Doubles x(shape({starts.shape(0), kg.inputs()})), value(starts.shape(0));
            double *x_data = x.mutable_data(), *value_data = value.mutable_data();
            {
              py::gil_scoped_release release;
              std::lock_guard<std::mutex> lock(self.guarded.mutex);
              kg.minimise_mean(starts.data(), starts.shape(0), {tolerance, max_evaluations}, x_data, value_data);
            }
            return py::make_tuple(x, value);
          },
          py::arg("starts"), py::arg("tolerance"), py::arg("max_evaluations"), "Minimisers (k, d) and minima (k,) of mu.")
      .def(
          "evaluate",
          [shape](Kept& self, const Doubles& candidates, const Doubles& xi, const Doubles& weights, const py::object& at,
                  int64_t starts, double tolerance, int max_evaluations, bool gradient, bool details) {
            auto& kg = self.guarded.object;
            const int64_t d = kg.inputs();
            check_shape(candidates, {-1, -1, d}, "candidates");
            const int64_t count = candidates.shape(0), q = candidates.shape(1);
            check_shape(xi, {-1, q}, "xi");
            const int64_t fantasies = xi.shape(0);
            check_shape(weights, {fantasies}, "weights");
            const double* there = data_or_null<double>(at, {count, fantasies, d}, "at");
            if (!there && kg.points() < 1) throw py::value_error("set_points must come first");
            Doubles expected(count);
            py::dict answers;
            answers["expected"] = expected;
            KgResult result{expected.mutable_data(), nullptr, nullptr, nullptr, nullptr, nullptr, nullptr};
            const auto answer = [&](const char* name, std::initializer_list<int64_t> extents) {
              Doubles array(shape(extents));
              answers[name] = array;
              return array.mutable_data();
            };
            if (gradient) result.gradient = answer("gradient", {count, q, d});
            if (gradient && there) result.slopes = answer("slopes", {count, fantasies, d});
            if (details) {
              result.minima = answer("minima", {count, fantasies});
              result.minimisers = answer("minimisers", {count, fantasies, d});
              result.mean = answer("mean", {count, q});
              result.root = answer("root", {count, q, q});
            }
            {
              py::gil_scoped_release release;
              std::lock_guard<std::mutex> lock(self.guarded.mutex);
              kg.evaluate(candidates.data(), count, q, xi.data(), weights.data(), fantasies, there,
                          {{tolerance, max_evaluations}, starts}, result);
            }
            return answers;
          },
          py::arg("candidates"), py::arg("xi"), py::arg("weights"), py::arg("at"), py::arg("starts"), py::arg("tolerance"),
          py::arg("max_evaluations"), py::arg("gradient"), py::arg("details"),
          "Of candidates (m, q, d) and xi (M, q): expected (m,) = sum_m w_m g_m at its minimisers, or at `at` (m, M, d); by "
          "request gradient (m, q, d), with `at` also slopes (m, M, d), and minima, minimisers, mean (m, q), root (m, q, q).");
}

// Searches within a box of its own; NumPy arrays only.
struct BoxSearch {
  int64_t d, count;
  BfgsOptions options;
  std::vector<double> lower, upper;
  RowSearches rows;
  BoxSearch(const double* starts, int64_t n, int64_t width, const double* low, const double* high, const double* scale,
            const BfgsOptions& chosen)
      : d(width), count(n), options(chosen), lower(low, low + width), upper(high, high + width) {
    rows.begin(n, starts, scale, d, lower.data(), upper.data());
  }
};

inline void bind_box_search(py::module_& m) {
  using Doubles = Array<double>;
  py::class_<BoxSearch>(m, "BoxSearch", py::module_local(), "Minima within a box of many functions, evaluated by the caller.")
      .def(py::init([](const Doubles& starts, const Doubles& lower, const Doubles& upper, const Doubles& scale,
                       double tolerance, int max_evaluations) {
             check_shape(starts, {-1, -1}, "starts");
             const int64_t d = starts.shape(1);
             check_shape(lower, {d}, "lower");
             check_shape(upper, {d}, "upper");
             check_shape(scale, {d}, "scale");
             return std::make_unique<BoxSearch>(starts.data(), starts.shape(0), d, lower.data(), upper.data(), scale.data(),
                                                BfgsOptions{tolerance, max_evaluations});
           }),
           py::arg("starts"), py::arg("lower"), py::arg("upper"), py::arg("scale"), py::arg("tolerance"),
           py::arg("max_evaluations"))
      .def(
          "ask",
          [](const BoxSearch& self) {
            const std::vector<int64_t>& active = self.rows.active();
            Doubles x(std::vector<py::ssize_t>{static_cast<py::ssize_t>(active.size()), static_cast<py::ssize_t>(self.d)});
            Array<int64_t> rows(active.size());
            self.rows.ask(x.mutable_data());
            std::copy(active.begin(), active.end(), rows.mutable_data());
            return py::make_tuple(x, rows);
          },
          "x (k, d) and their rows (k,); none when all are done.")
      .def(
          "tell",
          [](BoxSearch& self, const Doubles& value, const Doubles& gradient) {
            check_shape(value, {static_cast<int64_t>(self.rows.active().size())}, "value");
            check_shape(gradient, {value.shape(0), self.d}, "gradient");
            self.rows.tell(value.data(), gradient.data(), [&](int64_t) -> const BfgsOptions& { return self.options; });
          },
          py::arg("value"), py::arg("gradient"), "Values (k,) and gradients (k, d) at what was asked.")
      .def(
          "result",
          [](const BoxSearch& self) {
            const py::ssize_t count = static_cast<py::ssize_t>(self.count);
            Doubles x(std::vector<py::ssize_t>{count, static_cast<py::ssize_t>(self.d)}), value(count);
            py::array_t<bool> converged(count);
            int64_t evaluations = 0;
            for (py::ssize_t i = 0; i < count; ++i) {
              const RowBfgs& row = self.rows.row(i);
              std::copy_n(row.x(), self.d, x.mutable_data() + i * self.d);
              value.mutable_data()[i] = row.value();
              converged.mutable_data()[i] = row.converged();
              evaluations += row.evaluations();
            }
            return py::make_tuple(x, value, converged, evaluations);
          },
          "x (rows, d), value (rows,), converged (rows,), and evaluations of all rows together.");
}

}  // namespace lvm::bind

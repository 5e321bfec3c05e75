// models: KLIEP's proportions, and their cross-validation. NumPy arrays only: a Gram matrix made on the GPU is moved.
#pragma once

#include <cmath>

#include "algo/kliep.hpp"
#include "bind/view_numpy.hpp"

namespace lvm::bind {

inline void bind_kliep(py::module_& m) {
  using Doubles = Array<double>;
  const auto check = [](const Doubles& phi, const Doubles& pi) {
    check_shape(phi, {-1, -1}, "phi");
    check_shape(pi, {phi.shape(0)}, "pi");
    if (phi.size() == 0) throw py::value_error("phi must have a row and a column");
  };
  m.def(
      "kliep_maximize",
      [=](const Doubles& phi, const Doubles& weights, Doubles pi, double gap) {
        check(phi, pi);
        check_shape(weights, {phi.shape(1)}, "weights");
        const double *components = phi.data(), *w = weights.data();
        double* to = pi.mutable_data();
        const int64_t b = phi.shape(0), n = phi.shape(1);
        KliepEnd end;
        {
          py::gil_scoped_release release;
          end = Kliep(components, b, n).maximize(w, gap, to);
        }
        if (std::isnan(end.left)) throw py::value_error("phi must reach a column of weight > 0, got zeros or NaN");
        return py::make_tuple(end.left, end.steps);
      },
      py::arg("phi").noconvert(), py::arg("weights").noconvert(), py::arg("pi").noconvert(), py::arg("gap"),
      "(left, steps): pi (b,) of sum 1 in place maximises sum weights log(phi^T pi), phi (b, n), to within left; from pi, or "
      "from equal proportions of a few if it is 0.");
  m.def(
      "kliep_cross_validate",
      [=](const Doubles& phi, const Array<int64_t>& fold, int64_t folds, const Doubles& pi, double gap, double enough) {
        check(phi, pi);
        const int64_t b = phi.shape(0), n = phi.shape(1);
        check_shape(fold, {n}, "fold");
        if (folds < 2) throw py::value_error("folds must be at least 2");
        std::vector<int64_t> count(folds, 0);
        for (int64_t i = 0; i < n; ++i) {
          if (fold.data()[i] < 0 || fold.data()[i] >= folds) throw py::value_error("fold must be in [0, folds)");
          ++count[fold.data()[i]];
        }
        if (*std::min_element(count.begin(), count.end()) < 1) throw py::value_error("every fold must have a row");
        Doubles scores(folds);
        const double *components = phi.data(), *start = pi.data();
        const int64_t* of_row = fold.data();
        double* to = scores.mutable_data();
        {
          py::gil_scoped_release release;
          kliep_cross_validate(components, b, n, of_row, folds, start, gap, enough, to);
        }
        return scores;
      },
      py::arg("phi").noconvert(), py::arg("fold").noconvert(), py::arg("folds"), py::arg("pi").noconvert(), py::arg("gap"),
      py::arg("enough"),
      "scores (folds,): mean log ratios of columns left out, begun at pi, the fit to all; bounds if their mean is < enough.");
}

}  // namespace lvm::bind

// bayesopt: expected maxima of lines. NumPy arrays only: what was made on the GPU is moved.
#pragma once

#include "algo/line_envelope.hpp"
#include "bind/view_numpy.hpp"

namespace lvm::bind {

inline void bind_line_envelope(py::module_& m) {
  using Doubles = Array<double>;
  m.def(
      "expected_maximum",
      [](const Doubles& a, const Doubles& b) {
        check_shape(a, {-1, -1}, "a");
        const int64_t r = a.shape(0), k = a.shape(1);
        check_shape(b, {r, k}, "b");
        if (k == 0) throw py::value_error("a must have at least one column");
        auto gain = new_array<double>({r}, 'C'), d_a = new_array<double>({r, k}, 'C'), d_b = new_array<double>({r, k}, 'C');
        const double *intercepts = a.data(), *slopes = b.data();
        double *to = gain.mutable_data(), *to_a = d_a.mutable_data(), *to_b = d_b.mutable_data();
        {
          py::gil_scoped_release release;
          expected_maximum(intercepts, slopes, r, k, to, to_a, to_b);
        }
        return py::make_tuple(gain, d_a, d_b);
      },
      py::arg("a").noconvert(), py::arg("b").noconvert(),
      "(gain, d_a, d_b), shapes (r,), (r, k), (r, k): gain = E[max_i (a_i + b_i Z)] - max_i a_i of every row, Z ~ N(0, 1), >= 0, "
      "and its derivatives; NaN for a row whose differences are not finite.");
}

}  // namespace lvm::bind

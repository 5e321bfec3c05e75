// linalg: Cholesky factors and triangular solves.
#pragma once

#include "algo/linalg.hpp"
#include "bind/view_numpy.hpp"

namespace lvm::bind {

template <class Device, class T>
void bind_linalg(py::module_& m) {
  m.def(
      "cholesky",
      [](const Array<T>& a, Array<T> factor, double first, double last) {
        check_shape(a, {-1, -1, -1}, "a");
        const int64_t batch = a.shape(0), n = a.shape(1);
        check_shape(a, {batch, n, n}, "a");
        check_shape(factor, {batch, n, n}, "factor");
        py::array_t<int> code(batch);
        py::array_t<int64_t> index(batch);
        py::array_t<double> jitter(batch);
        T* out = factor.mutable_data();
        int* codes = code.mutable_data();
        int64_t* indices = index.mutable_data();
        double* jitters = jitter.mutable_data();
        {
          py::gil_scoped_release release;
          for (int64_t b = 0; b < batch; ++b) {
            jitters[b] = 0;
            const Status s = cholesky<Device>(n, a.data() + b * n * n, out + b * n * n, {first, last}, jitters + b);
            codes[b] = static_cast<int>(s.code);
            indices[b] = s.index;
          }
        }
        return py::make_tuple(code, index, jitter);
      },
      py::arg("a").noconvert(), py::arg("factor").noconvert(), py::arg("first_jitter"), py::arg("last_jitter"),
      "factor[b] factor[b]^T = a[b] + jitter[b] I for row-major (batch, n, n); returns (code, index, jitter), each\n"
      "(batch,). Jitters are tried from 0, then first_jitter * mean(diag), by tens, to last_jitter * mean(diag).");
  m.def(
      "solve_triangular_inplace",
      [](const Array<T>& l, Array<T> b, bool lower, bool trans) {
        check_shape(b, {-1, -1, -1}, "b");
        const int64_t batch = b.shape(0), n = b.shape(1), columns = b.shape(2);
        check_shape(l, {-1, n, n}, "l");
        const bool shared = l.shape(0) == 1;
        if (!shared) check_shape(l, {batch, n, n}, "l");
        T* out = b.mutable_data();
        if (n == 0 || columns == 0) return;
        py::gil_scoped_release release;
        for (int64_t i = 0; i < batch; ++i) {
          solve_triangular<Device>(n, columns, l.data() + (shared ? 0 : i * n * n), out + i * n * columns, lower,
                                   trans);
        }
      },
      py::arg("l").noconvert(), py::arg("b").noconvert(), py::arg("lower"), py::arg("trans"),
      "b[i] <- op(l[i])^-1 b[i] for row-major l (1 or batch, n, n) and b (batch, n, m).");
}

}  // namespace lvm::bind

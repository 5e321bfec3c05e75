// linalg: Cholesky factors and triangular solves.
#pragma once

#include "algo/linalg.hpp"
#include "bind/batch.hpp"

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
          for_batch<Device>(batch, static_cast<double>(n) * static_cast<double>(n * n) / 3, [&](int64_t b) {
            jitters[b] = 0;
            const Status s = cholesky<Device>(n, a.data() + b * n * n, out + b * n * n, {first, last}, jitters + b);
            codes[b] = static_cast<int>(s.code);
            indices[b] = s.index;
          });
        }
        return py::make_tuple(code, index, jitter);
      },
      py::arg("a").noconvert(), py::arg("factor").noconvert(), py::arg("first_jitter"), py::arg("last_jitter"),
      "factor[b] factor[b]^T = a[b] + jitter[b] I for row-major (batch, n, n); returns (code, index, jitter), each\n"
      "(batch,). Jitters are tried from 0, then first_jitter * mean(diag), by tens, to last_jitter * mean(diag).");
  m.def(
      "cholesky_vjp",
      [](const Array<T>& l, const Array<T>& l_bar, Array<T> a_bar) {
        check_shape(l, {-1, -1, -1}, "l");
        const int64_t batch = l.shape(0), n = l.shape(1);
        for (const Array<T>& square : {l, l_bar, Array<T>(a_bar)}) check_shape(square, {batch, n, n}, "l, l_bar and a_bar");
        T* out = a_bar.mutable_data();
        if (n == 0) return;
        py::gil_scoped_release release;
        for_batch<Device>(batch, 3.0 * static_cast<double>(n) * static_cast<double>(n * n), [&](int64_t b) {
          cholesky_vjp<Device>(n, l.data() + b * n * n, l_bar.data() + b * n * n, out + b * n * n);
        });
      },
      py::arg("l").noconvert(), py::arg("l_bar").noconvert(), py::arg("a_bar").noconvert(),
      "a_bar = 1/2 l^-T (P + P^T) l^-1, P = tril(l^T l_bar) with its diagonal halved, for row-major (batch, n, n).");
  m.def(
      "solve_triangular_inplace",
      [](const py::array_t<T>& l, py::array_t<T> b, bool lower, bool trans) {
        const auto dims = l.ndim();
        if (dims < 2 || b.ndim() != dims) throw py::value_error("l and b need equal ndim >= 2");
        for (py::ssize_t d = 0; d < dims - 1; ++d) {
          if (l.shape(d) != b.shape(d)) throw py::value_error("l and b need equal batches and rows");
        }
        if (l.shape(dims - 2) != l.shape(dims - 1)) throw py::value_error("l must be square");
        if (!contiguous_lines<T>(l) || !contiguous_lines<T>(b)) throw py::value_error("l and b need a unit stride");
        const auto l_view = matrix_batch<const T>(l, 2, l.data());
        const auto b_view = matrix_batch<T>(b, 2, b.mutable_data());
        const int64_t n = b_view.rows, columns = b_view.cols;
        if (n == 0 || columns == 0) return;
        py::gil_scoped_release release;
        for_batch<Device>(b_view.batch, static_cast<double>(n) * static_cast<double>(n * columns), [&](int64_t i) {
          const bool single = columns == 1 && b_view.row == 1;
          const Factor<T> right = single ? Factor<T>{b_view.at(i), n, false} : lines_at(b_view, i);
          solve_triangular<Device, T>(n, columns, factor_at(l_view, i), right, lower, trans);
        });
      },
      py::arg("l").noconvert(), py::arg("b").noconvert(), py::arg("lower"), py::arg("trans"),
      "b[i] <- op(l[i])^-1 b[i] for (..., n, n) and (..., n, m) of any leading strides, each row- or column-major.");
}

}  // namespace lvm::bind

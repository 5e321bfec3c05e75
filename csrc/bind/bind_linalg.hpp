// linalg: Cholesky factors and triangular solves.
#pragma once

#include "algo/batch_linalg.hpp"
#include "bind/batch.hpp"

namespace lvm::bind {

// What became of the members of a batch, as Python gets it.
struct BatchReport {
  py::array_t<int> code;
  py::array_t<int64_t> index;
  py::array_t<double> jitter;
  explicit BatchReport(int64_t batch) : code(batch), index(batch), jitter(batch) {}
  BatchStatus status() { return {code.mutable_data(), index.mutable_data(), jitter.mutable_data()}; }
};

template <class Device, class T>
void bind_linalg(py::module_& m) {
  using Square = DeviceArray<Device, T>;
  using Any = StridedArray<Device, T>;
  m.def(
      "cholesky",
      [](const Square& a, Square factor, double first, double last) {
        check_shape(a, {-1, -1, -1}, "a");
        const int64_t batch = a.shape(0), n = a.shape(1);
        check_shape(a, {batch, n, n}, "a");
        check_shape(factor, {batch, n, n}, "factor");
        BatchReport report(batch);
        const BatchStatus status = report.status();
        const T* from = a.data();
        T* out = factor.mutable_data();
        {
          py::gil_scoped_release release;
          BatchLinalg<Device>::template cholesky<T>(batch, n, from, out, {first, last}, status);
        }
        return py::make_tuple(report.code, report.index, report.jitter);
      },
      py::arg("a").noconvert(), py::arg("factor").noconvert(), py::arg("first_jitter"), py::arg("last_jitter"),
      "factor[b] factor[b]^T = a[b] + jitter[b] I for row-major (batch, n, n); returns (code, index, jitter), each\n"
      "(batch,). Jitters are tried from 0, then first_jitter * mean(diag), by tens, to last_jitter * mean(diag).");
  m.def(
      "cholesky_vjp",
      [](const Square& l, const Square& l_bar, Square a_bar) {
        check_shape(l, {-1, -1, -1}, "l");
        const int64_t batch = l.shape(0), n = l.shape(1);
        for (const Square& square : {l, l_bar, Square(a_bar)}) check_shape(square, {batch, n, n}, "l, l_bar and a_bar");
        const T *factor = l.data(), *cotangent = l_bar.data();
        T* out = a_bar.mutable_data();
        if (n == 0) return;
        py::gil_scoped_release release;
        BatchLinalg<Device>::template cholesky_vjp<T>(batch, n, factor, cotangent, out);
      },
      py::arg("l").noconvert(), py::arg("l_bar").noconvert(), py::arg("a_bar").noconvert(),
      "a_bar = 1/2 l^-T (P + P^T) l^-1, P = tril(l^T l_bar) with its diagonal halved, for row-major (batch, n, n).");
  m.def(
      "solve_triangular_inplace",
      [](const Any& l, Any b, bool lower, bool trans) {
        const auto dims = l.ndim();
        if (dims < 2 || b.ndim() != dims) throw py::value_error("l and b need equal ndim >= 2");
        for (py::ssize_t d = 0; d < dims - 1; ++d) {
          if (l.shape(d) != b.shape(d)) throw py::value_error("l and b need equal batches and rows");
        }
        if (l.shape(dims - 2) != l.shape(dims - 1)) throw py::value_error("l must be square");
        if (!contiguous_lines<T>(l) || !contiguous_lines<T>(b)) throw py::value_error("l and b need a unit stride");
        const auto l_view = matrix_batch<const T>(l, 2, l.data());
        const auto b_view = matrix_batch<T>(b, 2, b.mutable_data());
        if (b_view.rows == 0 || b_view.cols == 0) return;
        py::gil_scoped_release release;
        BatchLinalg<Device>::template solve_triangular<T>(l_view, b_view, lower, trans);
      },
      py::arg("l").noconvert(), py::arg("b").noconvert(), py::arg("lower"), py::arg("trans"),
      "b[i] <- op(l[i])^-1 b[i] for (..., n, n) and (..., n, m) of any leading strides, each row- or column-major.");
}

}  // namespace lvm::bind

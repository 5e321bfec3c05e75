// linalg: Cholesky factors that change by a few ranks.
#pragma once

#include "bind/bind_linalg.hpp"

namespace lvm::bind {

template <class Device, class T>
bool update_of(const py::array& l, const py::array& u, int sign, py::array_t<T>& out) {
  const auto l_view = matrix_batch<const T>(l, 2, static_cast<const T*>(l.data()));
  const auto u_view = matrix_batch<const T>(u, static_cast<int>(u.ndim()), static_cast<const T*>(u.data()));
  T* data = out.mutable_data();
  const auto out_view = matrix_batch<T>(out, 2, data);
  const Strided<const T> columns{u_view.data, u_view.row, u_view.col};
  Status status;
  {
    py::gil_scoped_release release;
    const UpdateSigns signs(u_view.cols, nullptr, sign);
    status = check_update<T>(l_view.rows, u_view.cols, factor_at(l_view, 0), columns);
    if (status) status = cholesky_update<Device, T>(l_view.rows, signs, factor_at(l_view, 0), factor_at(out_view, 0),
                                               columns, true);
  }
  return static_cast<bool>(status);
}

template <class Device, class T>
py::object update_fast(const py::array& l, const py::array& u, int sign, bool overwrite) {
  const auto size = static_cast<py::ssize_t>(sizeof(T));
  const py::ssize_t n = l.shape(0);
  const bool by_rows = l.strides(1) == size;
  if (l.shape(1) != n || u.shape(0) != n || n == 0 || !(by_rows || l.strides(0) == size)) return py::none();
  if (u.size() > kRecomputeFrom * n * n) return py::none();  // that would use the BLAS, whose threads the caller limits
  const py::ssize_t stride = l.strides(by_rows ? 0 : 1);
  if (stride < n * size || stride % size || u.strides(0) % size || u.strides(u.ndim() - 1) % size) return py::none();
  if (overwrite) {
    if (!l.writeable()) return py::none();
    auto out = py::reinterpret_borrow<py::array_t<T>>(l);
    return update_of<Device, T>(l, u, sign, out) ? py::object(std::move(out)) : py::none();
  }
  py::array_t<T> out = new_array<T>({n, n}, by_rows ? 'C' : 'F');
  return update_of<Device, T>(l, u, sign, out) ? py::object(std::move(out)) : py::none();
}

template <class Device>
void bind_cholesky_update_fast(py::module_& m) {
  m.def(
      "cholesky_update_fast",
      [](const py::array& l, const py::array& u, int sign, bool overwrite) -> py::object {
        const auto type = l.dtype();
        const auto kind = type.num();
        constexpr int kAligned = py::detail::npy_api::NPY_ARRAY_ALIGNED_;
        if (!(l.flags() & u.flags() & kAligned) || type.byteorder() != '=' || u.dtype().byteorder() != '=') return py::none();
        if (l.ndim() != 2 || u.ndim() < 1 || u.ndim() > 2 || u.dtype().num() != kind) return py::none();
        if (overwrite) {  // the columns of u may be those of l
          const auto *from = static_cast<const char*>(u.data()), *to = static_cast<const char*>(l.data());
          if (from >= to && from < to + l.nbytes() * 2) return py::none();
        }
        if (kind == py::dtype::num_of<double>()) return update_fast<Device, double>(l, u, sign, overwrite);
        if (kind == py::dtype::num_of<float>()) return update_fast<Device, float>(l, u, sign, overwrite);
        return py::none();
      },
      py::arg("l"), py::arg("u"), py::arg("sign"), py::arg("overwrite"),
      "The update of a single matrix in the usual types and layouts; None where anything else is needed, an error included.");
}

template <class Device, class T>
void bind_cholesky_update(py::module_& m) {
  using Square = DeviceArray<Device, T>;
  using Any = StridedArray<Device, T>;
  m.def(
      "cholesky_update",
      [](const Any& l, const Any& u, const py::object& signs, Any out, bool clear_upper) {
        const auto dims = l.ndim();
        if (dims < 2 || u.ndim() != dims || out.ndim() != dims) throw py::value_error("l, u and out need equal ndim >= 2");
        for (py::ssize_t d = 0; d < dims; ++d) {
          if (l.shape(d) != out.shape(d) || (d < dims - 1 && l.shape(d) != u.shape(d))) {
            throw py::value_error("l, u and out need equal batches and rows");
          }
        }
        if (l.shape(dims - 2) != l.shape(dims - 1)) throw py::value_error("l must be square");
        if (!contiguous_lines<T>(l) || !contiguous_lines<T>(out)) throw py::value_error("l and out need a unit stride");
        const auto l_view = matrix_batch<const T>(l, 2, l.data());
        const auto u_view = matrix_batch<const T>(u, 2, u.data());
        const auto out_view = matrix_batch<T>(out, 2, out.mutable_data());
        const int64_t columns = u_view.cols;
        const UpdateSigns order(columns, data_or_null<int8_t>(signs, {columns}, "signs"), 1);
        BatchReport report(l_view.batch);
        const BatchStatus status = report.status();
        {
          py::gil_scoped_release release;
          BatchLinalg<Device>::template cholesky_update<T>(l_view, u_view, out_view, order, clear_upper, status);
        }
        return py::make_tuple(report.code, report.index);
      },
      py::arg("l").noconvert(), py::arg("u").noconvert(), py::arg("signs"), py::arg("out").noconvert(), py::arg("clear_upper"),
      "out[b] out[b]^T = l[b] l[b]^T + u[b] diag(signs) u[b]^T for (..., n, n) and (..., n, m) of any strides, l and out\n"
      "with a unit stride and of one order; out may be l. Returns (code, index), one for every\n"
      "member of the batch; where L or u cannot be right, nothing is done for any.");
  m.def(
      "cholesky_update_vjp",
      [](const Square& l, const Square& l_new, const Square& g, const Square& u, const Square& signs, Square l_bar,
         Square u_bar) {
        check_shape(u, {-1, -1, -1}, "u");
        const int64_t batch = u.shape(0), n = u.shape(1), columns = u.shape(2);
        for (const Square& square : {l, l_new, g, Square(l_bar)}) check_shape(square, {batch, n, n}, "l, l_new, g and l_bar");
        check_shape(u_bar, {batch, n, columns}, "u_bar");
        check_shape(signs, {columns}, "signs");
        const T *from[] = {l.data(), l_new.data(), g.data(), u.data(), signs.data()};
        T *const to_l = l_bar.mutable_data(), *const to_u = u_bar.mutable_data();
        py::gil_scoped_release release;
        BatchLinalg<Device>::template cholesky_update_vjp<T>(batch, n, columns, from[0], from[1], from[2], from[3], from[4],
                                                             to_l, to_u);
      },
      py::arg("l").noconvert(), py::arg("l_new").noconvert(), py::arg("g").noconvert(), py::arg("u").noconvert(),
      py::arg("signs").noconvert(), py::arg("l_bar").noconvert(), py::arg("u_bar").noconvert(),
      "l_bar and u_bar: cotangents of the arguments of an update with result l_new and cotangent g, row-major batches.");
}

}  // namespace lvm::bind

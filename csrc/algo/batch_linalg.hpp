// linalg over batches of matrices, one interface for both devices: here member by member, on a device whose loops run
// at once; algo/cuda_linalg.hpp for the GPU.
#pragma once

#include <algorithm>
#include <cstdint>

#include "algo/cholesky_update.hpp"
#include "algo/cholesky_update_vjp.hpp"
#include "algo/linalg.hpp"

namespace lvm {

// What became of every member: code, index of the pivot or column, and for `cholesky` the jitter that was needed.
struct BatchStatus {
  int* code;
  int64_t* index;
  double* jitter;
  void note(int64_t b, const Status& status) const {
    code[b] = static_cast<int>(status.code);
    index[b] = status.index;
  }
  bool all_well(int64_t batch) const {
    return std::all_of(code, code + batch, [](int c) { return c == 0; });
  }
};

// Right-hand sides of a triangular system as rows or columns; a single contiguous one counts as a column.
template <class T>
Factor<T> right_side(const MatrixBatch<T>& b, int64_t i) {
  return b.cols == 1 && b.row == 1 ? Factor<T>{b.at(i), b.rows, false} : lines_at(b, i);
}

template <class Device>
struct BatchLinalg {
  // factor[b] factor[b]^T = a[b] + jitter[b] I, row-major.
  template <class T>
  static void cholesky(int64_t batch, int64_t n, const T* a, T* factor, const JitterPolicy& policy, const BatchStatus& status) {
    each(batch, static_cast<double>(n) * static_cast<double>(n * n) / 3, [&](int64_t b) {
      status.jitter[b] = 0;
      status.note(b, lvm::cholesky<Device>(n, a + b * n * n, factor + b * n * n, policy, status.jitter + b));
    });
  }

  template <class T>
  static void cholesky_vjp(int64_t batch, int64_t n, const T* l, const T* l_bar, T* a_bar) {
    each(batch, 3.0 * static_cast<double>(n) * static_cast<double>(n * n), [&](int64_t b) {
      lvm::cholesky_vjp<Device>(n, l + b * n * n, l_bar + b * n * n, a_bar + b * n * n);
    });
  }

  // b <- op(l)^-1 b.
  template <class T>
  static void solve_triangular(const MatrixBatch<const T>& l, const MatrixBatch<T>& b, bool lower, bool trans) {
    const int64_t n = b.rows, columns = b.cols;
    each(b.batch, static_cast<double>(n) * static_cast<double>(n * columns), [&](int64_t i) {
      lvm::solve_triangular<Device, T>(n, columns, factor_at(l, i), right_side(b, i), lower, trans);
    });
  }
  // out out^T = l l^T + u diag(signs) u^T; out may be l: then nothing is done for any where an l or u cannot be right.
  template <class T>
  static void cholesky_update(const MatrixBatch<const T>& l, const MatrixBatch<const T>& u, const MatrixBatch<T>& out,
                              const UpdateSigns& signs, bool clear_upper, const BatchStatus& status) {
    const int64_t n = l.rows, columns = u.cols;
    const auto check = [&](int64_t b) {
      return check_update<T>(n, columns, factor_at(l, b), {u.at(b), u.row, u.col});
    };
    const auto update = [&](int64_t b) {
      return lvm::cholesky_update<Device, T>(n, signs, factor_at(l, b), factor_at(out, b), {u.at(b), u.row, u.col},
                                             clear_upper);
    };
    const double work = 2.0 * static_cast<double>(n) * static_cast<double>(n * columns);
    if (l.data == out.data) {  // check all before any is changed
      each(l.batch, static_cast<double>(n * (columns + 16)), [&](int64_t b) { status.note(b, check(b)); });
      if (status.all_well(l.batch)) each(l.batch, work, [&](int64_t b) { status.note(b, update(b)); });
      return;
    }
    each(l.batch, work, [&](int64_t b) {
      const Status s = check(b);
      status.note(b, s ? update(b) : s);
    });
  }

  // Row-major batches; signs (m,).
  template <class T>
  static void cholesky_update_vjp(int64_t batch, int64_t n, int64_t m, const T* l, const T* l_new, const T* g, const T* u,
                                  const T* signs, T* l_bar, T* u_bar) {
    each(batch, 10.0 * static_cast<double>(n) * static_cast<double>(n * m), [&](int64_t b) {
      const int64_t square = b * n * n, tall = b * n * m;
      CholeskyUpdateVjp<Device, T>::run(n, m, l + square, l_new + square, g + square, u + tall, signs, l_bar + square,
                                        u_bar + tall);
    });
  }

 private:
  // f(b) for every member of a batch, each of about `work` operations: over threads where there are enough members, and one
  // by one where each is large enough to use the threads itself.
  template <class F>
  static void each(int64_t batch, double work, const F& f) {
    if (batch < Device::threads() || work > 2e8) {
      for (int64_t b = 0; b < batch; ++b) f(b);
      return;
    }
    const int64_t grain = std::clamp<int64_t>(static_cast<int64_t>(4e4 / (work + 1000)), 1, (batch + 3) / 4);
    Device::for_ranges(batch, grain, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) f(b);
    });
  }
};

}  // namespace lvm

// Cholesky factors of matrices that change by a few rows, columns or ranks.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "device/matrix.hpp"
#include "device/status.hpp"

namespace lvm {

// The columns of an update, those with sign +1 first: what they add is there before the others take away, so that
// nothing on the way is less definite than the result.
class UpdateSigns {
 public:
  // signs: (m,) of +1 and -1, or null for `all` everywhere.
  UpdateSigns(int64_t m, const int8_t* signs, int all) : order_(m), plus_(0) {
    for (int64_t q = 0; q < m; ++q) {
      if ((signs ? signs[q] : all) > 0) order_[plus_++] = q;
    }
    int64_t next = plus_;
    for (int64_t q = 0; q < m; ++q) {
      if ((signs ? signs[q] : all) < 0) order_[next++] = q;
    }
  }
  int64_t count() const { return static_cast<int64_t>(order_.size()); }
  int64_t plus() const { return plus_; }
  SignedColumns range(int64_t begin, int64_t end) const {
    return {order_.data() + begin, end - begin, std::clamp<int64_t>(plus_ - begin, 0, end - begin)};
  }

 private:
  std::vector<int64_t> order_;
  int64_t plus_;
};

// out <- the lower triangle of l, zeros above if clear_upper; both of one order.
template <class Device, class T>
void copy_lower(int64_t n, const Factor<const T>& l, const Factor<T>& out, bool clear_upper) {
  Device::for_ranges(n, 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t from = l.by_rows ? 0 : i, to = l.by_rows ? i + 1 : n;
      T* line = out.data + i * out.stride;
      std::memcpy(line + from, l.data + i * l.stride + from, (to - from) * sizeof(T));
      if (clear_upper && l.by_rows) std::memset(line + to, 0, (n - to) * sizeof(T));
      if (clear_upper && !l.by_rows) std::memset(line, 0, from * sizeof(T));
    }
  });
}

// Whether l could be a factor and u could be added: the diagonal of l positive and finite, u finite.
template <class T>
Status check_update(int64_t n, int64_t m, const Factor<const T>& l, const Strided<const T>& u) {
  for (int64_t i = 0; i < n; ++i) {
    const T pivot = l(i, i);
    if (!std::isfinite(pivot)) return {Code::non_finite, i};
    if (!(pivot > 0)) return {Code::bad_diagonal, i};
  }
  constexpr int kLanes = 16;
  T sum[kLanes] = {};  // x - x is zero where x is finite: no branch inside, and lanes for the compiler
  const bool by_rows = u.col == 1 || m == 1;
  const int64_t lines = by_rows ? n : m, length = by_rows ? m : n, line = by_rows ? u.row : u.col, step = by_rows ? u.col : u.row;
  const bool whole = step == 1 && line == length;
  for (int64_t k = 0; k < (whole ? 1 : lines); ++k) {
    const T* x = u.data + k * line;
    const int64_t count = whole ? lines * length : length;
    int64_t i = 0;
    if (step == 1) {
      for (; i + kLanes <= count; i += kLanes) {
        for (int c = 0; c < kLanes; ++c) sum[c] += x[i + c] - x[i + c];
      }
    }
    for (; i < count; ++i) sum[0] += x[i * step] - x[i * step];
  }
  for (T s : sum) {
    if (!(s == 0)) return {Code::non_finite, -1};
  }
  return {};
}

// From this many columns per row on, l l^T + u u^T is formed and factorised in less time than u takes to go in (measured
// at n = 256 and 1024: equal between m = n and 2n, 1.7 times faster at 10n).
constexpr int64_t kRecomputeFrom = 2;

// out = chol(l l^T + u u^T) afresh, zeros above. False, and out undefined, where a pivot is below a hundredth of its
// diagonal: there the squares would cost digits that reflections keep.
template <class Device, class T>
bool recompute(int64_t n, int64_t m, const Factor<const T>& l, const Factor<T>& out, const Strided<const T>& u) {
  if (u.col != 1 && (u.row != 1 || u.col < n)) return false;
  if (u.col == 1 && n > 1 && u.row < m) return false;
  using Blas = typename Device::template Blas<T>;
  const char uplo = l.by_rows ? 'U' : 'L';  // BLAS is column-major
  copy_lower<Device>(n, l, out, true);
  Blas::trmm(l.by_rows ? 'L' : 'R', uplo, 'T', n, n, T(1), l.data, l.stride, out.data, out.stride);
  const bool by_rows = u.col == 1;  // a stride along one number may be anything
  Blas::syrk(uplo, by_rows ? 'T' : 'N', n, m, T(1), u.data, by_rows ? std::max(u.row, m) : std::max(u.col, n), T(1), out.data,
             out.stride);
  std::vector<T> diagonal(n);
  for (int64_t i = 0; i < n; ++i) diagonal[i] = out(i, i);
  if (Blas::potrf(uplo, n, out.data, out.stride) != 0) return false;
  for (int64_t i = 0; i < n; ++i) {
    if (!(out(i, i) * out(i, i) > T(0.01) * diagonal[i])) return false;
  }
  for (int64_t i = 0; i < n; ++i) {
    T* line = out.data + i * out.stride;
    std::fill(line + (out.by_rows ? i + 1 : 0), line + (out.by_rows ? n : i), T(0));
  }
  return true;
}

// out out^T = l l^T + u S u^T, for arguments that check_update accepts; out may be l, both are of one order. If the result
// is not positive definite, out is undefined, unless out is l: then l stays as it was, for which a call with signs -1 works
// on a copy. A number in l that is not finite, off the diagonal, is found only on the way.
template <class Device, class T>
Status cholesky_update(int64_t n, const UpdateSigns& signs, const Factor<const T>& l, const Factor<T>& out,
                       const Strided<const T>& u, bool clear_upper) {
  const int64_t m = signs.count();
  if (n == 0) return {};
  const bool inplace = l.data == out.data;
  if (m == 0) {
    T sum = 0;
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < i; ++j) sum += l(i, j) - l(i, j);
    }
    if (!(sum == 0)) return {Code::non_finite, -1};
    if (!inplace) copy_lower<Device>(n, l, out, clear_upper);
    return {};
  }
  if (inplace && signs.plus() < m) {
    typename Device::template Scratch<T> copy(n * n);
    const Factor<T> work{copy.data(), n, l.by_rows};
    const Status status = cholesky_update<Device, T>(n, signs, l, work, u, false);
    if (status) copy_lower<Device>(n, Factor<const T>{work.data, n, l.by_rows}, out, false);
    return status;
  }
  if (signs.plus() == m && m > kRecomputeFrom * n) {
    typename Device::template Scratch<T> afresh(n * n);
    const Factor<T> work{afresh.data(), n, l.by_rows};
    if (recompute<Device, T>(n, m, l, work, u)) {
      copy_lower<Device>(n, Factor<const T>{work.data, n, work.by_rows}, out, clear_upper && !inplace);
      return {};
    }
  }
  const int64_t width = Device::kUpdateColumns, passes = (m + width - 1) / width;
  Factor<const T> from = l;
  for (int64_t k = 0; k < passes; ++k) {  // of equal width
    const SignedColumns columns = signs.range(m * k / passes, m * (k + 1) / passes);
    const bool first = k == 0;
    const Status status = Device::template cholesky_update<T>(n, columns, from, out, u, clear_upper && first && !inplace);
    if (!status) return status;
    from = {out.data, out.stride, out.by_rows};
  }
  return {};
}

}  // namespace lvm

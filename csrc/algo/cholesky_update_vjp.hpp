// The pull-back of a Cholesky update in O(n^2 m), through the reflections that made it.
//
// Column j of the update reflects every row (l_ij, a_i) below it with b_j and tau_j:
//   v_ij = tau_j (l_ij + a_i S b_j^T),   l~_ij = v_ij - l_ij,   a_i <- a_i - v_ij b_j,
// from a_i = u_i to nothing at column i. So V = L + L~ is known, B solves V B = U, and a_i before column j is the sum of
// v_iq b_q over q >= j: nothing of the forward pass need be kept or undone. The reverse goes through panels of columns
// from right to left, w reflections at once: V W = L + A S B^T with W_rr = 1 / tau_r, W_qr = b_q S b_r for q < r.
#pragma once

#include <algorithm>
#include <cstdint>

#include "device/status.hpp"

namespace lvm {

template <class Device, class T>
class CholeskyUpdateVjp {
 public:
  // All row-major: l, the result l_new, its cotangent g and l_bar (n, n), lower triangles; u_bar (n, m). signs: (m,).
  // Overwrites l_bar (zeros above its diagonal) and u_bar. Scratch: 4 n m + 2 n w numbers.
  static void run(int64_t n, int64_t m, const T* l, const T* l_new, const T* g, const T* u, const T* signs, T* l_bar, T* u_bar) {
    CholeskyUpdateVjp call{n, m, l, l_new, g, signs, l_bar, u_bar};
    typename Device::template Scratch<T> scratch(4 * n * m + 2 * n * kWidth + kWidth * (2 * kWidth + m));
    call.a_ = scratch.data();
    call.b_ = call.a_ + n * m;
    call.b_signed_ = call.b_ + n * m;
    call.b_bar_ = call.b_signed_ + n * m;
    call.v_ = call.b_bar_ + n * m;
    call.y_bar_ = call.v_ + n * kWidth;
    call.w_ = call.y_bar_ + n * kWidth;
    call.w_bar_ = call.w_ + kWidth * kWidth;
    call.product_ = call.w_bar_ + kWidth * kWidth;
    call.solve_for_b(u);
    std::fill(call.b_bar_, call.b_bar_ + n * m, T(0));
    for (int64_t first = (n - 1) / kWidth * kWidth; first >= 0; first -= kWidth) {
      const int64_t width = std::min(kWidth, n - first);
      if (first + width < n) call.below(first, width);
      call.within(first, width);
    }
    for (int64_t i = 0; i < n; ++i) std::fill(l_bar + i * n + i + 1, l_bar + (i + 1) * n, T(0));
  }

 private:
  using Blas = typename Device::template Blas<T>;
  static constexpr int64_t kWidth = 32;

  CholeskyUpdateVjp(int64_t n, int64_t m, const T* l, const T* l_new, const T* g, const T* signs, T* l_bar, T* u_bar)
      : n_(n), m_(m), l_(l), l_new_(l_new), g_(g), signs_(signs), l_bar_(l_bar), a_bar_(u_bar) {}

  T v(int64_t i, int64_t j) const { return l_[i * n_ + j] + l_new_[i * n_ + j]; }
  T tau(int64_t j) const { return v(j, j) / l_new_[j * n_ + j]; }

  // V B = U, a slab of rows at a time.
  void solve_for_b(const T* u) {
    std::copy(u, u + n_ * m_, b_);
    for (int64_t first = 0; first < n_; first += kWidth) {
      const int64_t width = std::min(kWidth, n_ - first);
      T* const b = b_ + first * m_;
      if (first > 0) {  // the slab of V, row-major: room for it where w rows of n stand elsewhere
        for (int64_t i = 0; i < width; ++i) {
          for (int64_t j = 0; j < first; ++j) v_[i * first + j] = v(first + i, j);
        }
        Blas::gemm('N', 'N', m_, width, first, T(-1), b_, m_, v_, first, T(1), b, m_);
      }
      for (int64_t i = 0; i < width; ++i) {
        T* const row = b + i * m_;
        for (int64_t j = 0; j < i; ++j) {
          const T factor = v(first + i, first + j);
          for (int64_t q = 0; q < m_; ++q) row[q] -= factor * b[j * m_ + q];
        }
        const T scale = T(1) / v(first + i, first + i);
        for (int64_t q = 0; q < m_; ++q) row[q] *= scale;
      }
    }
    for (int64_t i = 0; i < n_ * m_; ++i) b_signed_[i] = b_[i] * signs_[i % m_];
  }

  // The rows below a panel: matrix products. Leaves in b_bar_ and w_bar_ what they say of the panel's b and W.
  void below(int64_t first, int64_t width) {
    const int64_t start = first + width, rows = n_ - start;
    const T *const b = b_ + first * m_, *const b_signed = b_signed_ + first * m_;
    T *const a = a_ + start * m_, *const a_bar = a_bar_ + start * m_, *const b_bar = b_bar_ + first * m_;
    for (int64_t r = 0; r < width; ++r) {  // W, column-major
      for (int64_t q = 0; q < r; ++q) {
        T sum = 0;
        for (int64_t k = 0; k < m_; ++k) sum += b[q * m_ + k] * b_signed[r * m_ + k];
        w_[q + r * width] = sum;
      }
      w_[r + r * width] = T(1) / tau(first + r);
    }
    Device::for_ranges(rows, 64, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        for (int64_t r = 0; r < width; ++r) {
          v_[i * width + r] = v(start + i, first + r);
          y_bar_[i * width + r] = g_[(start + i) * n_ + first + r];
        }
      }
    });
    Blas::gemm('T', 'N', width, rows, m_, T(-1), b, m_, a_bar, m_, T(1), y_bar_, width);  // G - A_bar B^T
    Blas::trsm('L', 'U', 'N', width, rows, T(1), w_, width, y_bar_, width);
    Device::for_ranges(rows, 64, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t at = (start + i) * n_ + first;
        for (int64_t r = 0; r < width; ++r) l_bar_[at + r] = y_bar_[i * width + r] - g_[at + r];
      }
    });
    Blas::gemm('N', 'T', m_, width, rows, T(-1), a_bar, m_, v_, width, T(1), b_bar, m_);
    Blas::gemm('N', 'N', m_, rows, width, T(1), b_signed, m_, y_bar_, width, T(1), a_bar, m_);
    Blas::gemm('N', 'N', m_, rows, width, T(1), b, m_, v_, width, T(1), a, m_);
    Blas::gemm('N', 'T', m_, width, rows, T(1), a, m_, y_bar_, width, T(0), product_, m_);
    for (int64_t i = 0; i < width * m_; ++i) b_bar[i] += product_[i] * signs_[i % m_];
    Blas::gemm('N', 'T', width, width, rows, T(-1), v_, width, y_bar_, width, T(0), w_bar_, width);
    for (int64_t r = 0; r < width; ++r) {
      for (int64_t q = 0; q < r; ++q) {
        const T factor = w_bar_[q + r * width];
        for (int64_t k = 0; k < m_; ++k) {
          b_bar[q * m_ + k] += factor * b_signed[r * m_ + k];
          b_bar[r * m_ + k] += factor * b_signed[q * m_ + k];
        }
      }
    }
  }

  // The panel's own rows, a column at a time.
  void within(int64_t first, int64_t width) {
    const bool last = first + width == n_;
    for (int64_t j = first + width; j-- > first;) {
      const T t = tau(j), *const b = b_ + j * m_, *const b_signed = b_signed_ + j * m_;
      T* const b_bar = b_bar_ + j * m_;
      T tau_bar = last ? T(0) : -w_bar_[(j - first) * (width + 1)] / (t * t);
      for (int64_t i = j + 1; i < first + width; ++i) {
        T *const a = a_ + i * m_, *const a_bar = a_bar_ + i * m_;
        const T g = g_[i * n_ + j], v_ij = v(i, j);
        T v_bar = g;
        for (int64_t q = 0; q < m_; ++q) v_bar -= a_bar[q] * b[q];
        const T y_bar = t * v_bar;
        l_bar_[i * n_ + j] = y_bar - g;
        tau_bar += v_bar * v_ij / t;
        for (int64_t q = 0; q < m_; ++q) {
          a[q] += v_ij * b[q];
          b_bar[q] += y_bar * signs_[q] * a[q] - v_ij * a_bar[q];
          a_bar[q] += y_bar * b_signed[q];
        }
      }
      // l~ = sqrt(l^2 + a S a^T), b = a / (l + l~), tau = 1 + l / l~
      const T pivot = l_[j * n_ + j], root = l_new_[j * n_ + j], sum = pivot + root;
      T along = 0;
      for (int64_t q = 0; q < m_; ++q) along += b_bar[q] * b[q];
      const T root_bar = g_[j * n_ + j] - tau_bar * pivot / (root * root) - along / sum;
      l_bar_[j * n_ + j] = tau_bar / root - along / sum + root_bar * pivot / root;
      for (int64_t q = 0; q < m_; ++q) {
        a_[j * m_ + q] = sum * b[q];
        a_bar_[j * m_ + q] = b_bar[q] / sum + root_bar * sum * b_signed[q] / root;
      }
    }
  }

  const int64_t n_, m_;
  const T *l_, *l_new_, *g_, *signs_;
  T *l_bar_, *a_bar_;  // a_bar_ ends as the cotangent of U
  T *a_ = nullptr, *b_ = nullptr, *b_signed_ = nullptr, *b_bar_ = nullptr;  // (n, m) each
  T *v_ = nullptr, *y_bar_ = nullptr;                                      // (rows below, w)
  T *w_ = nullptr, *w_bar_ = nullptr, *product_ = nullptr;                 // (w, w), (w, w), (w, m)
};

}  // namespace lvm

// linalg over batches of matrices on the GPU: small members together, large ones one after the other. Only `cholesky` and
// `cholesky_update` wait for the device, for what became of the members.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "algo/batch_linalg.hpp"
#include "cuda/cholesky_update.cuh"
#include "device/cuda.hpp"

namespace lvm {

namespace cuda {

// The lower triangles of a batch with a jitter on the diagonal, zeros above.
template <class T>
struct LowerWithJitter {
  const T* a;
  T* factor;
  int64_t n;
  double jitter;
  LVM_HD void operator()(int64_t at) const {
    const int64_t i = at / n % n, j = at % n;
    factor[at] = j > i ? T(0) : j < i ? a[at] : static_cast<T>(static_cast<double>(a[at]) + jitter);
  }
};
template <class T>
struct ClearUpper {
  T* factor;
  int64_t n;
  LVM_HD void operator()(int64_t at) const {
    if (at % n > at / n % n) factor[at] = T(0);
  }
};

// Whether a pivot is none: a library may carry NaN through.
template <class T>
struct BadDiagonal {
  const T* factor;
  int64_t n;
  LVM_HD bool operator()(int64_t i) const {
    const T pivot = factor[i * (n + 1)];
    return !(pivot > T(0)) || !isfinite(pivot);
  }
};
// The same for every member of a batch of small ones.
template <class T>
struct NoteBadDiagonal {
  const T* factor;
  int64_t n;
  int* failure;
  LVM_HD void operator()(int64_t b) const {
    const BadDiagonal<T> bad{factor + b * n * n, n};
    for (int64_t i = 0; i < n && failure[b] == 0; ++i) {
      if (bad(i)) failure[b] = static_cast<int>(i + 1);
    }
  }
};

// What to report of each factor: the pivot that was lost, 1-based, negative if it is not finite; or 0.
template <class T>
struct PivotReport {
  const T* factor;
  int64_t n;
  const int *lost, *failure;  // what the library said, and what the diagonal shows
  double* report;
  LVM_HD void operator()(int64_t b) const {
    const int at = failure[b];
    const bool finite = lost[b] > 0 && isfinite(factor[b * n * n + (at - 1) * (n + 1)]);
    report[b] = static_cast<double>(finite ? at : -at);
  }
};

template <class T>
struct Pointers {  // of members that lie one after the other
  T* first;
  int64_t step;
  T** to;
  LVM_HD void operator()(int64_t b) const { to[b] = first + b * step; }
};
template <class T>
struct OffsetPointers {
  T* first;
  const int64_t* offsets;
  T** to;
  LVM_HD void operator()(int64_t b) const { to[b] = first + offsets[b]; }
};

template <class T>
struct DiagonalSum {
  const T* a;
  int64_t n;
  LVM_HD double operator()(int64_t, int64_t i) const { return static_cast<double>(a[i * (n + 1)]); }
};

// Bad numbers of members: on the diagonal of l those that are not positive and finite, in u those that are not finite.
template <class T>
struct BadPivots {
  const T* l;
  const int64_t* offsets;
  int64_t step;  // from one diagonal entry to the next
  LVM_HD bool bad(int64_t b, int64_t i) const {
    const T pivot = l[offsets[b] + i * step];
    return !(pivot > T(0)) || !isfinite(pivot);
  }
  LVM_HD double operator()(int64_t b, int64_t i) const { return bad(b, i) ? 1.0 : 0.0; }
};
template <class T>
struct BadPivot {  // of one member
  BadPivots<T> pivots;
  int64_t member;
  LVM_HD bool operator()(int64_t i) const { return pivots.bad(member, i); }
};
template <class T>
struct ReadPivot {
  BadPivots<T> pivots;
  int64_t member;
  const int* failure;
  double* to;  // where, 1-based, and what stands there
  LVM_HD void operator()(int64_t) const {
    to[0] = *failure;
    to[1] = *failure ? static_cast<double>(pivots.l[pivots.offsets[member] + (*failure - 1) * pivots.step]) : 0.0;
  }
};
template <class T>
struct BadColumns {
  const T* u;
  const int64_t* offsets;
  int64_t row, col, m;
  LVM_HD double operator()(int64_t b, int64_t at) const {
    return isfinite(u[offsets[b] + at / m * row + at % m * col]) ? 0.0 : 1.0;
  }
};

// Lower triangles of members in one order, each at its offset: from one place to another, zeros above if `clear`; where
// status (two numbers a member) is given, only those that are well.
template <class T>
struct MoveLower {
  const T* from;
  T* to;
  const int64_t *from_offsets, *to_offsets, *status;
  int64_t n, from_stride, to_stride;
  int64_t by_rows, clear;  // flags
  LVM_HD void operator()(int64_t at) const {
    const int64_t b = at / (n * n), line = at / n % n, k = at % n;  // along a row or column
    if (status && status[2 * b] != 0) return;
    const bool lower = by_rows ? k <= line : k >= line;
    T& target = to[to_offsets[b] + line * to_stride + k];
    if (lower) {
      target = from[from_offsets[b] + line * from_stride + k];
    } else if (clear) {
      target = T(0);
    }
  }
};

struct MergeStatus {  // the first failure of several passes
  const int64_t* pass;
  int64_t* all;
  LVM_HD void operator()(int64_t b) const {
    if (all[2 * b] != 0) return;
    all[2 * b] = pass[2 * b];
    all[2 * b + 1] = pass[2 * b + 1];
  }
};
struct StatusToDouble {
  const int64_t* status;
  double* to;
  LVM_HD void operator()(int64_t k) const { to[k] = static_cast<double>(status[k]); }
};

template <class T>
struct ScaleColumns {  // (.., m): twice, and by sign
  T* u;
  const T* signs;
  int64_t m;
  LVM_HD void operator()(int64_t at) const { u[at] *= T(2) * signs[at % m]; }
};

}  // namespace cuda

template <>
struct BatchLinalg<Cuda> {
  template <class T>
  static void cholesky(int64_t batch, int64_t n, const T* a, T* factor, const JitterPolicy& policy, const BatchStatus& status) {
    if (batch == 0) return;
    Factoriser<T> run(batch, n);
    run.attempt(batch, a, factor, 0.0);
    for (int64_t b = 0; b < batch; ++b) {
      status.jitter[b] = 0;
      status.note(b, run.status(b));
    }
    for (int64_t b = 0; b < batch; ++b) {
      if (status.code[b] != static_cast<int>(Code::not_positive_definite)) continue;
      const T* member = a + b * n * n;
      bool again = false;  // the first attempt has been made
      const auto mean = [&] { return run.diagonal_sum(member) / static_cast<double>(n); };
      status.note(b, escalate_jitter(policy, mean, status.jitter[b], [&](double jitter) -> Status {
        const Status before{static_cast<Code>(status.code[b]), status.index[b]};
        if (!std::exchange(again, true)) return before;
        run.attempt(1, member, factor + b * n * n, jitter);
        return run.status(0);
      }));
    }
  }

  template <class T>
  static void cholesky_vjp(int64_t batch, int64_t n, const T* l, const T* l_bar, T* a_bar) {
    for (int64_t b = 0; b < batch; ++b) lvm::cholesky_vjp<Cuda>(n, l + b * n * n, l_bar + b * n * n, a_bar + b * n * n);
  }

  template <class T>
  static void solve_triangular(const MatrixBatch<const T>& l, const MatrixBatch<T>& b, bool lower, bool trans) {
    if (b.batch < kTogether || b.rows > kSmall) {
      for (int64_t i = 0; i < b.batch; ++i) {
        lvm::solve_triangular<Cuda, T>(b.rows, b.cols, factor_at(l, i), right_side(b, i), lower, trans);
      }
      return;
    }
    const Factor<const T> first = factor_at(l, 0);
    const Factor<T> right = right_side(b, 0);
    CudaBuffer<const T*> from(b.batch);
    CudaBuffer<T*> to(b.batch);
    Offsets l_offsets(l.offsets, b.batch), b_offsets(b.offsets, b.batch);
    Cuda::map(b.batch, cuda::OffsetPointers<const T>{l.data, l_offsets.device(), from.data()});
    Cuda::map(b.batch, cuda::OffsetPointers<T>{b.data, b_offsets.device(), to.data()});
    const bool left = !right.by_rows, transposed = trans != (first.by_rows != right.by_rows);
    CudaBlas<T>::trsm_batched(left ? 'L' : 'R', lower == first.by_rows ? 'U' : 'L', transposed ? 'T' : 'N',
                              left ? b.rows : b.cols, left ? b.cols : b.rows, T(1), from.data(),
                              std::max<int64_t>(first.stride, b.rows), to.data(),
                              std::max<int64_t>(right.stride, left ? b.rows : b.cols), b.batch);
  }

  template <class T>
  static void cholesky_update(const MatrixBatch<const T>& l, const MatrixBatch<const T>& u, const MatrixBatch<T>& out,
                              const UpdateSigns& signs, bool clear_upper, const BatchStatus& status) {
    Updater<T>(l, u, out, signs).run(clear_upper, status);
  }

  // With S the pull-back of L_new: L_bar = tril(2 S L), U_bar = 2 S U diag(signs).
  template <class T>
  static void cholesky_update_vjp(int64_t batch, int64_t n, int64_t m, const T* l, const T* l_new, const T* g, const T* u,
                                  const T* signs, T* l_bar, T* u_bar) {
    CudaBuffer<T> square(n * n), product(n * n);
    for (int64_t b = 0; b < batch; ++b) {
      const int64_t at = b * n * n, tall = b * n * m;
      lvm::cholesky_vjp<Cuda>(n, l_new + at, g + at, square.data());
      Cuda::copy(square.data(), product.data(), n * n);
      CudaBlas<T>::trmm('L', 'U', 'N', n, n, T(2), l + at, n, product.data(), n);  // row-major: the transpose of S L
      Cuda::copy_lower(product.data(), l_bar + at, n);
      Cuda::row_gemm(n, m, n, square.data(), n, u + tall, m, u_bar + tall, m);
    }
    Cuda::map(batch * n * m, cuda::ScaleColumns<T>{u_bar, signs, m});
  }

 private:
  static constexpr int64_t kTogether = 4;  // members from which a batched routine is worth it
  static constexpr int64_t kSmall = 256;   // rows up to which it is

  // Offsets of members on the device; none: all zero.
  class Offsets {
   public:
    Offsets(const std::vector<int64_t>& offsets, int64_t batch) {
      const std::vector<int64_t> zero(offsets.empty() ? batch : 0);
      Cuda::upload((offsets.empty() ? zero : offsets).data(), memory_.reserve(batch + 1), batch);
    }
    const int64_t* device() const { return memory_.data(); }

   private:
    CudaBuffer<int64_t> memory_;
  };

  template <class T>
  class Factoriser {
   public:
    Factoriser(int64_t batch, int64_t n) : n_(n), failure_(2 * batch) { report_.reserve(batch); }

    void attempt(int64_t batch, const T* a, T* factor, double jitter) {
      const int64_t size = batch * n_ * n_;
      Cuda::map(size, cuda::LowerWithJitter<T>{a, factor, n_, jitter});
      Cuda::zero(failure_.data(), batch);
      if (batch >= kTogether && n_ <= kSmall && n_ > 0) {
        CudaBuffer<T*> pointers(batch);
        Cuda::map(batch, cuda::Pointers<T>{factor, n_ * n_, pointers.data()});
        CudaBlas<T>::potrf_batched('U', n_, pointers.data(), n_, failure_.data(), batch);
      } else {  // a row-major lower triangle is a column-major upper one
        for (int64_t b = 0; b < batch; ++b) CudaBlas<T>::potrf('U', n_, factor + b * n_ * n_, n_, failure_.data() + b);
      }
      int *lost = failure_.data(), *failure = lost + batch;
      Cuda::copy(lost, failure, batch);
      if (batch >= kTogether && n_ <= kSmall) {
        Cuda::map(batch, cuda::NoteBadDiagonal<T>{factor, n_, failure});
      } else {
        for (int64_t b = 0; b < batch; ++b) {
          Cuda::note_first(n_, cuda::BadDiagonal<T>{factor + b * n_ * n_, n_}, failure + b);
        }
      }
      Cuda::map(batch, cuda::PivotReport<T>{factor, n_, lost, failure, report_.device()});
      Cuda::map(size, cuda::ClearUpper<T>{factor, n_});  // a library may work there
      report_.pull(batch);
      Cuda::wait();
    }
    Status status(int64_t b) {
      const double lost = report_.host()[b];
      if (lost == 0) return {};
      return {lost > 0 ? Code::not_positive_definite : Code::non_finite, static_cast<int64_t>(std::fabs(lost)) - 1};
    }
    double diagonal_sum(const T* a) {
      Cuda::sums(1, n_, cuda::DiagonalSum<T>{a, n_}, report_.device());
      report_.pull(1);
      Cuda::wait();
      return report_.host()[0];
    }

   private:
    int64_t n_;
    CudaBuffer<int> failure_;
    Cuda::Shared<double> report_;
  };

  template <class T>
  class Updater {
   public:
    Updater(const MatrixBatch<const T>& l, const MatrixBatch<const T>& u, const MatrixBatch<T>& out, const UpdateSigns& signs)
        : l_(l), u_(u), out_(out), signs_(signs), batch_(l.batch), n_(l.rows), m_(u.cols), l_at_(l.offsets, l.batch),
          u_at_(u.offsets, l.batch), out_at_(out.offsets, l.batch) {
      report_.reserve(2 * batch_ + 2);
    }

    void run(bool clear_upper, const BatchStatus& status) {
      if (batch_ == 0 || n_ == 0) return note_all_well(status);
      const bool inplace = l_.data == out_.data;
      check(status);
      if (!status.all_well(batch_) && (inplace || batch_ == 1)) return;
      const std::vector<int> refused(status.code, status.code + batch_);
      if (inplace && signs_.plus() < m_) {  // on copies, of which the good ones are taken
        std::vector<int64_t> offsets(batch_);
        for (int64_t b = 0; b < batch_; ++b) offsets[b] = b * n_ * n_;
        const Offsets copy_at(offsets, batch_);
        CudaBuffer<T> copies(batch_ * n_ * n_);
        const Factor<T> copy{copies.data(), n_, factor_at(l_, 0).by_rows};
        passes(copy, copy_at, false);
        const Factor<T> target = factor_at(out_, 0);
        Cuda::map(batch_ * n_ * n_, cuda::MoveLower<T>{copies.data(), out_.data, copy_at.device(), out_at_.device(),
                                                       status_.data(), n_, n_, target.stride, copy.by_rows, false});
        return report(status);
      }
      passes(factor_at(out_, 0), out_at_, clear_upper && !inplace);
      report(status);
      for (int64_t b = 0; b < batch_; ++b) {
        if (refused[b]) status.code[b] = refused[b], status.index[b] = refused_at_[b];
      }
    }

   private:
    void note_all_well(const BatchStatus& status) {
      for (int64_t b = 0; b < batch_; ++b) status.note(b, {});
    }

    // Whether every l could be a factor and every u could be added.
    void check(const BatchStatus& status) {
      note_all_well(status);
      const Factor<const T> first = factor_at(l_, 0);
      const cuda::BadPivots<T> pivots{l_.data, l_at_.device(), first.stride + 1};
      const cuda::BadColumns<T> columns{u_.data, u_at_.device(), u_.row, u_.col, std::max<int64_t>(m_, 1)};
      Cuda::sums(batch_, n_, pivots, report_.device());
      Cuda::sums(batch_, n_ * m_, columns, report_.device() + batch_);
      report_.pull(2 * batch_);
      Cuda::wait();
      const std::vector<double> bad(report_.host(), report_.host() + 2 * batch_);
      refused_at_.assign(batch_, -1);
      for (int64_t b = 0; b < batch_; ++b) {
        if (bad[b] > 0) {
          CudaBuffer<int> where(1);
          Cuda::zero(where.data(), 1);
          Cuda::note_first(n_, cuda::BadPivot<T>{pivots, b}, where.data());
          Cuda::map(1, cuda::ReadPivot<T>{pivots, b, where.data(), report_.device()});
          report_.pull(2);
          Cuda::wait();
          const bool finite = std::isfinite(report_.host()[1]);
          refused_at_[b] = static_cast<int64_t>(report_.host()[0]) - 1;
          status.note(b, {finite ? Code::bad_diagonal : Code::non_finite, refused_at_[b]});
        } else if (bad[batch_ + b] > 0) {
          status.note(b, {Code::non_finite, -1});
        }
      }
    }

    // The update of all members, in passes of columns of equal width; leaves status_.
    void passes(const Factor<T>& out, const Offsets& out_at, bool clear_upper) {
      Cuda::zero(status_.reserve(2 * batch_), 2 * batch_);
      pass_.reserve(2 * batch_);
      std::vector<int64_t> order(m_ + 1);
      const SignedColumns all = signs_.range(0, m_);
      std::copy_n(all.order, m_, order.begin());
      CudaBuffer<int64_t> order_at(m_ + 1);
      Cuda::upload(order.data(), order_at.data(), m_);
      const Factor<const T> l = factor_at(l_, 0);
      if (m_ == 0) {
        if (l.data == out.data) return;
        return Cuda::map(batch_ * n_ * n_, cuda::MoveLower<T>{l.data, out.data, l_at_.device(), out_at.device(), nullptr, n_,
                                                              l.stride, out.stride, out.by_rows, clear_upper});
      }
      const int64_t count = (m_ + kCudaUpdateColumns - 1) / kCudaUpdateColumns;
      for (int64_t k = 0; k < count; ++k) {
        const int64_t begin = m_ * k / count, end = m_ * (k + 1) / count;
        const SignedColumns columns = signs_.range(begin, end);
        const Factor<const T> from = k == 0 ? l : Factor<const T>{out.data, out.stride, out.by_rows};
        const CudaUpdate<T> update{n_, columns.count, columns.plus, from, out, {u_.data, u_.row, u_.col},
                                   order_at.data() + begin, clear_upper && k == 0};
        int64_t* to = k == 0 ? status_.data() : pass_.data();
        cuda_cholesky_update_batched<T>(update, batch_, k == 0 ? l_at_.device() : out_at.device(), out_at.device(),
                                        u_at_.device(), to);
        if (k > 0) Cuda::map(batch_, cuda::MergeStatus{to, status_.data()});
      }
    }

    void report(const BatchStatus& status) {
      Cuda::map(2 * batch_, cuda::StatusToDouble{status_.data(), report_.device()});
      report_.pull(2 * batch_);
      Cuda::wait();
      for (int64_t b = 0; b < batch_; ++b) {
        status.note(b, {static_cast<Code>(report_.host()[2 * b]), static_cast<int64_t>(report_.host()[2 * b + 1])});
      }
    }

    const MatrixBatch<const T>&l_, &u_;
    const MatrixBatch<T>& out_;
    const UpdateSigns& signs_;
    int64_t batch_, n_, m_;
    Offsets l_at_, u_at_, out_at_;
    std::vector<int64_t> refused_at_;
    CudaBuffer<int64_t> status_, pass_;
    Cuda::Shared<double> report_;
  };
};

}  // namespace lvm

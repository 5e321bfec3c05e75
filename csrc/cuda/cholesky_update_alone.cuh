// Updates by one column, by the recurrence of Gill, Golub, Murray and Saunders (1974, method C1): with p_j = a_j / l_jj
// and t_j = t_{j-1} + S p_j^2 from t = 1, w = S p_j / t_j and kappa = sqrt(t_j / t_{j-1}), each row below has
// a <- a - p l and l~ = kappa (l + w a). Only the a wait for one another, by two multiplications and an addition a
// column: the square roots and divisions of a panel are made all at once, its l~ once the next panel's a are on their
// way.
#pragma once

#include "cuda/cholesky_update_numbers.cuh"
#include "cuda/cholesky_update_tile.cuh"

namespace lvm {
namespace cuda_update {

template <class T>
class Alone {
 public:
  static constexpr int kGroup = 1, kColumns = 1;
  static constexpr int kWeight = kRows, kKappa = 2 * kRows, kSum = 3 * kRows;  // p stands first
  static constexpr int kPanel = 4 * kRows;                                     // of t: two numbers
  static constexpr int kSlab = kRows * kStride, kShared = 2 * kSlab + 6 * kRows + kPanel;

  __device__ Alone(const Task<T>& t, int64_t item, int64_t first, T* shared, int slot, int, int lane)
      : t_(t), member_(item / t.tiles), index_(item % t.tiles), item_(item), first_(first), slot_(slot),
        lane_(lane), shared_(shared), slab_(shared + slot * kShared), kept_(slab_ + 2 * kSlab),
        tile_(t, member_, index_, lane, 0) {}

  static __device__ T* ring(T* shared, int slot) { return shared + (slot + 1) * kShared - kPanel; }

  __device__ void run() {
    const int64_t i = tile_.row + lane_;
    T next[kRows], before = 0;
    tile_.fetch(0, next);
    a_ = i < t_.n ? t_.row_of_u(member_, i)[t_.order[0] * t_.u_col] : T(0);
    for (int64_t panel = 0; panel <= index_; ++panel) {
      T* const slab = slab_ + (panel & 1) * kSlab;
      T* const kept = kept_ + (panel & 1) * 3 * kRows;
      tile_.put(next, slab);
      __syncwarp(kAll);
      if (panel < index_) tile_.fetch((panel + 1) * kRows, next);
      const T start = a_;
      if (panel < index_) {
        pass(panel, slab, kept);
      } else {
        make(slab, kept);
      }
      if (panel > 0) finish(panel - 1, before);
      before = start;
    }
    finish(index_, before);
    if (t_.clear_upper) tile_.clear_upper();
    if (index_ + 1 == t_.tiles && lane_ == 0) report(t_, member_, lost_);
  }

 private:
  __device__ const T* words(int64_t panel) const {
    const int64_t other = member_ * t_.tiles + panel;
    return other >= first_ ? ring(shared_, static_cast<int>(other - first_)) : t_.panels + other * kPanel;
  }
  __device__ void tell(int at, T word) {
    write(t_.panels + item_ * kPanel + at, word);
    write(ring(shared_, slot_) + at, word);
  }

  // a through the columns of a panel, as soon as there are some.
  __device__ void pass(int64_t panel, const T* slab, T* kept) {
    const T* const from = words(panel);
    T p = look(from + lane_);
    unsigned there = __ballot_sync(kAll, !missing(p));
    if (there == kAll) {
#pragma unroll 8
      for (int c = 0; c < kRows; ++c) a_ = fma_(-__shfl_sync(kAll, p, c), slab[c * kStride + lane_], a_);
    } else {
      for (int c = 0; c < kRows; ++c) {
        while (!(there >> c & 1)) {
          LVM_SPIN();
          p = look(from + lane_);
          there = __ballot_sync(kAll, !missing(p));
        }
        a_ = fma_(-__shfl_sync(kAll, p, c), slab[c * kStride + lane_], a_);
      }
    }
    kept[lane_] = p;
  }

  // The tile's own columns. p comes from the very a that finish() will meet: an a / l that rounds on its own way loses
  // digits where t becomes small.
  __device__ void make(const T* slab, T* kept) {
    const int64_t left = tile_.n - tile_.row;
    const int columns = left < kRows ? static_cast<int>(left) : kRows;
    const bool last = index_ + 1 == t_.tiles;
    const T pivot = lane_ < columns ? slab[lane_ * (kStride + 1)] : T(1), inverse = T(1) / pivot;
    const double sign = t_.plus > 0 ? 1 : -1;
    double t = 1, before = 1, after = 1;
    if (index_ > 0) {
      const T half = wait_for(words(index_ - 1) + kSum + (lane_ & 1));
      t = static_cast<double>(__shfl_sync(kAll, half, 0)) + static_cast<double>(__shfl_sync(kAll, half, 1));
    }
    T mine = 0, ahead = slab[lane_];
#pragma unroll 4
    for (int c = 0; c < columns; ++c) {
      const T l = ahead, p = __shfl_sync(kAll, a_ * inverse, c);
      ahead = slab[(c + 1 < columns ? c + 1 : c) * kStride + lane_];  // before what is told, which nothing overtakes
      const double next = ::fma(sign * static_cast<double>(p), static_cast<double>(p), t);
      a_ = fma_(-p, l, a_);
      if (lane_ == c) {
        mine = p;
        before = t;
        after = next;
        if (!last) tell(c, p);
      }
      t = next;
    }
    if (!last && lane_ < 2) {
      const T high = static_cast<T>(t);
      tell(kSum + lane_, lane_ == 0 ? high : static_cast<T>(t - static_cast<double>(high)));
    }
    const double kappa = sqrt_(after / before);
    T weight = static_cast<T>(sign * static_cast<double>(mine) / after), factor = static_cast<T>(kappa);
    const bool indefinite = after <= 0 && mine - mine == 0;
    const double largest = static_cast<double>(Range<T>::largest);
    if (lane_ < columns && !(after > 0 && kappa * static_cast<double>(pivot) <= largest)) {
      factor = static_cast<T>(indefinite ? -kIndefinite : -kNonFinite);
      weight = 0;
    }
    if (!last) {
      tell(kWeight + lane_, weight);
      tell(kKappa + lane_, factor);
    }
    kept[lane_] = mine;
    kept[kWeight + lane_] = weight;
    kept[kKappa + lane_] = lane_ < columns ? factor : T(1);
  }

  // The factor's columns of a panel, for which a goes the same way once more.
  __device__ void finish(int64_t panel, T a) {
    T* const slab = slab_ + (panel & 1) * kSlab;
    T* const kept = kept_ + (panel & 1) * 3 * kRows;
    if (panel < index_) {
      const T* const from = words(panel);
      kept[kWeight + lane_] = wait_for(from + kWeight + lane_);
      kept[kKappa + lane_] = wait_for(from + kKappa + lane_);
    }
    __syncwarp(kAll);
    const unsigned bad = __ballot_sync(kAll, !(kept[kKappa + lane_] > 0));
    if (bad) {
      int c = 0;
      while (!(bad >> c & 1)) ++c;
      lost_.add(kept[kKappa + c] == T(-kIndefinite) ? kIndefinite : kNonFinite, panel * kRows + c);
    }
    const bool own = panel == index_;
#pragma unroll 8
    for (int c = 0; c < kRows; ++c) {
      T* const at = slab + c * kStride + lane_;
      const T l = *at, kappa = kept[kKappa + c];
      a = fma_(-kept[c], l, a);
      *at = kappa * (own && lane_ == c ? l : fma_(kept[kWeight + c], a, l));
    }
    __syncwarp(kAll);
    tile_.store(panel * kRows, slab);
    __syncwarp(kAll);
  }

  const Task<T>& t_;
  const int64_t member_, index_, item_, first_;
  const int slot_, lane_;
  T *const shared_, *const slab_, *const kept_;  // kept_: p, w and kappa of two panels
  const Tile<T, 1, kRows> tile_;
  T a_ = 0;
  Lost lost_;
};

}  // namespace cuda_update
}  // namespace lvm

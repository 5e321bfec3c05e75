// Updates by hyperbolic Householder reflections, one for each column j of L: with a_j what is left of row j of U,
// l~_jj = sqrt(l_jj^2 + a_j S a_j^T), b = a_j / (l_jj + l~_jj), tau = 1 + l_jj / l~_jj, and for each row below
// v = tau (l + a S b^T), l~ = v - l, a <- a - v b (as in cpu/reflections.hpp).
#pragma once

#include "cuda/cholesky_update_numbers.cuh"
#include "cuda/cholesky_update_tile.cuh"

namespace lvm {
namespace cuda_update {

// A tile whose rows stand one to a lane, with K columns of U each in the registers of G warps.
template <class T, int K, int G>
class Reflect {
 public:
  static constexpr int kGroup = G, kColumns = K * G;
  static constexpr int kPanel = kRows * (kColumns + 1);  // numbers: b of each column, then the tau
  // In shared memory, in numbers: a slab, the sums of the warps, the panel for tiles of the same block, and of each
  // warp its part of a few reflections, their tau and two rows of U.
  static constexpr int kWidth = 16, kChunk = K < 32 ? 8 : 4, kSlab = kWidth * kStride;
  static constexpr int kSums = G > 1 ? 2 * G * kRows : 0, kRing = G > 1 ? 0 : kPanel;
  static constexpr int kOwn = (kChunk * (K + 1) + 2 * K + 3) / 4 * 4;
  static constexpr int kShared = kSlab + kSums + kRing + G * kOwn;
  static_assert(kSlab % 4 == 0 && kSums % 4 == 0 && kRing % 4 == 0, "rows are read 16 bytes at a time");

  __device__ Reflect(const Task<T>& t, int64_t item, int64_t first, T* shared, int slot, int part, int lane)
      : t_(t), member_(item / t.tiles), index_(item % t.tiles), item_(item), first_(first), slot_(slot),
        lane_(lane), part_(part), plus_(static_cast<int>(t.plus) - part * K), shared_(shared),
        slab_(shared + slot * kShared), sums_(slab_ + kSlab), own_(sums_ + kSums + kRing + part * kOwn),
        tile_(t, member_, index_, lane, part) {}

  static __device__ T* ring(T* shared, int slot) { return shared + slot * kShared + kSlab + kSums; }

  __device__ void run() {
    const int64_t slabs = (index_ + 1) * (kRows / kWidth);
    T next[kWidth / G];
    tile_.fetch(0, next);
    load_u();
    for (int64_t s = 0; s < slabs; ++s) {
      tile_.put(next, slab_);
      tile_.sync();
      if (s + 1 < slabs) tile_.fetch((s + 1) * kWidth, next);
      const int64_t panel = s / (kRows / kWidth);
      const int begin = static_cast<int>(s % (kRows / kWidth)) * kWidth;
      if (panel < index_) {
        pass(panel, begin);
      } else {
        for (int c = 0; c < kWidth && tile_.row + begin + c < tile_.n; ++c) make(begin + c, c);
      }
      tile_.sync();
      tile_.store(s * kWidth, slab_);
      tile_.sync();
    }
    if (t_.clear_upper) tile_.clear_upper();
    if (index_ + 1 == t_.tiles && part_ == 0 && lane_ == 0) report(t_, member_, lost_);
  }

 private:
  static constexpr int kWords = (kChunk * K + kRows - 1) / kRows;
  struct Chunk {
    T b[kWords], tau;
  };

  __device__ void load_u() {
    const int64_t i = tile_.row + lane_;
    const T* const u = t_.row_of_u(member_, i);
#pragma unroll
    for (int k = 0; k < K; ++k) {
      const int64_t q = part_ * K + k;
      a_[k] = i < t_.n && q < t_.m ? u[t_.order[q] * t_.u_col] : T(0);
    }
  }
  __device__ T signed_(T x, int k) const { return flip(x, k < plus_ ? 0u : 1u << 31); }
  // x S y^T, in four sums.
  __device__ T dot(const T (&x)[K], const T (&y)[K]) const {
    T sum[4] = {};
#pragma unroll
    for (int k = 0; k < K; ++k) sum[k % 4] = fma_(x[k], signed_(y[k], k), sum[k % 4]);
    return K == 1 ? sum[0] : K == 2 ? sum[0] + sum[1] : (sum[0] + sum[1]) + (sum[2] + sum[3]);
  }
  // Over the warps; and that of row j, if wanted.
  __device__ T reduce(T x, int j = 0, T* at_j = nullptr) {
    if (G == 1) return x;
    T* const sums = sums_ + turn_ * G * kRows;
    turn_ ^= 1;  // who is slow may still read the other one
    sums[part_ * kRows + lane_] = x;
    __syncthreads();
    x = sums[lane_];
#pragma unroll
    for (int g = 1; g < G; ++g) x += sums[g * kRows + lane_];
    if (at_j) {
      T other = sums[j];
#pragma unroll
      for (int g = 1; g < G; ++g) other += sums[g * kRows + j];
      *at_j = other;
    }
    return x;
  }

  // Columns [begin, begin + kWidth) of a panel made above.
  __device__ void pass(int64_t panel, int begin) {
    const int64_t other = member_ * t_.tiles + panel;
    const T* const words = G == 1 && other >= first_ ? ring(shared_, static_cast<int>(other - first_))
                                                     : t_.panels + other * kPanel;
    Chunk next;
    read(words, begin, next);
    for (int c = 0; c < kWidth; c += kChunk) {
      while (__ballot_sync(kAll, !whole(next)) != 0) {
        LVM_SPIN();
        read(words, begin + c, next);
      }
      __syncwarp(kAll);
      keep(next);
      unsigned bad = __ballot_sync(kAll, lane_ < kChunk && !(next.tau > 0));
      if (bad && lost_.code == 0) {
        int k = 0;
        while (!(bad >> k & 1)) ++k;
        lost_.add(own_[kChunk * K + k] == T(-kIndefinite) ? kIndefinite : kNonFinite, panel * kRows + begin + c + k);
      }
      if (c + kChunk < kWidth) read(words, begin + c + kChunk, next);
      for (int k = 0; k < kChunk; ++k) {
        reflect(own_ + k * K, own_[kChunk * K + k], slab_ + (c + k) * kStride + lane_);
      }
    }
  }
  __device__ void read(const T* words, int column, Chunk& chunk) const {
#pragma unroll
    for (int k = 0; k < kWords; ++k) {
      const int word = lane_ + k * kRows;
      chunk.b[k] = word < kChunk * K ? look(words + (column + word / K) * kColumns + part_ * K + word % K) : T(0);
    }
    chunk.tau = lane_ < kChunk ? look(words + kRows * kColumns + column + lane_) : T(1);
  }
  __device__ bool whole(const Chunk& chunk) const {
    bool all = !missing(chunk.tau);
#pragma unroll
    for (int k = 0; k < kWords; ++k) all = all && !missing(chunk.b[k]);
    return all;
  }
  __device__ void keep(const Chunk& chunk) {
#pragma unroll
    for (int k = 0; k < kWords; ++k) {
      if (lane_ + k * kRows < kChunk * K) own_[lane_ + k * kRows] = chunk.b[k];
    }
    if (lane_ < kChunk) own_[kChunk * K + lane_] = chunk.tau;
    __syncwarp(kAll);
  }
  __device__ void reflect(const T* from, T tau, T* at) {
    T b[K];
    Row<K, T>::load(from, b);
    T sum = dot(a_, b), l = 0;
    if (part_ == 0) {  // the only one that looks at L here, and so may change it
      l = *at;
      sum += l;
    }
    sum = reduce(sum);
    const T v = tau * sum;
    if (part_ == 0) *at = fma_(tau, sum, -l);
#pragma unroll
    for (int k = 0; k < K; ++k) a_[k] = fma_(-v, b[k], a_[k]);
  }

  // Row j of U, to all lanes.
  __device__ const T* broadcast(int j, T (&x)[K]) {
    T* const row = own_ + kOwn - 2 * K + (j & 1) * K;
    if (K <= 4) {
      __syncwarp(kAll);  // all have read the pivot
#pragma unroll
      for (int k = 0; k < K; ++k) x[k] = __shfl_sync(kAll, a_[k], j);
    } else {
      if (lane_ == j) Row<K, T>::store(a_, row);
      __syncwarp(kAll);
      Row<K, T>::load(row, x);
    }
    return row;
  }
  // The sums of a column once more, near the ends of the range of squares: in units of its largest number.
  __device__ T rescale(const T (&x)[K], T& pivot, T& square, T& sum) {
    double largest = fabs(static_cast<double>(pivot));
#pragma unroll
    for (int k = 0; k < K; ++k) {
      const double entry = fabs(static_cast<double>(x[k]));
      if (!(entry <= largest)) largest = entry;
    }
    if (G > 1) {
      T* const each = sums_ + turn_ * G * kRows;
      turn_ ^= 1;
      each[part_ * kRows + lane_] = static_cast<T>(largest);
      __syncthreads();
      for (int g = 0; g < G; ++g) {
        const double entry = each[g * kRows + lane_];
        if (!(entry <= largest)) largest = entry;
      }
    }
    int exponent = 0;
    if (largest <= static_cast<double>(Range<T>::largest)) frexp(largest, &exponent);
    exponent = exponent > Range<T>::most ? Range<T>::most : exponent < -Range<T>::most ? -Range<T>::most : exponent;
    const T unit = static_cast<T>(ldexp(1.0, -exponent));
    T own = 0, all = 0;
#pragma unroll
    for (int k = 0; k < K; ++k) {
      const T y = x[k] * unit, z = signed_(y, k);
      own = fma_(y, z, own);
      all = fma_(a_[k], z, all);
    }
    sum = reduce(all);
    own = reduce(own);
    pivot *= unit;
    square = largest <= static_cast<double>(Range<T>::largest) ? fma_(pivot, pivot, own) : T(NAN);
    return unit;
  }

  // Column j of the tile's own panel, column c of the slab: a new reflection, which all rows pass at once.
  __device__ void make(int j, int c) {
    T* const at = slab_ + c * kStride + lane_;
    const T l = *at;
    T pivot = slab_[c * kStride + j], x[K], own, unit = 1;
    const T* const row = broadcast(j, x);
    T sum = dot(a_, x);
    if (G == 1) {
      own = dot(x, x);
    } else {
      sum = reduce(sum, j, &own);
    }
    T square = fma_(pivot, pivot, own);
    if (!(square > Range<T>::least && square < 1 / Range<T>::least)) unit = rescale(x, pivot, square, sum);
    const T inverse = reciprocal_root(square);
    T tau = fma_(pivot, inverse, T(1)), scale = inverse * unit * (T(1) / tau);
    const T v = fma_(tau, l, sum * inverse);
    T word = 0;
#pragma unroll
    for (int k = 0; k < K; ++k) {  // all that the next column waits for; what comes after has time
      const T b = x[k] * scale;
      a_[k] = fma_(-v, b, a_[k]);
      if (K <= 4) word = lane_ == k ? b : word;
    }
    const T rough = square * inverse;
    T root = fma_(fma_(-rough, rough, square), T(0.5) * inverse, rough);
    if (!(square > 0 && root <= Range<T>::largest * unit)) {
      const int64_t code = square <= 0 ? kIndefinite : kNonFinite;
      lost_.add(code, tile_.row + j);
      tau = static_cast<T>(-code);
      scale = word = 0;
    }
    if (unit != 1) root /= unit;
    if (part_ == 0 && lane_ >= j) *at = lane_ > j ? v - l : root;
    if (index_ + 1 == t_.tiles) return;
    if (K > 4 && lane_ < K) word = row[lane_] * scale;
    if (lane_ < K) tell(j * kColumns + part_ * K + lane_, word);
    if (lane_ == 0 && part_ == 0) tell(kRows * kColumns + j, tau);
  }
  __device__ void tell(int at, T word) {
    write(t_.panels + item_ * kPanel + at, word);
    if (G == 1) write(ring(shared_, slot_) + at, word);
  }

  const Task<T>& t_;
  const int64_t member_, index_, item_, first_;  // first_: the first item of the block at present
  const int slot_, lane_, part_, plus_;
  T *const shared_, *const slab_, *const sums_, *const own_;
  const Tile<T, G, kWidth> tile_;
  T a_[K];
  int turn_ = 0;
  Lost lost_;
};

}  // namespace cuda_update
}  // namespace lvm

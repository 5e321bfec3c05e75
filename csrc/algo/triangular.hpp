// Inverses of triangular matrices on the host.
#pragma once

#include <algorithm>
#include <cstdint>

namespace lvm {

// u <- u^-1, upper, column-major, stride lda: halves are inverted apart, and what couples them is solved for. n^3/3 flops.
// identity: kInverseBlock^2 numbers of scratch.
constexpr int64_t kInverseBlock = 64;
template <class Blas, class T>
void invert_upper(int64_t n, T* u, int64_t lda, T* identity) {
  if (n <= kInverseBlock) {
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t i = 0; i < n; ++i) identity[j * n + i] = i == j ? T(1) : T(0);
    }
    Blas::trsm('L', 'U', 'N', n, n, T(1), u, lda, identity, n);
    for (int64_t j = 0; j < n; ++j) std::copy_n(identity + j * n, j + 1, u + j * lda);
    return;
  }
  const int64_t half = (n / 2 + kInverseBlock - 1) / kInverseBlock * kInverseBlock;
  T *right = u + half * lda, *below = right + half;
  Blas::trsm('L', 'U', 'N', half, n - half, T(-1), u, lda, right, lda);
  Blas::trsm('R', 'U', 'N', half, n - half, T(1), below, lda, right, lda);
  invert_upper<Blas>(half, u, lda, identity);
  invert_upper<Blas>(n - half, below, lda, identity);
}

}  // namespace lvm

// Arithmetic of Cholesky updates on the GPU, for float and double alike.
#pragma once

#include <string.h>

#include "cuda/launch.cuh"

namespace lvm {
namespace cuda_update {

__device__ inline double fma_(double x, double y, double z) { return ::fma(x, y, z); }
__device__ inline float fma_(float x, float y, float z) { return ::fmaf(x, y, z); }

template <class T>
struct Range;  // squares from `least` to its inverse keep their digits; 2^most scales any number into reach
template <>
struct Range<double> {
  static constexpr double least = 1e-280, largest = 1.7976931348623157e308;
  static constexpr int most = 1000;
};
template <>
struct Range<float> {
  static constexpr float least = 1e-30f, largest = 3.40282347e38f;
  static constexpr int most = 120;
};

// 1 / sqrt(x) to nearly all digits.
__device__ inline double reciprocal_root(double x) { return ::rsqrt(x); }
__device__ inline float reciprocal_root(float x) {
  const float r = ::rsqrtf(x);
  return fma_(0.5f * r, fma_(-x * r, r, 1.0f), r);
}

// x or -x, by the integer units: a subtraction would take a place among the others.
__device__ inline double flip(double x, unsigned sign) {
  unsigned long long bits;
  memcpy(&bits, &x, sizeof(bits));
  bits ^= static_cast<unsigned long long>(sign) << 32;
  memcpy(&x, &bits, sizeof(bits));
  return x;
}
__device__ inline float flip(float x, unsigned sign) {
  unsigned bits;
  memcpy(&bits, &x, sizeof(bits));
  bits ^= sign;
  memcpy(&x, &bits, sizeof(bits));
  return x;
}

template <int Bytes>
struct alignas(Bytes) Bits {
  unsigned char byte[Bytes];
};
// K numbers of shared memory, aligned as far as their size goes, in as few accesses as possible.
template <int K, class T>
struct Row {
  static constexpr int kSize = static_cast<int>(sizeof(T)) * K, kBytes = kSize % 16 == 0 ? 16 : kSize % 8 == 0 ? 8 : 4;
  using Word = Bits<kBytes>;
  static __device__ void load(const T* from, T (&x)[K]) {
#pragma unroll
    for (int k = 0; k < kSize / kBytes; ++k) {
      const Word word = reinterpret_cast<const Word*>(from)[k];
      memcpy(reinterpret_cast<unsigned char*>(x) + k * kBytes, &word, kBytes);
    }
  }
  static __device__ void store(const T (&x)[K], T* to) {
#pragma unroll
    for (int k = 0; k < kSize / kBytes; ++k) {
      Word word;
      memcpy(&word, reinterpret_cast<const unsigned char*>(x) + k * kBytes, kBytes);
      reinterpret_cast<Word*>(to)[k] = word;
    }
  }
};

}  // namespace cuda_update
}  // namespace lvm

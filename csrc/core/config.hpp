// Qualifiers for code that runs on the host and on the device.
//
// Everything in csrc/core is a free function marked LVM_HD, templated on the real type, that allocates
// nothing and throws nothing. On the host it is always inlined: the files in csrc/cpu are compiled once per
// instruction set, and an out-of-line copy of a shared function compiled for AVX-512 could be picked by
// the linker and run on a processor without it.
#pragma once

#include <math.h>
#include <stdint.h>

#if defined(__CUDACC__)
#define LVM_HD __host__ __device__ __forceinline__
#else
#define LVM_HD inline __attribute__((always_inline))
#endif

namespace lvm {

LVM_HD double exp_(double x) { return ::exp(x); }
LVM_HD float exp_(float x) { return ::expf(x); }
LVM_HD double log_(double x) { return ::log(x); }
LVM_HD float log_(float x) { return ::logf(x); }
LVM_HD double log1p_(double x) { return ::log1p(x); }
LVM_HD float log1p_(float x) { return ::log1pf(x); }
LVM_HD double expm1_(double x) { return ::expm1(x); }
LVM_HD float expm1_(float x) { return ::expm1f(x); }
LVM_HD double sqrt_(double x) { return ::sqrt(x); }
LVM_HD float sqrt_(float x) { return ::sqrtf(x); }
LVM_HD double cos_(double x) { return ::cos(x); }
LVM_HD double sin_(double x) { return ::sin(x); }
LVM_HD double min_(double x, double most) { return x > most ? most : x; }  // NaN stays
LVM_HD float min_(float x, float most) { return x > most ? most : x; }
LVM_HD double max_(double x, double least) { return x < least ? least : x; }  // NaN stays
LVM_HD double if_less_(double a, double b, double yes, double no) { return a < b ? yes : no; }
LVM_HD double large_(double) { return 1.7976931348623157e308; }  // the largest finite number
LVM_HD float large_(float) { return 3.40282347e38f; }
LVM_HD double zero_unless_positive_(double sign, double x) { return sign > 0 ? x : 0.0; }
LVM_HD float zero_unless_positive_(float sign, float x) { return sign > 0 ? x : 0.0f; }

}  // namespace lvm

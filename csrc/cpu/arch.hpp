// What each per-instruction-set build of csrc/cpu offers. Included with LVM_ARCH defined.
#pragma once

#include "cpu/tasks.hpp"

namespace lvm::cpu::LVM_ARCH {

template <class T>
void gram_rows(const GramTask<T>&, int64_t begin, int64_t end);
template <class T>
void pullback_rows(const PullbackTask<T>&, int64_t begin, int64_t end, double* d_lengthscale,
                   double* d_variance);
template <class T>
void row_gemm_columns(const RowGemmTask<T>&, int64_t begin, int64_t end);
template <class T>
void exp_array(const T* x, T* y, int64_t n);
template <class T>
int64_t cholesky_update_rows();
template <class T>
int64_t cholesky_update_size(int64_t n, int64_t m);
template <class T>
void cholesky_update_group(const CholeskyUpdateTask<T>&, int64_t group);

const KernelTable& table();

}  // namespace lvm::cpu::LVM_ARCH

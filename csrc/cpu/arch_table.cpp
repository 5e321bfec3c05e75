// The table of one instruction set's kernels.
#include "cpu/arch.hpp"

namespace lvm::cpu::LVM_ARCH {

const KernelTable& table() {
  static constexpr KernelTable functions = {
      LVM_ARCH_NAME,
      {gram_rows<double>, pullback_rows<double>, row_gemm_columns<double>, exp_array<double>},
      {gram_rows<float>, pullback_rows<float>, row_gemm_columns<float>, exp_array<float>}};
  return functions;
}

}  // namespace lvm::cpu::LVM_ARCH

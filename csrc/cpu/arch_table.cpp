// The table of one instruction set's kernels.
#include "cpu/arch.hpp"

namespace lvm::cpu::LVM_ARCH {

namespace {
template <class T>
constexpr KernelFunctions<T> functions_of() {
  return {pair_values<T>,          pair_pullback<T>,        tile_products<T>,         tile_differences<T>,
          store_tile<T>,           load_tile<T>,            combine_tiles<T>,         row_gemm_columns<T>,
          exp_array<T>,            cholesky_update_rows<T>, cholesky_update_size<T>, cholesky_update_group<T>,
          fill_random<T>,          draws_of_words<T>,       fill_polya_gamma<T>,    expectations<T>};
}
}  // namespace

const KernelTable& table() {
  static constexpr KernelTable functions = {
      LVM_ARCH_NAME,
      functions_of<double>(),
      functions_of<float>(),
      &network_f64,
      &network_f32,
      &chain_f64,
      &chain_f32,
      &narrow_f64,
      &narrow_f32,
      &mixture_f64,
      &mixture_f32};
  return functions;
}

}  // namespace lvm::cpu::LVM_ARCH

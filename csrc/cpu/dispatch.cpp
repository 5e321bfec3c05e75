#include "cpu/dispatch.hpp"

#define LVM_DECLARE_ARCH(arch) \
  namespace lvm::cpu::arch {   \
  const KernelTable& table();  \
  }

#if defined(__x86_64__)
LVM_DECLARE_ARCH(v1)
LVM_DECLARE_ARCH(v3)
LVM_DECLARE_ARCH(v4)
#else
LVM_DECLARE_ARCH(base)
#endif

namespace lvm::cpu {
namespace {

std::vector<const KernelTable*> runnable() {
  std::vector<const KernelTable*> tables;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
    tables.push_back(&v4::table());
  }
  if (v3) tables.push_back(&v3::table());
  tables.push_back(&v1::table());
#else
  tables.push_back(&base::table());
#endif
  return tables;
}

const KernelTable*& current() {
  static const KernelTable* table = runnable().front();
  return table;
}

}  // namespace

const KernelTable& kernels() { return *current(); }

template <>
const KernelFunctions<double>& kernels_for<double>() {
  return kernels().f64;
}
template <>
const KernelFunctions<float>& kernels_for<float>() {
  return kernels().f32;
}
template <>
const NetworkFunctions<double>& network_kernels_for<double>() {
  return *kernels().network_f64;
}
template <>
const NetworkFunctions<float>& network_kernels_for<float>() {
  return *kernels().network_f32;
}
template <>
const ChainFunctions<double>& chain_kernels_for<double>() {
  return *kernels().chain_f64;
}
template <>
const ChainFunctions<float>& chain_kernels_for<float>() {
  return *kernels().chain_f32;
}
template <>
const NarrowFunctions<double>& narrow_kernels_for<double>() {
  return *kernels().narrow_f64;
}
template <>
const NarrowFunctions<float>& narrow_kernels_for<float>() {
  return *kernels().narrow_f32;
}
template <>
const MixtureFunctions<double>& mixture_kernels_for<double>() {
  return *kernels().mixture_f64;
}
template <>
const MixtureFunctions<float>& mixture_kernels_for<float>() {
  return *kernels().mixture_f32;
}

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (const KernelTable* table : runnable()) names.emplace_back(table->name);
  return names;
}

bool use_instruction_set(const std::string& name) {
  for (const KernelTable* table : runnable()) {
    if (name == table->name) {
      current() = table;
      return true;
    }
  }
  return false;
}

}  // namespace lvm::cpu

// The module lvmfast._cpu: registers what the bind_* headers define, for the CPU.
#include "bind/bind_cholesky_update.hpp"
#include "bind/bind_cpu.hpp"
#include "bind/bind_gplvm.hpp"
#include "bind/bind_gpr.hpp"
#include "bind/bind_kernels.hpp"
#include "bind/bind_linalg.hpp"
#include "bind/bind_random.hpp"
#include "bind/bind_runtime.hpp"
#include "device/cpu.hpp"

PYBIND11_MODULE(_cpu, m) {
  namespace bind = lvm::bind;
  m.doc() = "Compiled kernels of lvmfast for the CPU. Internal: use the lvmfast package.";
  bind::bind_kernel_tree(m);
  bind::bind_runtime(m);
  bind::bind_linalg<lvm::Cpu, double>(m);
  bind::bind_linalg<lvm::Cpu, float>(m);
  bind::bind_cholesky_update_fast<lvm::Cpu>(m);
  bind::bind_cholesky_update<lvm::Cpu, double>(m);
  bind::bind_cholesky_update<lvm::Cpu, float>(m);
  bind::bind_kernels<lvm::Cpu, double>(m);
  bind::bind_kernels<lvm::Cpu, float>(m);
  bind::bind_elementwise_functions<lvm::Cpu, double>(m);
  bind::bind_elementwise_functions<lvm::Cpu, float>(m);
  const auto exp = [](const auto* x, auto* y, int64_t n) { lvm::Cpu::exp(x, y, n); };
  bind::bind_elementwise<lvm::Cpu, double>(m, "exp", "y = exp(x), the exponential inside the kernels.", exp);
  bind::bind_elementwise<lvm::Cpu, float>(m, "exp", "y = exp(x), the exponential inside the kernels.", exp);
  bind::bind_philox(m);
  bind::bind_random<lvm::Cpu>(m);
  bind::bind_draws_of_words<lvm::Cpu, double>(m);
  bind::bind_draws_of_words<lvm::Cpu, float>(m);
  bind::bind_cpu_likelihoods(m);
  bind::bind_gplvm_objective<lvm::Cpu, double>(m, "GplvmObjective64");
  bind::bind_gplvm_objective<lvm::Cpu, float>(m, "GplvmObjective32");
  bind::bind_gplvm_projection<lvm::Cpu>(m);
  bind::bind_gpr_objective<lvm::Cpu, double>(m, "GprObjective64");
  bind::bind_gpr_objective<lvm::Cpu, float>(m, "GprObjective32");
  bind::bind_gpr_predictor<lvm::Cpu>(m);
  bind::bind_cpu_logistic(m);
  bind::bind_cpu_gp_classifier(m);
  bind::bind_cpu_sgpr(m);
  bind::bind_cpu_svgp(m);
  bind::bind_cpu_network(m);
  bind::bind_cpu_vae(m);
  bind::bind_cpu_bijectors(m);
  bind::bind_cpu_density_ratio(m);
  bind::bind_cpu_flow(m);
  bind::bind_cpu_implicit(m);
  bind::bind_cpu_bayesopt(m);
  bind::bind_cpu_mixture(m);
}

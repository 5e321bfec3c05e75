// The kernels of the instruction set in use.
#pragma once

#include <string>
#include <vector>

#include "cpu/tasks.hpp"

namespace lvm::cpu {

const KernelTable& kernels();
template <class T>
const KernelFunctions<T>& kernels_for();
template <class T>
const NetworkFunctions<T>& network_kernels_for();
template <class T>
const ChainFunctions<T>& chain_kernels_for();
template <class T>
const NarrowFunctions<T>& narrow_kernels_for();
template <class T>
const MixtureFunctions<T>& mixture_kernels_for();

std::vector<std::string> instruction_sets();           // that this processor can run, best first
bool use_instruction_set(const std::string& name);     // false if the processor cannot run it

}  // namespace lvm::cpu

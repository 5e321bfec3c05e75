// Chains of bijectors: a program is checked once, then run over points.
#pragma once

#include <algorithm>
#include <cstdint>

#include "device/chain_points.hpp"

namespace lvm {

// What is wrong with a program, or null.
inline const char* program_fault(const ChainProgram& p, int64_t numbers) {
  if (p.d < 1 || p.d > kChainPoint) return "d must be between 1 and 16";
  const auto inside = [&](int64_t at, int64_t size) { return at >= 0 && size >= 0 && at <= numbers && size <= numbers - at; };
  for (int64_t s = 0; s < p.steps; ++s) {
    if (p.code[s] < 0 || p.code[s] / 2 > static_cast<int64_t>(ChainOp::ordered)) return "code must hold steps";
    const ChainOp op = p.op(s);
    if (op == ChainOp::banana && p.d < 2) return "a banana needs d >= 2";
    if (op == ChainOp::tril || op == ChainOp::permute) {
      if (!inside(p.at[s], op == ChainOp::tril ? p.d * (p.d + 1) / 2 : p.d)) return "a step's parameters must be in numbers";
      for (int64_t j = 0; op == ChainOp::permute && j < p.d; ++j) {
        const double source = p.numbers[p.at[s] + j];
        if (!(source >= 0 && source < static_cast<double>(p.d))) return "a permutation must hold places";
      }
    } else if (op < ChainOp::tril) {
      if (p.count[s] != 1 && p.count[s] != p.d) return "count must hold 1 or d";
      if (!inside(p.at[s], parameters_of(op) * p.count[s])) return "a step's parameters must be in numbers";
    }
  }
  if (p.base < ChainBase::none || p.base > ChainBase::uniform) return "base must be 0, 1 or 2";
  if (p.base == ChainBase::normal && p.base_count != 1 && p.base_count != p.d) return "base_count must be 1 or d";
  return p.base != ChainBase::none && !inside(p.base_at, 2 * p.base_count) ? "the base's parameters must be in numbers" : nullptr;
}

template <class Device, class T>
void run_chain(const ChainProgram& program, int64_t n, const T* in, T* out, T* log_det) {
  if (n > 0) ChainRun<Device, T>::run({program, in, out, log_det}, n);
}

}  // namespace lvm

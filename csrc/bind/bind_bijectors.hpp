// Chains of bijectors.
#pragma once

#include <algorithm>

#include "algo/chain.hpp"
#include "bind/guarded.hpp"
#include "bind/views.hpp"

namespace lvm::bind {

inline ChainProgram chain_program(int64_t d, const Array<int64_t>& steps, const Array<double>& numbers, int64_t base,
                                  int64_t base_at, int64_t base_count, double constant) {
  check_shape(steps, {-1, 3}, "steps");
  check_shape(numbers, {-1}, "numbers");
  if (steps.shape(0) > kChainSteps || numbers.size() > kChainNumbers) throw py::value_error("the program is too long");
  ChainProgram p{};
  p.d = d;
  p.steps = steps.shape(0);
  p.base = static_cast<ChainBase>(base);
  p.base_at = base_at;
  p.base_count = base_count;
  p.constant = constant;
  for (int64_t s = 0; s < p.steps; ++s) {
    p.code[s] = steps.at(s, 0);
    p.at[s] = steps.at(s, 1);
    p.count[s] = steps.at(s, 2);
  }
  std::copy_n(numbers.data(), numbers.size(), p.numbers);
  if (const char* fault = program_fault(p, numbers.size())) throw py::value_error(fault);
  return p;
}

// Where an optional result goes; null for None.
template <class Device, class T>
T* target_or_null(const py::object& object, std::initializer_list<py::ssize_t> shape, const char* name) {
  const T* data = device_data_or_null<Device, T>(object, shape, name);
  return data ? py::cast<DeviceArray<Device, T>>(object).mutable_data() : nullptr;
}

template <class Device, class T>
void bind_chain(py::module_& m) {
  using Points = DeviceArray<Device, T>;
  m.def(
      "run_chain",
      [](const Array<int64_t>& steps, const Array<double>& numbers, int64_t base, int64_t base_at, int64_t base_count,
         double constant, const Points& x, const py::object& out, const py::object& log_det) {
        check_shape(x, {-1, -1}, "x");
        const py::ssize_t n = x.shape(0), d = x.shape(1);
        const ChainProgram program = chain_program(d, steps, numbers, base, base_at, base_count, constant);
        T *to = target_or_null<Device, T>(out, {n, d}, "out"), *sums = target_or_null<Device, T>(log_det, {n}, "log_det");
        py::gil_scoped_release release;
        run_chain<Device>(program, n, x.data(), to, sums);
      },
      py::arg("steps"), py::arg("numbers"), py::arg("base"), py::arg("base_at"), py::arg("base_count"), py::arg("constant"),
      py::arg("x").noconvert(),
      py::arg("out"), py::arg("log_det"),
      "Points x (n, d) through steps (k, 3) of code, place in numbers and count: out (n, d), or None, receives where they\n"
      "end; log_det (n,), or None, the log-det with `constant`, or with a base the logarithm of a density.");
}

template <class Device>
void bind_bijectors(py::module_& m) {
  bind_chain<Device, double>(m);
  bind_chain<Device, float>(m);
}

}  // namespace lvm::bind

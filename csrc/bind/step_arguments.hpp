// Arguments that the training steps of models have in common.
#pragma once

#include <string>

#include "algo/training.hpp"
#include "bind/views.hpp"

namespace lvm::bind {

inline StepOptimizer step_optimizer(int64_t kind, const Array<double>& numbers, double clip) {
  check_shape(numbers, {3}, "numbers");
  if (kind < 0 || kind > 2) throw py::value_error("kind must be 0, 1 or 2");
  return {static_cast<StepOptimizer::Kind>(kind), {numbers.data()[0], numbers.data()[1], numbers.data()[2]}, clip};
}

// The memory of an optimizer, which a step overwrites, or null where it has none.
template <class Device, class T>
T* moment_of(const py::object& given, bool wanted, int64_t n, const char* what) {
  if (!wanted) return nullptr;
  if (given.is_none()) throw py::value_error(std::string(what) + " must be given for this optimizer");
  device_data_or_null<Device, T>(given, {n}, what);  // no copy
  auto array = py::cast<DeviceArray<Device, T>>(given);
  return array.mutable_data();
}

// Numbers of rows for `steps` batches; none: all rows in every step.
inline Array<int64_t> rows_of_steps(const py::object& chosen, int64_t total, int64_t batch, int64_t steps) {
  if (steps < 1) throw py::value_error("there must be a step");
  if (total < 1) throw py::value_error("x must have a row");
  if (chosen.is_none()) return Array<int64_t>();
  auto rows = py::cast<Array<int64_t>>(chosen);
  check_shape(rows, {-1}, "rows");
  const int64_t n = rows.size();
  if (n < 1 || batch < 1 || (n + batch - 1) / batch != steps) {
    throw py::value_error("rows must make as many batches as there are rates");
  }
  for (int64_t i = 0; i < n; ++i) {
    if (rows.data()[i] < 0 || rows.data()[i] >= total) throw py::index_error("rows must be those of x");
  }
  return rows;
}

}  // namespace lvm::bind

// The convolutions of csrc/cuda, each kernel by name, for tests of every geometry; and what a phase's axis says.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <vector>

#include "bind_shim.hpp"
#include "device/cuda_taps.hpp"

namespace {

namespace py = pybind11;
using lvm::TapAxis;
using lvm::TapGeometry;
using namespace lvm::cuda;

TapGeometry geometry(const std::vector<int>& v) {
  return {v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], 0};
}

// (target, tap, source or -1) of every pixel and tap, phase by phase.
py::list axis(int large, int small, int taps, int stride, int before, bool to_small) {
  py::list found;
  for (int phase = 0; phase < (to_small ? 1 : stride); ++phase) {
    const TapAxis a = to_small ? lvm::taps_to_small(large, small, taps, stride, before)
                               : lvm::taps_to_large(large, small, taps, stride, before, phase);
    for (int r = 0; r < a.count; ++r) {
      for (int t = -1; t < a.taps; ++t) {  // -1: the pixel itself
        const int source = t < 0 ? -1 : a.source(r, t);
        found.append(py::make_tuple(a.target(r), t < 0 ? -1 : a.tap(t), t < 0 || !a.inside(source) ? -1 : source));
      }
    }
  }
  return found;
}

template <class T>
T* at(uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

template <class T>
void bind(py::module_& m, const char* product, const char* outer, const char* pull) {
  m.def(product, [](const std::vector<int>& shape, int depth, int columns, int64_t n, uintptr_t in, uintptr_t weights,
                    uintptr_t bias, uintptr_t out, uintptr_t pre, int64_t activation, bool add, int kernel) {
    tap_product(TapProduct<T>{geometry(shape), depth, columns, n, at<T>(in), at<T>(weights), at<T>(bias), at<T>(out), at<T>(pre),
                              static_cast<lvm::Activation>(activation), add},
                static_cast<TapKernel>(kernel));
  });
  // To `partial`, of the numbers that it returns, and from there to d_w; d_w null: the number only.
  m.def(outer, [](const std::vector<int>& shape, int depth, int columns, int64_t n, uintptr_t in, uintptr_t target,
                  uintptr_t partial, uintptr_t d_w) {
    const TapOuter<T> task{geometry(shape), depth, columns, n, at<T>(in), at<T>(target), at<T>(partial), at<T>(d_w)};
    if (d_w) tap_outer(task);
    return tap_outer_splits(task) * task.shape.taps() * depth * columns;
  });
  m.def(pull, [](int64_t rows, int64_t columns, uintptr_t d, uintptr_t y, uintptr_t g, uintptr_t d_bias, uintptr_t partial,
                 int64_t activation) {
    if (d_bias) {
      tap_pull(TapPull<T>{rows, columns, at<T>(d), at<T>(y), at<T>(g), at<T>(d_bias), at<double>(partial),
                          static_cast<lvm::Activation>(activation)});
    }
    return tap_pull_size<T>(rows, columns);
  });
}

}  // namespace

PYBIND11_MODULE(_shim_taps, m) {
  bind_shim(m);
  m.def("axis", &axis);
  bind<float>(m, "product32", "outer32", "pull32");
  bind<double>(m, "product64", "outer64", "pull64");
}

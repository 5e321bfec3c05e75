// Mixtures of spherical normal distributions on the GPU: a thread takes a point over all centres, or one weight.
#pragma once

#include <cstdint>

#include "algo/mixture_mesh.hpp"
#include "device/cuda.hpp"

namespace lvm {

template <class T>
struct MixtureRows<Cuda, T> {
  static void run(const MixtureTask<T>& task, const MixtureResults<T>& results, int64_t n) {
    Cuda::map(n, MixtureDensityAt<T>{{task, results}});
    if (results.weights) Cuda::map_entries(results.weights_stride, n, MixtureWeightAt<T>{{task, results}});
  }
  static constexpr bool kFused = false;
};

struct MeshRestAt {
  MeshAxes mesh;
  MixtureTask<double> task;
  double* out;
  LVM_HD void operator()(int64_t i) const {
    if (out[i] == out[i]) return;
    double x[kMeshAxes], log_p;
    mesh.point(i, task.d, x);
    MixtureTask<double> point = task;
    point.x = x;
    MixtureDensityAt<double>{{point, {&log_p, nullptr, nullptr, 0}}}(0);
    out[i] = log_p;
  }
};

template <>
struct MeshEnd<Cuda> {
  static void logarithms(const MeshLogarithm& f, int64_t across, int64_t count) { Cuda::map_entries(across, count, f); }
  static void rest(const MeshAxes& mesh, const MixtureTask<double>& task, double* out, int64_t n) {
    Cuda::map(n, MeshRestAt{mesh, task, out});
  }
};

}  // namespace lvm

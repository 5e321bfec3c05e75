// random: draws as functions of a seed and an index.
#pragma once

#include <string>

#include "bind/views.hpp"
#include "core/draws.hpp"

namespace lvm::bind {

template <class Device, class T, class Fill>
void bind_fill(py::module_& m, const char* name, const char* doc, Fill fill) {
  m.def(
      name,
      [fill](DeviceArray<Device, T> out, int64_t start, uint64_t seed) {
        T* target = out.mutable_data();
        const int64_t n = out.size();
        if (start < 0 || start > INT64_MAX - n) throw py::value_error("start must lie in [0, 2^63 - size]");
        py::gil_scoped_release release;
        fill(target, n, start, seed);
      },
      py::arg("out").noconvert(), py::arg("start"), py::arg("seed"), doc);
}

template <class Device, class T>
void bind_polya_gamma(py::module_& m) {
  m.def(
      "fill_polya_gamma",
      [](DeviceArray<Device, T> out, const DeviceArray<Device, T>& b, const DeviceArray<Device, T>& z, int64_t start,
         uint64_t seed) {
        T* target = out.mutable_data();
        const int64_t n = out.size(), b_period = b.size(), z_period = z.size();
        if (start < 0 || start > INT64_MAX - n) throw py::value_error("start must lie in [0, 2^63 - size]");
        if (n > 0 && (b_period == 0 || z_period == 0)) throw py::value_error("b and z must hold numbers");
        const T *b_data = b.data(), *z_data = z.data();
        py::gil_scoped_release release;
        Device::fill_polya_gamma(target, n, start, seed, b_data, b_period, z_data, z_period);
      },
      py::arg("out").noconvert(), py::arg("b").noconvert(), py::arg("z").noconvert(), py::arg("start"),
      py::arg("seed"), "out[i] = PG(b[i % b.size], z[i % z.size]), of element start + i; b > 0, all finite, C order.");
}

// The scalar form, with which the packs of every device are compared.
template <class T>
void scalar_draws_of_words(Distribution distribution, const uint32_t* words, int64_t blocks, T* out) {
  constexpr int K = kDrawsPerBlock<T>;
  for (int64_t b = 0; b < blocks; ++b) {
    const PhiloxWords block = {{words[4 * b], words[4 * b + 1], words[4 * b + 2], words[4 * b + 3]}};
    T x[K];
    switch (distribution) {
      case Distribution::normal: draws_of_block<Distribution::normal>(block, x); break;
      case Distribution::exponential: draws_of_block<Distribution::exponential>(block, x); break;
      default: draws_of_block<Distribution::uniform>(block, x);
    }
    for (int j = 0; j < K; ++j) out[b * K + j] = x[j];
  }
}

inline void bind_philox(py::module_& m) {
  m.def(
      "philox",
      [](const Array<uint32_t>& counter, const Array<uint32_t>& key) {
        check_shape(counter, {-1, 4}, "counter");
        const int64_t n = counter.shape(0);
        check_shape(key, {n, 2}, "key");
        Array<uint32_t> out({n, int64_t(4)});
        const uint32_t *c = counter.data(), *k = key.data();
        uint32_t* words = out.mutable_data();
        {
          py::gil_scoped_release release;
          for (int64_t i = 0; i < n; ++i, c += 4, k += 2, words += 4) {
            const PhiloxWords block = philox4x32({{c[0], c[1], c[2], c[3]}}, k[0], k[1]);
            for (int j = 0; j < 4; ++j) words[j] = block.w[j];
          }
        }
        return out;
      },
      py::arg("counter").noconvert(), py::arg("key").noconvert(),
      "Philox4x32-10 of each row: counter (n, 4) and key (n, 2) to (n, 4), all uint32.");
}

template <class Device, class T>
void bind_draws(py::module_& m) {
  bind_fill<Device, T>(m, "fill_uniform", "out[i] = u, 0 < u < 1, draw start + i; out of any shape, C order.",
               [](T* out, int64_t n, int64_t start, uint64_t seed) { Device::fill_uniform(out, n, start, seed); });
  bind_fill<Device, T>(m, "fill_normal", "out[i] = z, standard normal, draw start + i; out of any shape, C order.",
               [](T* out, int64_t n, int64_t start, uint64_t seed) { Device::fill_normal(out, n, start, seed); });
  bind_fill<Device, T>(m, "fill_exponential", "out[i] = -log(u), draw start + i; out of any shape, C order.",
               [](T* out, int64_t n, int64_t start, uint64_t seed) { Device::fill_exponential(out, n, start, seed); });
}

template <class Device, class T>
void bind_draws_of_words(py::module_& m) {
  m.def(
      "draws_of_words",
      [](const std::string& distribution, const Array<uint32_t>& words, Array<T> out, bool scalar) {
        check_shape(words, {-1, 4}, "words");
        const int64_t blocks = words.shape(0);
        check_shape(out, {blocks, kDrawsPerBlock<T>}, "out");
        const Distribution d = distribution == "normal"        ? Distribution::normal
                               : distribution == "exponential" ? Distribution::exponential
                                                               : Distribution::uniform;
        T* target = out.mutable_data();
        scalar ? scalar_draws_of_words(d, words.data(), blocks, target)
               : Device::draws_of_words(d, words.data(), blocks, target);
      },
      py::arg("distribution"), py::arg("words").noconvert(), py::arg("out").noconvert(), py::arg("scalar"),
      "What the fills make of Philox blocks words (n, 4), by packs or by the scalar form: out (n, draws per block).");
}

template <class Device>
void bind_random(py::module_& m) {
  bind_draws<Device, double>(m);
  bind_draws<Device, float>(m);
  bind_polya_gamma<Device, double>(m);
  bind_polya_gamma<Device, float>(m);
  const auto bits = [](auto* out, int64_t n, int64_t start, uint64_t seed) { Device::fill_bits(out, n, start, seed); };
  bind_fill<Device, uint64_t>(m, "fill_bits", "out[i] = 64 bits of draw start + i.", bits);
  bind_fill<Device, uint32_t>(m, "fill_bits", "out[i] = 32 bits of draw start + i.", bits);
}

}  // namespace lvm::bind

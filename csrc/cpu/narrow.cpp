// Narrow dense networks, rows in packs: a tile of rows through all layers and back.
#include "cpu/arch.hpp"
#include "cpu/narrow_tasks.hpp"
#include "cpu/pack.hpp"

namespace lvm::cpu::LVM_ARCH {
namespace {

constexpr int64_t kTile = kNarrowTile;

// out[f, :] = finish(f, at, start(f) + sum_k w[k k_step + f f_step] in[k, :]) for F numbers f and C packs of rows at a time.
template <class T, int F, int C, class Start, class Finish>
LVM_HD void product_block(const T* w, int64_t k_step, int64_t f_step, int64_t depth, const T* in, int64_t f0, const Start& start,
                          const Finish& finish) {
  using P = Pack<T>;
  for (int64_t at = 0; at < kTile; at += C * P::W) {
    P sum[F][C];
    unroll<F>([&](auto f) LVM_INLINE {
      const P first = start(f0 + f);
      unroll<C>([&](auto c) LVM_INLINE { sum[f][c] = first; });
    });
    const T *row = in + at, *number = w + f0 * f_step;
    for (int64_t k = 0; k < depth; ++k, row += kTile, number += k_step) {
      P x[C];
      unroll<C>([&](auto c) LVM_INLINE { x[c] = P::load(row + c * P::W); });
      unroll<F>([&](auto f) LVM_INLINE {
        const P one(number[f * f_step]);
        unroll<C>([&](auto c) LVM_INLINE { sum[f][c] += one * x[c]; });
      });
    }
    unroll<F>([&](auto f) LVM_INLINE { unroll<C>([&](auto c) LVM_INLINE { finish(f0 + f, at + c * P::W, sum[f][c]); }); });
  }
}
template <class T, class Start, class Finish>
LVM_HD void product(const T* w, int64_t k_step, int64_t f_step, int64_t depth, int64_t count, const T* in, const Start& start,
                    const Finish& finish) {
  int64_t f = 0;
  for (; f + 4 <= count; f += 4) product_block<T, 4, 2>(w, k_step, f_step, depth, in, f, start, finish);
  if (count - f >= 2) product_block<T, 2, 4>(w, k_step, f_step, depth, in, f, start, finish), f += 2;
  if (f < count) product_block<T, 1, 8>(w, k_step, f_step, depth, in, f, start, finish);
}

template <class T>
void forward_layer(const NarrowLayer& layer, const T* theta, const T* in, T* out) {
  using P = Pack<T>;
  with_activation(layer.activation, [&](auto known) LVM_INLINE {
    constexpr Activation kind = decltype(known)::value;
    if constexpr (kind != Activation::gelu) {
      product<T>(
          theta + layer.kernel, layer.outputs, 1, layer.inputs, layer.outputs, in,
          [&](int64_t f) LVM_INLINE { return P(theta[layer.bias + f]); },
          [&](int64_t f, int64_t at, P sum) LVM_INLINE { activated<kind>(sum).store(out + f * kTile + at); });
    }
  });
}

// d[k, :] = slope(y[k, :]) sum_f w[k, f] g[f, :], y being the values of the layer below, whose activation is given.
template <class T>
void pull_layer(const NarrowLayer& layer, const T* theta, const T* g, Activation below, const T* y, T* d) {
  using P = Pack<T>;
  with_activation(below, [&](auto known) LVM_INLINE {
    constexpr Activation kind = decltype(known)::value;
    if constexpr (kind != Activation::gelu) {
      product<T>(
          theta + layer.kernel, 1, layer.outputs, layer.outputs, layer.inputs, g, [&](int64_t) LVM_INLINE { return P(); },
          [&](int64_t k, int64_t at, P sum) LVM_INLINE {
            activation_pull<kind>(sum, P::load(y + k * kTile + at)).store(d + k * kTile + at);
          });
    }
  });
}

// sums[k, f] += sum over rows of in[k] g[f], lane by lane.
template <class T, int K, int F>
LVM_HD void outer_block(const T* in, const T* g, T* sums, int64_t outputs) {
  using P = Pack<T>;
  P sum[K][F];
  unroll<K>([&](auto k) LVM_INLINE {
    unroll<F>([&](auto f) LVM_INLINE { sum[k][f] = P::load(sums + (k * outputs + f) * P::W); });
  });
  for (int64_t at = 0; at < kTile; at += P::W) {
    P x[K];
    unroll<K>([&](auto k) LVM_INLINE { x[k] = P::load(in + k * kTile + at); });
    unroll<F>([&](auto f) LVM_INLINE {
      const P y = P::load(g + f * kTile + at);
      unroll<K>([&](auto k) LVM_INLINE { sum[k][f] += x[k] * y; });
    });
  }
  unroll<K>([&](auto k) LVM_INLINE {
    unroll<F>([&](auto f) LVM_INLINE { sum[k][f].store(sums + (k * outputs + f) * P::W); });
  });
}
template <class T, int F>
LVM_HD void outer_columns(const T* in, int64_t inputs, const T* g, T* sums, int64_t outputs) {
  constexpr int64_t W = Pack<T>::W;
  int64_t k = 0;
  for (; k + 3 <= inputs; k += 3) outer_block<T, 3, F>(in + k * kTile, g, sums + k * outputs * W, outputs);
  if (inputs - k == 2) outer_block<T, 2, F>(in + k * kTile, g, sums + k * outputs * W, outputs);
  if (inputs - k == 1) outer_block<T, 1, F>(in + k * kTile, g, sums + k * outputs * W, outputs);
}
template <class T>
void pull_weights(const NarrowLayer& layer, const T* in, const T* g, T* sums) {
  using P = Pack<T>;
  T *kernel = sums + layer.kernel * P::W, *bias = sums + layer.bias * P::W;
  int64_t f = 0;
  const int64_t last = layer.outputs;
  for (; f + 4 <= last; f += 4) outer_columns<T, 4>(in, layer.inputs, g + f * kTile, kernel + f * P::W, last);
  for (; f < last; ++f) outer_columns<T, 1>(in, layer.inputs, g + f * kTile, kernel + f * P::W, last);
  for (f = 0; f < last; ++f) {
    P lane[4];
    for (int64_t at = 0; at < kTile; at += 4 * P::W) {
      unroll<4>([&](auto c) LVM_INLINE { lane[c] += P::load(g + f * kTile + at + c * P::W); });
    }
    (P::load(bias + f * P::W) + ((lane[0] + lane[1]) + (lane[2] + lane[3]))).store(bias + f * P::W);
  }
}

// The loss of a tile, and g = w's size times the terms' slopes.
template <class T>
double loss_of(const NarrowRatio<T>& task, const T* s, const T* weights, T* g) {
  using P = Pack<T>;
  const P zero(0.0);
  P sum;
  for (int64_t at = 0; at < kTile; at += P::W) {
    const P w = P::load(weights + at), size = abs_(w), there = P::load(s + at);
    int64_t p = 0, q = 0;
    for (int i = 0; i < P::W; ++i) p += w.v[i] > 0, q += w.v[i] < 0;
    const P value = if_less_(zero, size, there, zero);  // rows without effect: 0
    P term, slope;
    if (q == 0) {
      term = ratio_term(task.loss, true, value, slope);
    } else {
      term = ratio_term(task.loss, false, value, slope);
      if (p > 0) {
        P other;
        const P first = ratio_term(task.loss, true, value, other);
        term = if_less_(zero, w, first, term);
        slope = if_less_(zero, w, other, slope);
      }
    }
    sum += size * term;
    (size * slope).store(g + at);
  }
  return sum.sum();
}

template <class T>
int64_t lanes_of_sum() {
  return Pack<T>::W;
}
template <class T>
int64_t scratch(const NarrowRatio<T>& task, bool back) {
  int64_t all = 0, most = 1;
  for (int64_t l = 0; l < task.count; ++l) {
    all += task.layers[l].outputs;
    if (task.layers[l].outputs > most) most = task.layers[l].outputs;
  }
  return (all + (back ? 2 * most : 0)) * kTile;
}
template <class T>
void pack_tile(const T* x, int64_t d, int64_t count, T* tile) {
  for (int64_t j = 0; j < d; ++j) {
    for (int64_t i = 0; i < count; ++i) tile[j * kTile + i] = x[i * d + j];
    for (int64_t i = count; i < kTile; ++i) tile[j * kTile + i] = T(0);
  }
}

template <class T>
void ratio(const NarrowRatio<T>& task, int64_t begin, int64_t end, T* sums, double* loss, T* scratch) {
  const int64_t last = task.count - 1, d = task.layers[0].inputs;
  const T* in[kNarrowLayers];
  T* out[kNarrowLayers];
  T* free = scratch;
  int64_t most = 1;
  for (int64_t l = 0; l <= last; ++l) {
    out[l] = free;
    free += task.layers[l].outputs * kTile;
    if (l) in[l] = out[l - 1];
    if (task.layers[l].outputs > most) most = task.layers[l].outputs;
  }
  T *g = free, *other = free + most * kTile;
  for (int64_t t = begin; t < end; ++t) {
    in[0] = task.x + t * d * kTile;
    for (int64_t l = 0; l <= last; ++l) forward_layer(task.layers[l], task.theta, in[l], out[l]);
    if (task.s) memcpy(task.s + t * kTile, out[last], kTile * sizeof(T));
    if (!task.weights) continue;
    *loss += loss_of(task, out[last], task.weights + t * kTile, sums ? g : out[last]);
    if (!sums) continue;
    for (int64_t l = last; l >= 0; --l) {
      pull_weights(task.layers[l], in[l], g, sums);
      if (!l) break;
      pull_layer(task.layers[l], task.theta, g, task.layers[l - 1].activation, out[l - 1], other);
      T* const swapped = g;
      g = other;
      other = swapped;
    }
  }
}

template <class T>
void reduce(const T* sums, int64_t parts, int64_t parameters, T* gradient) {
  using P = Pack<T>;
  for (int64_t i = 0; i < parameters; ++i) {
    P sum = P::load(sums + i * P::W);
    for (int64_t part = 1; part < parts; ++part) sum += P::load(sums + (part * parameters + i) * P::W);
    gradient[i] = T(sum.sum());
  }
}

template <class T>
constexpr NarrowFunctions<T> narrow_functions() {
  return {lanes_of_sum<T>, scratch<T>, pack_tile<T>, ratio<T>, reduce<T>};
}

}  // namespace

const NarrowFunctions<double> narrow_f64 = narrow_functions<double>();
const NarrowFunctions<float> narrow_f32 = narrow_functions<float>();

}  // namespace lvm::cpu::LVM_ARCH

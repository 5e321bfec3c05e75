// Layers of networks: products over taps with bias and activation, their pull-backs, and the steps of optimizers.
//
// A panel of weights has kNetworkDepth rows of 64 bytes, half of the first cache; the other side is read where it lies, through
// a pointer for every row and tap.
#include "core/activation.hpp"
#include "cpu/arch.hpp"
#include "cpu/network_tiles.hpp"
#include "cpu/transpose.hpp"

namespace lvm::cpu::LVM_ARCH {
namespace {

constexpr int64_t kOuterRows = 96;  // a line of each of so many rows of 256 bytes still has a place in the first cache
LVM_HD bool shallow(int64_t taps, int64_t depth) { return taps > 1 && depth < kShallow; }

// Where the rows of a group lie: f(i, image, row) for rows [begin, end), i from 0.
template <class F>
LVM_HD void for_rows(const TapGroup& g, int64_t begin, int64_t end, const F& f) {
  int64_t image = begin / g.rows, row = begin % g.rows;
  for (int64_t i = 0; i < end - begin; ++i) {
    f(i, image, row);
    if (++row == g.rows) row = 0, ++image;
  }
}

// The taps of rows: pointers[i * row_step + t * tap_step], or, brought together, patches (rows, taps * depth) and one
// pointer for each row. Returns how many taps there are then, and their depth.
struct Taps {
  int64_t count, depth;
};
template <class T>
Taps find_taps(const TapGroup& g, const T* in, int64_t depth, int64_t image_size, const T* zeros, int64_t begin, int64_t end,
               int64_t row_step, int64_t tap_step, const T** pointers, T* patches) {
  if (shallow(g.taps, depth)) {
    const int64_t width = g.taps * depth;
    for_rows(g, begin, end, [&](int64_t i, int64_t image, int64_t row) LVM_INLINE {
      T* to = patches + i * width;
      pointers[i * row_step] = to;
      for (int64_t t = 0; t < g.taps; ++t) {
        const int32_t source = g.source[row * g.taps + t];
        const T* from = source < 0 ? zeros : in + image * image_size + source * depth;
        for (int64_t k = 0; k < depth; ++k) *to++ = from[k];
      }
    });
    return {1, width};
  }
  for_rows(g, begin, end, [&](int64_t i, int64_t image, int64_t row) LVM_INLINE {
    const T* base = in + image * image_size;
    for (int64_t t = 0; t < g.taps; ++t) {
      const int32_t source = g.source[row * g.taps + t];
      pointers[i * row_step + t * tap_step] = source < 0 ? zeros : base + source * depth;
    }
  });
  return {g.taps, depth};
}

// R rows of one column, the terms in packs: weights (taps, depth) of that column.
template <class T, int R>
void narrow_tile(const T* const* a, int64_t a_step, int64_t taps, int64_t depth, const T* weights, T* const* out, int64_t column,
                 bool load) {
  using P = Pack<T>;
  P sum[R];
  T rest[R] = {};
  for (int64_t t = 0; t < taps; ++t, weights += depth) {
    const T* row[R];
    unroll<R>([&](auto r) LVM_INLINE { row[r] = a[r * a_step + t]; });
    int64_t k = 0;
    for (; k + P::W <= depth; k += P::W) {
      const P w = P::load(weights + k);
      unroll<R>([&](auto r) LVM_INLINE { sum[r] += P::load(row[r] + k) * w; });
    }
    for (; k < depth; ++k) unroll<R>([&](auto r) LVM_INLINE { rest[r] += row[r][k] * weights[k]; });
  }
  unroll<R>([&](auto r) LVM_INLINE { out[r][column] = (load ? out[r][column] : T(0)) + (T(sum[r].sum()) + rest[r]); });
}

template <class T, Activation kind>
void activate(T* y, int64_t n, T* pre) {
  using P = Pack<T>;
  for (int64_t j = 0; j < n; j += P::W) {
    const P x = load_some(y + j, n - j);
    if (kind == Activation::gelu && pre) store_some(x, pre + j, n - j);
    store_some(activated<kind>(x), y + j, n - j);
  }
}

// Bias and activation of finished rows.
template <class T>
void finish_rows(const TapProduct<T>& p, T* const* out, int64_t rows, int64_t first, int64_t last) {
  with_activation(p.activation, [&](auto known) LVM_INLINE {
    constexpr Activation kind = decltype(known)::value;
    if (!p.group.target && last - first == p.columns && p.columns < Pack<T>::W) {  // all of it lies together
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = 0; j < p.columns; ++j) out[i][j] += p.bias[j];
      }
      activate<T, kind>(out[0], rows * p.columns, p.pre ? p.pre + (out[0] - p.out) : nullptr);
    } else {
      for (int64_t i = 0; i < rows; ++i) {
        finish<T, kind>(out[i] + first, p.bias + first, last - first, p.pre ? p.pre + (out[i] - p.out) + first : nullptr);
      }
    }
  });
}

template <class Step>
void steps(const Step& step, int64_t begin, int64_t end) {
  using T = std::remove_reference_t<decltype(*step.theta)>;
  with_numbers<T>(step, [&](T scale, T rate) LVM_INLINE {
#pragma GCC ivdep
    for (int64_t i = begin; i < end; ++i) step.step(i, scale, rate);
  });
}

}  // namespace

template <class T>
int64_t network_panel() {
  return kPanel<T>;
}

template <class T>
void pack_weights(const T* weights, const int32_t* order, int64_t taps, int64_t depth, int64_t columns, bool transposed,
                  int64_t first, int64_t last, T* packed) {
  const int64_t k_step = transposed ? 1 : columns, j_step = transposed ? depth : 1;
  if (columns <= kNarrow) {
    for (int64_t j = first; j < last; ++j) {
      for (int64_t t = 0; t < taps; ++t) {
        const T* from = weights + order[t] * depth * columns + j * j_step;
        T* to = packed + (j * taps + t) * depth;
        for (int64_t k = 0; k < depth; ++k) to[k] = from[k * k_step];
      }
    }
    return;
  }
  using P = Pack<T>;
  for (int64_t j = first; j < last; j += kPanel<T>) {
    const int64_t width = least(kPanel<T>, columns - j);
    for (int64_t t = 0; t < taps; ++t) {
      const T* from = weights + order[t] * depth * columns + j * j_step;
      T* to = packed + (j * taps + t * kPanel<T>) * depth;
      for (int64_t c = 0; c < kPanel<T>; c += P::W) {  // half a panel
        int64_t k = 0;
        if (width >= c + P::W && transposed) {
          for (; k + P::W <= depth; k += P::W) {
            P rows[P::W];
            load_rows_transposed<T, P::W>([&](int i) LVM_INLINE { return from + (c + i) * depth + k; }, rows);
            unroll<P::W>([&](auto r) LVM_INLINE { rows[r].store(to + (k + r) * kPanel<T> + c); });
          }
        } else if (width >= c + P::W) {
          for (; k < depth; ++k) P::load(from + k * columns + c).store(to + k * kPanel<T> + c);
        }
        for (; k < depth; ++k) {
          for (int64_t i = c; i < c + P::W; ++i) to[k * kPanel<T> + i] = i < width ? from[i * j_step + k * k_step] : T(0);
        }
      }
    }
  }
}

template <class T>
int64_t product_scratch(int64_t taps, int64_t depth) {
  return kNetworkRows * (taps + 1) * sizeof(T*) + (shallow(taps, depth) ? kNetworkRows * taps * depth * sizeof(T) : 0);
}

template <class T>
void tap_product(const TapProduct<T>& p, int64_t begin, int64_t end, int64_t first, int64_t last, void* scratch) {
  const TapGroup& g = p.group;
  const int64_t rows = end - begin;
  T** out = static_cast<T**>(scratch);
  const T** a = const_cast<const T**>(out + rows);
  T* patches = reinterpret_cast<T*>(a + rows * (g.taps > 0 ? g.taps : 1));
  for_rows(g, begin, end, [&](int64_t i, int64_t image, int64_t row) LVM_INLINE {
    out[i] = p.out + image * p.target_image + (g.target ? g.target[row] : row) * p.columns;
  });
  const Taps taps = find_taps(g, p.in, p.depth, p.source_image, p.zeros, begin, end, g.taps, int64_t(1), a, patches);
  const int64_t a_step = g.taps;
  if (p.columns <= kNarrow) {
    for (int64_t j = first; j < last; ++j) {
      const T* weights = p.weights + (j * p.taps + g.first) * p.depth;
      int64_t i = 0;
      for (; i + 4 <= rows; i += 4) narrow_tile<T, 4>(a + i * a_step, a_step, taps.count, taps.depth, weights, out + i, j, p.add);
      for (; i < rows; ++i) narrow_tile<T, 1>(a + i * a_step, a_step, taps.count, taps.depth, weights, out + i, j, p.add);
    }
  } else {
    // Equal parts of the sums, each no longer than kNetworkDepth.
    const int64_t parts = (taps.depth + kNetworkDepth - 1) / kNetworkDepth, depth = (taps.depth + parts - 1) / parts;
    const int64_t most = kNetworkDepth / depth, tap_parts = (taps.count + most - 1) / most;
    const int64_t taps_at_once = tap_parts > 0 ? (taps.count + tap_parts - 1) / tap_parts : 1;
    bool load = p.add;
    for (int64_t t0 = 0; t0 < taps.count || t0 == 0; t0 += taps_at_once) {
      const int64_t t1 = least(taps.count, t0 + taps_at_once);
      for (int64_t k0 = 0; k0 < taps.depth; k0 += depth) {
        const int64_t k1 = least(taps.depth, k0 + depth);
        for (int64_t j = first; j < last; j += kPanel<T>) {
          const T* panel = p.weights + (j * p.taps + g.first * kPanel<T>) * p.depth;
          const int64_t width = least(kPanel<T>, p.columns - j);
          T* to[kRows];
          for (int64_t i = 0; i < rows; i += kRows) {
            const int64_t count = least(kRows, rows - i);
            for (int64_t r = 0; r < count; ++r) to[r] = out[i + r] + j;
            product_rest<T, kRows>(count, a + i * a_step, a_step, t0, t1, k0, k1, taps.depth, panel, to, width, load);
          }
        }
        load = true;
      }
    }
  }
  if (p.bias) finish_rows(p, out, rows, first, last);
}

template <class T>
int64_t outer_scratch(int64_t taps, int64_t depth) {
  const int64_t patches = shallow(taps, depth) ? kOuterRows * taps * depth * sizeof(T) : 0;
  return kOuterRows * (taps + 1) * sizeof(T*) + kOuterRows * kPanel<T> * sizeof(T) + patches + 64;
}

template <class T>
void tap_outer(const TapOuter<T>& p, int64_t begin, int64_t end, int64_t first, int64_t last, void* scratch) {
  const TapGroup& g = p.group;
  T* panel = static_cast<T*>(scratch);
  const T** targets = reinterpret_cast<const T**>(panel + kOuterRows * kPanel<T>);
  const T** a = targets + kOuterRows;
  T* patches = reinterpret_cast<T*>(a + kOuterRows * g.taps);
  bool load = p.add;
  for (int64_t from = begin; from < end; from += kOuterRows, load = true) {
    const int64_t to = least(end, from + kOuterRows), rows = to - from;
    for_rows(g, from, to, [&](int64_t i, int64_t image, int64_t row) LVM_INLINE {
      targets[i] = p.target + image * p.target_image + (g.target ? g.target[row] : row) * p.columns;
    });
    const Taps taps = find_taps(g, p.in, p.depth, p.source_image, p.zeros, from, to, int64_t(1), kOuterRows, a, patches);
    for (int64_t j = first; j < last; j += kPanel<T>) {
      const int64_t width = least(kPanel<T>, p.columns - j);
      for (int64_t i = 0; i < rows; ++i) {
        T* row = panel + i * kPanel<T>;
        for (int half = 0; half < 2; ++half) {
          const int64_t at = half * Pack<T>::W;
          (width > at ? load_some(targets[i] + j + at, width - at) : Pack<T>()).store(row + at);
        }
      }
      for (int64_t t = 0; t < taps.count; ++t) {
        T* result = p.result + (g.first + t) * taps.depth * p.columns + j;
        if (taps.count < g.taps) result = p.result + g.first * p.depth * p.columns + j;
        for (int64_t k = 0; k < taps.depth; k += kRows) {
          outer_rest<T, kRows>(least(kRows, taps.depth - k), a + t * kOuterRows, k, rows, panel, result + k * p.columns,
                               p.columns, width, load);
        }
      }
    }
  }
}

template <class T>
void pull_activation(Activation activation, int64_t rows, int64_t columns, const T* d, const T* y, T* g, double* sums) {
  using P = Pack<T>;
  with_activation(activation, [&](auto known) LVM_INLINE {
    constexpr Activation kind = decltype(known)::value;
    const int64_t block = columns < 64 ? 4096 / columns : 64;  // stays in the first cache
    for (int64_t row = 0; row < rows; row += block) {
      const int64_t count = least(block, rows - row), n = count * columns;
      const T* made = d + row * columns;
      if (kind != Activation::linear) {
        T* to = g + row * columns;
        const T *from = made, *at = y + row * columns;
        for (int64_t i = 0; i < n; i += P::W) {
          store_some(activation_pull<kind>(load_some(from + i, n - i), load_some(at + i, n - i)), to + i, n - i);
        }
        made = to;
      }
      for (int64_t j = 0; j < columns;) {
        if (columns - j < P::W) {
          double sum = 0;
          for (int64_t i = 0; i < count; ++i) sum += double(made[i * columns + j]);
          sums[j++] += sum;
          continue;
        }
        P sum;
        for (int64_t i = 0; i < count; ++i) sum += P::load(made + i * columns + j);
        for (int64_t c = 0; c < P::W; ++c) sums[j + c] += double(sum.v[c]);
        j += P::W;
      }
    }
  });
}

template <class T>
void adam(const AdamStep<T>& step, int64_t begin, int64_t end) {
  steps(step, begin, end);
}
template <class T>
void rmsprop(const RmspropStep<T>& step, int64_t begin, int64_t end) {
  steps(step, begin, end);
}
template <class T>
void sgd(const SgdStep<T>& step, int64_t begin, int64_t end) {
  steps(step, begin, end);
}

template <class T>
double square_sum(const T* x, int64_t n) {
  double lanes[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (int c = 0; c < 8; ++c) lanes[c] += double(x[i + c]) * double(x[i + c]);
  }
  for (; i < n; ++i) lanes[0] += double(x[i]) * double(x[i]);
  return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

namespace {
template <class T>
constexpr NetworkFunctions<T> network_functions() {
  return {network_panel<T>, pack_weights<T>,    tap_product<T>, product_scratch<T>, tap_outer<T>, outer_scratch<T>,
          pull_activation<T>, adam<T>, rmsprop<T>, sgd<T>, square_sum<T>, winograd_weights<T>, winograd_product<T>,
          winograd_outer<T>, winograd_scratch<T>, decoder_terms<T>, add_rows<T>, add_variance_slopes<T>};
}
}  // namespace

// Addresses alone: nothing runs before they can be read.
const NetworkFunctions<double> network_f64 = network_functions<double>();
const NetworkFunctions<float> network_f32 = network_functions<float>();

}  // namespace lvm::cpu::LVM_ARCH

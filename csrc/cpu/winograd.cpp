// Winograd's convolution F(2 x 2, 3 x 3), its adjoint and the gradient by its kernel (see WinogradImage).
#include "cpu/arch.hpp"
#include "cpu/network_tiles.hpp"

namespace lvm::cpu::LVM_ARCH {
namespace {

constexpr int kPoints = 16;
constexpr int64_t kAtOnce = kWinogradBlocks;

LVM_HD int64_t whole_panels(int64_t columns, int64_t panel) { return (columns + panel - 1) / panel * panel; }

// f(i, image, row, col): the first result pixel of blocks [begin, end), i from 0.
template <class F>
LVM_HD void for_blocks(const WinogradImage& s, int64_t begin, int64_t end, const F& f) {
  const int64_t cols = s.block_cols(), all = s.blocks();
  for (int64_t b = begin; b < end; ++b) {
    const int64_t inside = b % all;
    f(b - begin, b / all, 2 * (inside / cols), 2 * (inside % cols));
  }
}

// v[point * stride + i * depth + k] = B^T d B.
template <class T>
void transform_inputs(const WinogradImage& s, const T* in, const T* zeros, int64_t depth, int64_t begin, int64_t end, T* v,
                      int64_t stride) {
  using P = Pack<T>;
  for_blocks(s, begin, end, [&](int64_t i, int64_t image, int64_t row, int64_t col) LVM_INLINE {
    const T* from[kPoints];
    for (int u = 0; u < 4; ++u) {
      for (int w = 0; w < 4; ++w) {
        const int64_t r = row - s.top + u, c = col - s.left + w;
        const bool inside = r >= 0 && r < s.in_rows && c >= 0 && c < s.in_cols;
        from[4 * u + w] = inside ? in + ((image * s.in_rows + r) * s.in_cols + c) * depth : zeros;
      }
    }
    T* to = v + i * depth;
    for (int64_t k = 0; k < depth; k += P::W) {
      const int64_t count = depth - k;
      P t[4][4];
      unroll<4>([&](auto w) LVM_INLINE {
        const P d0 = load_some(from[w] + k, count), d1 = load_some(from[4 + w] + k, count);
        const P d2 = load_some(from[8 + w] + k, count), d3 = load_some(from[12 + w] + k, count);
        t[0][w] = d0 - d2;
        t[1][w] = d1 + d2;
        t[2][w] = d2 - d1;
        t[3][w] = d1 - d3;
      });
      unroll<4>([&](auto u) LVM_INLINE {
        T* point = to + 4 * u * stride + k;
        store_some(t[u][0] - t[u][2], point, count);
        store_some(t[u][1] + t[u][2], point + stride, count);
        store_some(t[u][2] - t[u][1], point + 2 * stride, count);
        store_some(t[u][1] - t[u][3], point + 3 * stride, count);
      });
    }
  });
}

// out = A^T m A with bias and activation.
template <class T, Activation kind>
void transform_results(const WinogradProduct<T>& p, const T* m, int64_t width, int64_t stride, int64_t begin, int64_t end) {
  using P = Pack<T>;
  const WinogradImage& s = p.image;
  for_blocks(s, begin, end, [&](int64_t i, int64_t image, int64_t row, int64_t col) LVM_INLINE {
    const T* from = m + i * width;
    for (int64_t j = 0; j < p.columns; j += P::W) {
      const int64_t count = p.columns - j;
      P t[2][4];
      unroll<4>([&](auto w) LVM_INLINE {
        const P m0 = P::load(from + w * stride + j), m1 = P::load(from + (4 + w) * stride + j);
        const P m2 = P::load(from + (8 + w) * stride + j), m3 = P::load(from + (12 + w) * stride + j);
        t[0][w] = m0 + (m1 + m2);
        t[1][w] = (m1 - m2) - m3;
      });
      for (int u = 0; u < 2 && row + u < s.out_rows; ++u) {
        for (int w = 0; w < 2 && col + w < s.out_cols; ++w) {
          const int64_t at = ((image * s.out_rows + row + u) * s.out_cols + col + w) * p.columns + j;
          P y = w == 0 ? t[u][0] + (t[u][1] + t[u][2]) : (t[u][1] - t[u][2]) - t[u][3];
          if (p.add) y += load_some(p.out + at, count);
          if (p.bias) {
            y += load_some(p.bias + j, count);
            if (kind == Activation::gelu && p.pre) store_some(y, p.pre + at, count);
            y = activated<kind>(y);
          }
          store_some(y, p.out + at, count);
        }
      }
    }
  });
}

// panels (point, panel, block, kPanel) of A y A^T.
template <class T>
void transform_targets(const WinogradOuter<T>& p, int64_t begin, int64_t end, T* panels, int64_t stride) {
  using P = Pack<T>;
  const WinogradImage& s = p.image;
  for_blocks(s, begin, end, [&](int64_t i, int64_t image, int64_t row, int64_t col) LVM_INLINE {
    const T* from[4];
    for (int c = 0; c < 4; ++c) {
      const int64_t r = row + c / 2, q = col + c % 2;
      from[c] = r < s.out_rows && q < s.out_cols ? p.target + ((image * s.out_rows + r) * s.out_cols + q) * p.columns : p.zeros;
    }
    for (int64_t j = 0; j < whole_panels(p.columns, kPanel<T>); j += P::W) {
      const int64_t count = p.columns - j;
      P y[4];
      if (count > 0) unroll<4>([&](auto c) LVM_INLINE { y[c] = load_some(from[c] + j, count); });
      const P t[4][2] = {{y[0], y[1]}, {y[0] + y[2], y[1] + y[3]}, {y[0] - y[2], y[1] - y[3]}, {P() - y[2], P() - y[3]}};
      T* to = panels + (j / kPanel<T> * kAtOnce + i) * kPanel<T> + j % kPanel<T>;
      unroll<4>([&](auto u) LVM_INLINE {
        t[u][0].store(to + 4 * u * stride);
        (t[u][0] + t[u][1]).store(to + (4 * u + 1) * stride);
        (t[u][0] - t[u][1]).store(to + (4 * u + 2) * stride);
        (P() - t[u][1]).store(to + (4 * u + 3) * stride);
      });
    }
  });
}

}  // namespace

template <class T>
int64_t winograd_scratch(int64_t depth, int64_t columns) {
  return kPoints * kAtOnce * (depth + whole_panels(columns, kPanel<T>)) * sizeof(T) + 128;
}

template <class T>
void winograd_weights(const T* weights, int64_t depth, int64_t columns, bool turned, int64_t first, int64_t last, T* packed) {
  const int64_t tap = depth * columns, stride = depth * whole_panels(columns, kPanel<T>);
  for (int64_t j = first; j < last; j += kPanel<T>) {
    const int64_t width = least(kPanel<T>, columns - j);
    for (int64_t k = 0; k < depth; ++k) {
      for (int64_t c = 0; c < kPanel<T>; ++c) {
        T* to = packed + (j * depth + k * kPanel<T>) + c;
        T g[3][3] = {};
        if (c < width) {
          const T* from = weights + (turned ? (j + c) * depth + k : k * columns + j + c);
          for (int t = 0; t < 9; ++t) g[t / 3][t % 3] = from[(turned ? 8 - t : t) * tap];
        }
        T h[4][3];
        for (int v = 0; v < 3; ++v) {
          const T sum = T(0.5) * (g[0][v] + g[2][v]), middle = T(0.5) * g[1][v];
          h[0][v] = g[0][v];
          h[1][v] = sum + middle;
          h[2][v] = sum - middle;
          h[3][v] = g[2][v];
        }
        for (int u = 0; u < 4; ++u) {
          const T sum = T(0.5) * (h[u][0] + h[u][2]), middle = T(0.5) * h[u][1];
          to[4 * u * stride] = h[u][0];
          to[(4 * u + 1) * stride] = sum + middle;
          to[(4 * u + 2) * stride] = sum - middle;
          to[(4 * u + 3) * stride] = h[u][2];
        }
      }
    }
  }
}

template <class T>
void winograd_product(const WinogradProduct<T>& p, int64_t begin, int64_t end, void* scratch) {
  const int64_t rows = end - begin, width = whole_panels(p.columns, kPanel<T>);
  T* v = static_cast<T*>(scratch);
  T* m = v + kPoints * kAtOnce * p.depth;
  transform_inputs(p.image, p.in, p.zeros, p.depth, begin, end, v, kAtOnce * p.depth);
  const T* a[kAtOnce];
  T* out[kRows];
  for (int point = 0; point < kPoints; ++point) {
    for (int64_t i = 0; i < rows; ++i) a[i] = v + (point * kAtOnce + i) * p.depth;
    T* to = m + point * kAtOnce * width;
    for (int64_t k0 = 0; k0 < p.depth; k0 += kNetworkDepth) {
      for (int64_t j = 0; j < width; j += kPanel<T>) {
        const T* panel = p.weights + (point * width + j) * p.depth;
        for (int64_t i = 0; i < rows; i += kRows) {
          const int64_t count = least(kRows, rows - i);
          for (int64_t r = 0; r < count; ++r) out[r] = to + (i + r) * width + j;
          product_rest<T, kRows>(count, a + i, 1, 0, 1, k0, least(p.depth, k0 + kNetworkDepth), p.depth, panel, out, kPanel<T>,
                                 k0 > 0);
        }
      }
    }
  }
  with_activation(p.bias ? p.activation : Activation::linear, [&](auto known) LVM_INLINE {
    transform_results<T, decltype(known)::value>(p, m, width, kAtOnce * width, begin, end);
  });
}

template <class T>
void winograd_outer(const WinogradOuter<T>& p, int64_t begin, int64_t end, void* scratch) {
  const int64_t width = whole_panels(p.columns, kPanel<T>);
  T* v = static_cast<T*>(scratch);
  T* panels = v + kPoints * kAtOnce * p.depth;
  const T* a[kAtOnce];
  for (int64_t from = begin; from < end; from += kAtOnce) {
    const int64_t to = least(end, from + kAtOnce), rows = to - from;
    transform_inputs(p.image, p.in, p.zeros, p.depth, from, to, v, kAtOnce * p.depth);
    transform_targets(p, from, to, panels, kAtOnce * width);
    for (int point = 0; point < kPoints; ++point) {
      for (int64_t i = 0; i < rows; ++i) a[i] = v + (point * kAtOnce + i) * p.depth;
      for (int64_t j = 0; j < p.columns; j += kPanel<T>) {
        const T* panel = panels + (point * width + j) * kAtOnce;
        T* result = p.result + point * p.depth * p.columns + j;
        for (int64_t k = 0; k < p.depth; k += kRows) {
          outer_rest<T, kRows>(least(kRows, p.depth - k), a, k, rows, panel, result + k * p.columns, p.columns,
                               least(kPanel<T>, p.columns - j), from > begin);
        }
      }
    }
  }
}

#define LVM_INSTANTIATE(T)                                                                                \
  template int64_t winograd_scratch<T>(int64_t, int64_t);                                                 \
  template void winograd_weights<T>(const T*, int64_t, int64_t, bool, int64_t, int64_t, T*);              \
  template void winograd_product<T>(const WinogradProduct<T>&, int64_t, int64_t, void*);                  \
  template void winograd_outer<T>(const WinogradOuter<T>&, int64_t, int64_t, void*);
LVM_INSTANTIATE(double)
LVM_INSTANTIATE(float)
#undef LVM_INSTANTIATE

}  // namespace lvm::cpu::LVM_ARCH

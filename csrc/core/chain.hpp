// Chains of bijectors: maps of numbers and of vectors with their log-dets, and programs of them.
#pragma once

#include "core/activation.hpp"
#include "core/config.hpp"
#include "core/special.hpp"

namespace lvm {

// What packs have versions of their own for. log x for every x (the log_ of packs is for positive normal numbers);
// exp(x) - 1 for x <= 0 (above, what the logarithm of its negative calls NaN); artanh x for 0 <= x < 1.
LVM_HD double log_any_(double x) { return log_(x); }
LVM_HD float log_any_(float x) { return log_(x); }
LVM_HD double expm1_below_(double x) { return expm1_(x); }
LVM_HD float expm1_below_(float x) { return expm1_(x); }
LVM_HD double atanh_(double x) { return 0.5 * log1p_(2 * x / (1 - x)); }
LVM_HD float atanh_(float x) { return 0.5f * log1p_(2 * x / (1 - x)); }
LVM_HD double if_nan_(double x, double yes, double no) { return x != x ? yes : no; }
LVM_HD float if_nan_(float x, float yes, float no) { return x != x ? yes : no; }

// sinh x, and e = exp(-|x|).
template <class P>
LVM_HD P sinh_of(P x, P& e) {
  const P size = abs_(x), large = exp_(size);
  e = P(1.0) / large;
  P n, d;
  tanh_parts(x, n, d);  // tanh t = t n / d with t = x here: sinh x = tanh x / sqrt(1 - tanh^2 x)
  const P t = x * n / d, s = P(0.5) * (large - e);
  return if_less_(size, P(0.5), t / sqrt_((P(1.0) - t) * (P(1.0) + t)), if_less_(x, P(0.0), P(0.0) - s, s));
}

// asinh x, and e = exp(-|asinh x|).
template <class P>
LVM_HD P asinh_of(P x, P& e) {
  const P size = abs_(x), r = P(1.0) / size;
  const P more = size + size / (r + sqrt_(r * r + P(1.0)));  // |x| + x^2 / (1 + sqrt(1 + x^2)) = exp(|asinh x|) - 1
  e = P(1.0) / (P(1.0) + more);
  const P value = if_less_(large_(more), more, more, log1p_(more));
  return if_less_(x, P(0.0), P(0.0) - value, value);
}

// One step of a chain: a map of numbers with parameters a, or one of vectors. A step is coded as 2 op + (1: its inverse).
enum class ChainOp : int64_t {
  shift, scale, exp, softplus, sigmoid, tanh, power, sinh_arcsinh, standardise, tril, permute, banana, ordered
};

template <bool ordinary, class P>
LVM_HD P log_of(P x) {
  if constexpr (ordinary) return log_(x);
  return log_any_(x);
}

// y = f(x), or x = f^{-1}(y) (inverse), and `slope`: the logarithm of |dy/dx| or |dx/dy| but for a part that is the same for
// every x. Numbers outside the range become NaN, those at its end an infinity.
//   shift x + a; scale a x; softplus a + log(1 + exp x); sigmoid a + (b - a) / (1 + exp(-x)), c = 2 log(b - a); power x^a;
//   sinh_arcsinh sinh((asinh x + a) b) c; standardise (x - a) b
// ordinary: margin() of every x is positive and normal.
template <ChainOp op, bool inverse, bool ordinary, class P>
LVM_HD P mapped(P x, const P* a, P& slope) {
  const P zero(0.0), one(1.0);
  slope = zero;
  if constexpr (op == ChainOp::shift) {
    return inverse ? x - a[0] : x + a[0];
  } else if constexpr (op == ChainOp::scale) {
    return inverse ? x / a[0] : x * a[0];
  } else if constexpr (op == ChainOp::standardise) {
    return inverse ? x / a[1] + a[0] : (x - a[0]) * a[1];
  } else if constexpr (op == ChainOp::exp) {
    if constexpr (inverse) {
      const P l = log_of<ordinary>(x);
      slope = zero - l;
      return l;
    } else {
      slope = x;
      return exp_(x);
    }
  } else if constexpr (op == ChainOp::softplus) {
    if constexpr (inverse) {
      const P y = x - a[0], l = log_of<ordinary>(zero - expm1_below_(zero - y));  // dy/dx = 1 - exp(-y)
      slope = zero - l;
      return y + l;
    } else {
      const P l = log1p_(exp_(zero - abs_(x)));
      slope = zero - max_(zero - x, zero) - l;
      return a[0] + (max_(x, zero) + l);
    }
  } else if constexpr (op == ChainOp::sigmoid) {
    if constexpr (inverse) {
      const P low = log_of<ordinary>(x - a[0]), high = log_of<ordinary>(a[1] - x);
      slope = a[2] - (low + high);
      return low - high;
    } else {
      const P e = exp_(zero - abs_(x)), s = one / (one + e);
      slope = zero - abs_(x) - P(2.0) * log1p_(e);
      return if_less_(x, zero, a[0] + (a[1] - a[0]) * (e * s), a[1] - (a[1] - a[0]) * (e * s));
    }
  } else if constexpr (op == ChainOp::tanh) {
    if constexpr (inverse && ordinary) {
      const P size = abs_(x), value = atanh_(size);
      slope = zero - log_((one - size) * (one + size));
      return if_less_(x, zero, zero - value, value);
    } else if constexpr (inverse) {
      // NaN beyond 1; the log1p_ of a pack holds between -1 and 0 as well
      const P nan = log_any_(P(-1.0)), y = if_less_(one, abs_(x), nan, x), up = log1p_(abs_(y));
      const P down = if_less_(abs_(y), one, log1p_(zero - abs_(y)), zero - P(INFINITY));
      slope = zero - (up + down);
      const P value = P(0.5) * (up - down);
      return if_less_(x, zero, zero - value, value);
    } else {
      const P size = abs_(x);
      slope = P(2.0) * (P(0.693147180559945309417) - size - log1p_(exp_(P(-2.0) * size)));
      return tanh_of(x);
    }
  } else if constexpr (op == ChainOp::power) {
    if constexpr (inverse) {
      const P l = log_of<ordinary>(x) / a[0];
      slope = (one - a[0]) * l;
      return exp_(l);
    } else {
      const P l = log_of<ordinary>(x);
      slope = (a[0] - one) * l;
      return exp_(a[0] * l);
    }
  } else {
    static_assert(op == ChainOp::sinh_arcsinh, "a map of numbers");
    // log cosh u = |u| + log(1 + exp(-2 |u|)) - log 2; here of u = asinh x and of v, the argument of sinh
    P e, e_v;
    const P u = asinh_of(inverse ? x / a[2] : x, e), v = inverse ? u / a[1] - a[0] : (u + a[0]) * a[1];
    const P value = sinh_of(v, e_v);
    slope = (abs_(v) - abs_(u)) + log_((one + e_v * e_v) / (one + e * e));
    return inverse ? value : value * a[2];
  }
}

// What has to be positive and normal for a step to be ordinary; 1 where all are.
template <ChainOp op, bool inverse, class P>
LVM_HD P margin(P x, const P* a) {
  if constexpr (op == ChainOp::power || (op == ChainOp::exp && inverse)) return x;
  if constexpr (op == ChainOp::softplus && inverse) return x - a[0];
  if constexpr (op == ChainOp::sigmoid && inverse) return if_less_(x - a[0], a[1] - x, x - a[0], a[1] - x);
  if constexpr (op == ChainOp::tanh && inverse) return P(1.0) - abs_(x);
  return P(1.0);
}
template <ChainOp op, bool inverse>
constexpr bool kHasMargin = op == ChainOp::power || (inverse && (op == ChainOp::exp || op == ChainOp::softplus ||
                                                                 op == ChainOp::sigmoid || op == ChainOp::tanh));

// f(op, inverse), known to the compiler, for a map of numbers; false for one of vectors.
template <ChainOp op, bool inverse>
struct KnownStep {
  static constexpr ChainOp kOp = op;
  static constexpr bool kInverse = inverse;
};
template <bool inverse, class F>
LVM_HD bool with_map(ChainOp op, const F& f) {
  switch (op) {
    case ChainOp::shift: f(KnownStep<ChainOp::shift, inverse>()); return true;
    case ChainOp::scale: f(KnownStep<ChainOp::scale, inverse>()); return true;
    case ChainOp::exp: f(KnownStep<ChainOp::exp, inverse>()); return true;
    case ChainOp::softplus: f(KnownStep<ChainOp::softplus, inverse>()); return true;
    case ChainOp::sigmoid: f(KnownStep<ChainOp::sigmoid, inverse>()); return true;
    case ChainOp::tanh: f(KnownStep<ChainOp::tanh, inverse>()); return true;
    case ChainOp::power: f(KnownStep<ChainOp::power, inverse>()); return true;
    case ChainOp::sinh_arcsinh: f(KnownStep<ChainOp::sinh_arcsinh, inverse>()); return true;
    case ChainOp::standardise: f(KnownStep<ChainOp::standardise, inverse>()); return true;
    default: return false;
  }
}

// How many parameters a map of numbers has.
LVM_HD int64_t parameters_of(ChainOp op) {
  return op == ChainOp::exp || op == ChainOp::tanh               ? 0
         : op == ChainOp::standardise                            ? 2
         : op == ChainOp::sigmoid || op == ChainOp::sinh_arcsinh ? 3
                                                                 : 1;
}

// A program: what happens to a point of d numbers, step by step. Step s is code[s] with parameters from numbers[at[s]] on;
// those of a map of numbers are `count[s]` each, 1 or d. A lower triangle lies row after row; a permutation holds the source
// of every place. base: what the density of the end is besides its constant, 0: nothing; 1: exp(-|(x - a) b|^2 / 2) with a, b
// from numbers[base_at] on, base_count each, 1 or d; 2: 1 between numbers[base_at] and numbers[base_at + 1], else 0.
constexpr int64_t kChainSteps = 24, kChainNumbers = 384, kChainPoint = 16;
enum class ChainBase : int64_t { none, normal, uniform };
struct ChainProgram {
  int64_t d, steps;
  ChainBase base;
  int64_t base_at, base_count;
  double constant;
  int64_t code[kChainSteps], at[kChainSteps], count[kChainSteps];
  double numbers[kChainNumbers];

  LVM_HD ChainOp op(int64_t s) const { return static_cast<ChainOp>(code[s] / 2); }
  LVM_HD bool inverse(int64_t s) const { return code[s] % 2 != 0; }
};

// One step for vectors. x holds points of d numbers: number j of point i is x(j, i), P the points that go together.
template <bool inverse, class P, class Get>
LVM_HD void vector_step(const ChainProgram& p, int64_t s, const Get& x, P& log_det) {
  const double* a = p.numbers + p.at[s];
  if (p.op(s) == ChainOp::banana) {  // y_2 = x_2 - x_1^2 - 1
    x(1) = inverse ? x(1) + x(0) * x(0) + P(1.0) : x(1) - x(0) * x(0) - P(1.0);
  } else if (p.op(s) == ChainOp::tril) {
    for (int64_t k = 0; k < p.d; ++k) {
      const int64_t i = inverse ? k : p.d - 1 - k;
      const double* row = a + i * (i + 1) / 2;
      P sum = inverse ? x(i) : P(row[i]) * x(i);
      for (int64_t j = 0; j < i; ++j) {
        const P term = P(row[j]) * x(j);
        sum = inverse ? sum - term : sum + term;
      }
      x(i) = inverse ? sum / P(row[i]) : sum;
    }
  } else if (p.op(s) == ChainOp::permute) {
    P moved[kChainPoint];
    for (int64_t j = 0; j < p.d; ++j) {
      const int64_t source = static_cast<int64_t>(a[j]);
      moved[inverse ? source : j] = x(inverse ? j : source);
    }
    for (int64_t j = 0; j < p.d; ++j) x(j) = moved[j];
  } else {  // y_1 = x_1, y_k = y_{k-1} + exp(x_k)
    for (int64_t k = 1; k < p.d; ++k) {
      const int64_t i = inverse ? p.d - k : k;
      const P step = inverse ? log_any_(x(i) - x(i - 1)) : x(i);
      log_det = inverse ? log_det - step : log_det + step;
      x(i) = inverse ? step : x(i - 1) + exp_(step);
    }
  }
}

// The logarithm of a density: log_det + that of the base at x, or NaN where that is not a number.
template <class P, class Get>
LVM_HD P finished(const ChainProgram& p, const Get& x, P log_det) {
  const double* a = p.numbers + p.base_at;
  log_det = log_det + P(p.constant);
  if (p.base == ChainBase::normal) {
    P squares(0.0);
    for (int64_t j = 0; j < p.d; ++j) {
      const int64_t k = p.base_count == 1 ? 0 : j;
      const P z = (x(j) - P(a[k])) * P(a[p.base_count + k]);
      squares = squares + z * z;
    }
    return log_det - P(0.5) * squares;
  }
  const P lowest = P(0.0) - P(INFINITY);
  for (int64_t j = 0; j < p.d; ++j) {
    const P here = log_det + P(0.0) * x(j);  // a NaN stays
    log_det = if_less_(x(j), P(a[0]), lowest, if_less_(P(a[1]), x(j), lowest, here));
  }
  return log_det;
}

// Points (n, d) through a program: out (n, d) where they end, or null; log_det (n,), or null: the program's log-det, or with a
// base the logarithm of the density.
template <class T>
struct ChainPoints {
  ChainProgram program;
  const T* in;
  T *out, *log_det;

  LVM_HD void operator()(int64_t i) const {
    const ChainProgram& p = program;
    T x[kChainPoint], total = T(0);
    for (int64_t j = 0; j < p.d; ++j) x[j] = in[i * p.d + j];
    const auto at = [&x](int64_t j) -> T& { return x[j]; };
    for (int64_t s = 0; s < p.steps; ++s) {
      const auto map = [&](auto step) {
        constexpr ChainOp op = decltype(step)::kOp;
        for (int64_t j = 0; j < p.d; ++j) {
          const int64_t count = p.count[s], k = p.at[s] + (count == 1 ? 0 : j);
          T a[3], slope;
          for (int64_t c = 0; c < parameters_of(op); ++c) a[c] = T(p.numbers[k + c * count]);
          x[j] = mapped<op, decltype(step)::kInverse, false>(x[j], a, slope);
          total = total + slope;
        }
      };
      if (p.inverse(s)) {
        if (!with_map<true>(p.op(s), map)) vector_step<true>(p, s, at, total);
      } else {
        if (!with_map<false>(p.op(s), map)) vector_step<false>(p, s, at, total);
      }
    }
    if (out) {
      for (int64_t j = 0; j < p.d; ++j) out[i * p.d + j] = x[j];
    }
    if (!log_det) return;
    log_det[i] = p.base == ChainBase::none ? total + T(p.constant) : finished(p, at, total);
    if (p.base != ChainBase::none && log_det[i] != log_det[i]) log_det[i] = lost(i);
  }

  // The logarithm of a density that is not a number: NaN where the point has a NaN, -inf where it is out of the support.
  LVM_HD T lost(int64_t i) const {
    T value = -T(INFINITY);
    for (int64_t j = 0; j < program.d; ++j) {
      const T x = in[i * program.d + j];
      if (x != x) value = x;
    }
    return value;
  }
};

}  // namespace lvm

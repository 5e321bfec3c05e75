// q(u) of SVGP: as it is stored, whitened for an evaluation, and moved by a step. See algo/svgp.hpp.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "algo/inducing.hpp"
#include "algo/svgp_columns.hpp"
#include "algo/triangular.hpp"

namespace lvm {

struct SvgpUpdate {
  enum Kind { none, natural, adam } kind;
  double rate, beta_1, beta_2, epsilon, t;  // rate: rho of a natural step
};

struct SvgpResult {
  double expected, kl, rho;
};

struct SvgpShape {
  int64_t m, q, latents;
  bool whitened, diagonal, natural;  // natural: q is stored as S^-1 mu and S^-1, else as mu and the root W of S = W W^T
  int64_t first_size() const { return latents * m; }
  int64_t second_size() const { return diagonal ? latents * m : latents * m * m; }
};

template <class Device, class A>
struct SvgpLane : InducingLane<Device, A> {
  using InducingLane<Device, A>::InducingLane;
  typename Device::template Scratch<A> k, v, u, w, turned, fit, mean, variance, g, product;
  typename Device::template Scratch<double> gram, right, value, by_mean, by_variance, by_parameters, h, totals;
  bool fresh = true;  // no tile yet
};

template <class Device, class A>
class SvgpState : public Inducing<Device, A, SvgpLane<Device, A>> {
 public:
  explicit SvgpState(const SvgpShape& shape) : shape_(shape) {
    const int64_t first = shape.first_size(), second = shape.second_size();
    std::vector<double> identity(second, 0.0);
    for (int64_t k = 0; k < shape.latents * shape.m; ++k) {
      identity[shape.diagonal ? k : k / shape.m * shape.m * shape.m + k % shape.m * (shape.m + 1)] = 1.0;
    }
    Device::zero(first_.reserve(first), first);
    centred_.reserve(shape.latents * shape.m * shape.m);
    if (shape.natural) factor_.reserve(shape.latents * shape.m * shape.m);
    if (shape.natural && Device::kImmediate) inverse_.reserve(shape.latents * (shape.m * shape.m + kInverseBlock * kInverseBlock));
    Device::upload(identity.data(), second_.reserve(second), second);
    for (auto* moment : {&moments_[0], &moments_[1]}) Device::zero(moment->reserve(first), first);
    for (auto* moment : {&moments_[2], &moments_[3]}) Device::zero(moment->reserve(second), second);
    Device::wait();
  }
  const SvgpShape& shape() const { return shape_; }

  // Host memory: (latents, m), and (latents, m, m) row-major or (latents, m).
  void get(double* first, double* second) {
    Base::fetch(first_.data(), shape_.first_size(), first);
    Base::fetch(second_.data(), shape_.second_size(), second);
  }
  void set(const double* first, const double* second) {
    Device::upload(first, first_.data(), shape_.first_size());
    Device::upload(second, second_.data(), shape_.second_size());
    Device::wait();
    factored_ = false;
  }
  // Running means of gradients and their squares: of first, first, second, second.
  void get_moments(double* const* to) {
    for (int k = 0; k < 4; ++k) Base::fetch(moments_[k].data(), k < 2 ? shape_.first_size() : shape_.second_size(), to[k]);
  }
  void set_moments(const double* const* from) {
    for (int k = 0; k < 4; ++k) {
      Device::upload(from[k], moments_[k].data(), k < 2 ? shape_.first_size() : shape_.second_size());
    }
    Device::wait();
  }

 protected:
  using Lane = SvgpLane<Device, A>;
  using Base = Inducing<Device, A, Lane>;
  template <class U>
  using Scratch = typename Device::template Scratch<U>;
  template <class U>
  using Blas = typename Device::template Blas<U>;
  using Base::direct_, Base::factorise, Base::kSame, Base::l_, Base::m_, Base::numbers_, Base::sandwich;

  // Whether matrices whose entries are at most about 1 are in the tiles' precision, where it is not double.
  bool narrow() const { return !kSame && direct_ && shape_.whitened; }

  // Where a step that fails goes back to.
  void keep_first() { Device::copy(first_.data(), kept_first_.reserve(shape_.first_size()), shape_.first_size()); }
  void restore(double rho) {
    if (rho > 0) {
      Device::copy(kept_first_.data(), first_.data(), shape_.first_size());
      std::swap(second_, next_);
    }
    factored_ = false;
    Device::wait();
  }

  // mu_, whitened; the factor of S^-1, or root_at_ where the root of S is what is stored; result->kl has log|S^-1| / 2.
  Status load(bool inverted, SvgpResult* result) {
    const int64_t m = m_, p = shape_.latents, all = p * m * m;
    const double* second = second_.data();
    double *mu = mu_.reserve(p * m), *log_det = terms_.reserve(3);
    Device::copy(first_.data(), mu, p * m);
    if (!shape_.whitened) second = whiten();
    const bool diagonal = shape_.diagonal && shape_.whitened;
    if (shape_.natural && diagonal) {
      Device::map(p * m, DivideBy{second, mu});
      Device::sums(1, p * m, LogEntries{second, m, 0}, log_det);
    } else if (shape_.natural) {
      double* factor = factor_.data();
      if (!inverted && (!factored_ || !shape_.whitened)) {
        Device::copy(second, factor, all);
        for (int64_t k = 0; k < p; ++k) {
          const Status status = factorise(factor + k * m * m, 0.0);
          if (!status) return {Code::non_finite, -1};
        }
      }
      for (int64_t k = 0; k < p; ++k) {
        Blas<double>::trsm('L', 'U', 'T', m, 1, 1.0, factor + k * m * m, m, mu + k * m, m);
        Blas<double>::trsm('L', 'U', 'N', m, 1, 1.0, factor + k * m * m, m, mu + k * m, m);
      }
      factored_ = shape_.whitened;
      inverted_ = inverted;
      Device::sums(1, p * m, LogEntries{factor, m, m}, log_det);
      Device::map(1, Scaled{log_det, 2.0, log_det});
    } else {
      if (diagonal) Device::map(all, FromDiagonal{second, m, 1, 0.0, root_.reserve(all)});
      root_at_ = diagonal ? root_.data() : second;
      Device::sums(1, p * m, LogEntries{root_at_, m, m}, log_det);
      Device::map(1, Scaled{log_det, -2.0, log_det});
    }
    Base::fetch(log_det, 1, &result->kl);
    result->kl *= 0.5;
    stored_ = second;
    return {};
  }

  // S - I, in centred_ or centred_narrow_; what columns are multiplied by; all of result->kl.
  Status spread(SvgpResult* result) {
    const int64_t m = m_, p = shape_.latents, all = p * m * m;
    double *mu = mu_.data(), *terms = terms_.reserve(3), found[2];
    if (narrow()) {
      centre<A>(stored_, centred_narrow_.reserve(all), terms);
    } else {
      centre<double>(stored_, centred_.data(), terms);
    }
    Device::sums(1, p * m, Square<double>{mu}, terms + 1);
    Base::fetch(terms, 2, found);
    result->kl += 0.5 * (found[0] + found[1]);
    // What columns are multiplied by: S - I, or L^-T (S - I) for columns of K_uf.
    A* to = centred_tile_.reserve(all);
    if (narrow()) {
      Device::copy(centred_narrow_.data(), to, all);
    } else {
      to_tiles(centred_.data(), all, to);
    }
    if (direct_) {
      Device::for_parts(p * m, [&](int64_t begin, int64_t end) {
        Blas<A>::trsm('L', 'U', 'N', m, end - begin, A(1), Base::l_tile(), m, to + begin * m, m);
      });
      double* left = vector_.reserve(p * m);
      Device::copy(mu, left, p * m);
      Blas<double>::trsm('L', 'U', 'N', m, p, 1.0, l_.data(), m, left, m);
      to_tiles(left, p * m, mu_tile_.reserve(p * m));
    } else {
      to_tiles(mu, p * m, mu_tile_.reserve(p * m));
    }
    return {};
  }

  // S - I from what `load` found, and its trace.
  template <class G>
  void centre(const double* second, G* to, double* trace) {
    const int64_t m = m_, p = shape_.latents, all = p * m * m;
    if (shape_.diagonal && shape_.whitened) {
      Device::map(all, FromDiagonal{second, m, shape_.natural ? -1 : 2, 0.0, centred_.data()});
      if constexpr (!std::is_same_v<G, double>) to_tiles(centred_.data(), all, to);
    } else if (shape_.natural) {
      for (int64_t k = 0; k < p; ++k) {
        if (!inverted_) invert(k);
        finish_inverse(k, to + k * m * m);
      }
    } else if constexpr (std::is_same_v<G, double>) {
      square_roots<double>(root_at_, to);
    } else {
      A* root = narrow_.reserve(all);
      to_tiles(root_at_, all, root);
      square_roots<A>(root, to);
    }
    Device::map(p * m, AddDiagonal<G>{to, m, -1.0});
    Device::sums(1, p * m, DiagonalEntries<G>{to, m}, trace);
  }

  // S from the factor R of S^-1 = R^T R: on a CPU in two parts, of which the first is R^-1 and the work of a thread.
  void invert(int64_t k) {
    const int64_t m = shape_.m, size = m * m;
    if constexpr (Device::kImmediate) {
      double *inverse = inverse_.data() + k * (size + kInverseBlock * kInverseBlock), *factor = factor_.data() + k * size;
      if (shape_.whitened && !factored_) {
        Device::copy(second_.data() + k * size, factor, size);
        if (Blas<double>::potrf('U', m, factor, m) != 0) {
          lost_ = true;
          return;
        }
      }
      Device::copy(factor, inverse, size);
      invert_upper<Blas<double>>(m, inverse, m, inverse + size);
    } else {
      Device::copy(factor_.data() + k * size, centred_.data() + k * size, size);
      Blas<double>::potri('U', m, centred_.data() + k * size, m);
    }
  }
  template <class G>
  void finish_inverse(int64_t k, G* to) {
    const int64_t m = shape_.m, size = m * m;
    if constexpr (Device::kImmediate) {  // the upper triangle of R^-1 R^-T
      double* inverse = inverse_.data() + k * (size + kInverseBlock * kInverseBlock);
      Device::for_parts(m, [&](int64_t begin, int64_t end) {
        for (int64_t j = begin; j < end; ++j) std::fill(inverse + j * m + j + 1, inverse + j * m + end, 0.0);
      });
      const G* root;
      if constexpr (std::is_same_v<G, double>) {
        root = inverse;
      } else {
        to_tiles(inverse, size, narrow_.reserve(size));
        root = narrow_.data();
      }
      Device::for_parts(m, [&](int64_t begin, int64_t end) {
        Blas<G>::gemm('N', 'T', end, end - begin, m - begin, G(1), root + begin * m, m, root + begin * (m + 1), m, G(0),
                      to + begin * m, m);
      });
    } else if constexpr (!std::is_same_v<G, double>) {
      to_tiles(centred_.data() + k * size, size, to);
    }
    Device::mirror_lower(to, m, m);
  }

  // Whole matrices W W^T from W^T, upper (column-major).
  template <class G>
  void square_roots(const G* root, G* square) {
    const int64_t m = m_, size = m * m;
    for (int64_t k = 0; k < shape_.latents; ++k) {
      const G* own = root + k * size;
      Device::for_parts(m, [&](int64_t begin, int64_t end) {  // the upper triangle
        Blas<G>::gemm('T', 'N', end, end - begin, end, G(1), own, m, own + begin * m, m, G(0), square + k * size + begin * m, m);
      });
      Device::mirror_lower(square + k * size, m, m);
    }
  }

  // Whitens what is stored: mu_ (S^-1 mu with natural), and the matrices, which are returned.
  const double* whiten() {
    const int64_t m = m_, p = shape_.latents, all = p * m * m;
    double *mu = mu_.data(), *root = root_.reserve(all);
    const double* l = l_.data();
    if (shape_.diagonal) {
      Device::map(all, FromDiagonal{second_.data(), m, 1, 0.0, root});
    } else {
      Device::copy(second_.data(), root, all);
    }
    if (shape_.natural) {  // L^T (S^-1) L, L^T (S^-1 mu)
      Blas<double>::trmm('L', 'U', 'N', m, p, 1.0, l, m, mu, m);
      for (int64_t k = 0; k < p; ++k) {
        Blas<double>::trmm('L', 'U', 'N', m, m, 1.0, l, m, root + k * m * m, m);
        Blas<double>::trmm('R', 'U', 'T', m, m, 1.0, l, m, root + k * m * m, m);
        Device::symmetrise(root + k * m * m, m);
      }
    } else {  // L^-1 W, whose transpose is stored
      Blas<double>::trsm('L', 'U', 'T', m, p, 1.0, l, m, mu, m);
      for (int64_t k = 0; k < p; ++k) Blas<double>::trsm('R', 'U', 'N', m, m, 1.0, l, m, root + k * m * m, m);
    }
    return root;
  }

  // What the natural step that comes before needs of q: mu and the factors of S^-1 in the tiles' precision.
  void load_factor() {
    const int64_t m = m_, p = shape_.latents, all = p * m * m;
    to_tiles(mu_.data(), p * m, mu_tile_.reserve(p * m));
    if constexpr (!kSame) to_tiles(factor_.data(), all, factor_tile_.reserve(all));
  }
  const A* factor_tile() const {
    if constexpr (kSame) {
      return factor_.data();
    } else {
      return factor_tile_.data();
    }
  }

  static void to_tiles(const double* from, int64_t n, A* to) {
    if constexpr (kSame) {
      Device::copy(from, to, n);
    } else {
      Device::map(n, CastTo<double, A>{from, to});
    }
  }

  // Halves rho until all S^-1 have factors, and whitened ones no variance far above the prior's, which they would have only for
  // a moment; 0 if there is no such step.
  double natural_step(double rho) {
    const int64_t m = m_, p = shape_.latents, all = p * m * m, first = shape_.first_size(), second = shape_.second_size();
    double *target = a_.data(), *vector = vector_.reserve(first);
    Device::copy(right_.data(), vector, first);
    if (!shape_.diagonal) {
      for (int64_t k = 0; k < p; ++k) {
        Blas<double>::gemm('N', 'N', m, 1, m, -2.0, target + k * m * m, m, mu_.data() + k * m, m, 1.0, vector + k * m, m);
      }
    } else {
      Device::map(first, Difference{vector, mu_.data(), vector});
    }
    double factor = -2.0, identity = 1.0;  // what the precision goes to is factor a + identity I
    if (!shape_.whitened) {
      Device::map(all, Scaled{target, factor, target});
      Device::map(p * m, AddDiagonal<double>{target, m, identity});
      factor = 1.0, identity = 0.0;
      Blas<double>::trsm('L', 'U', 'N', m, p, 1.0, l_.data(), m, vector, m);
      for (int64_t k = 0; k < p; ++k) sandwich(target + k * m * m);
    }
    if (shape_.diagonal) {
      double* diagonal = diagonal_.reserve(second);
      Device::map(second, TakeDiagonals{target, m, factor, identity, diagonal});
      Device::map(first, AddMeans{diagonal, first_.data(), second_.data(), vector});
      target = diagonal;
      factor = 1.0;
    }
    const double least = shape_.whitened ? kLeastPrecision : 0.0;
    double *next = next_.reserve(second), *factors = shape_.diagonal ? next : factor_.data();
    // Whitened, I - 2 A is then positive definite, rounding included: the next step takes the factor.
    if (Device::kImmediate && shape_.whitened && !shape_.diagonal && concave_) {
      Device::map(second, Blend{second_.data(), target, rho, factor, next, next});
      Device::map(p * m, AddDiagonal<double>{next, m, rho * identity});
      Device::map(first, Blend{first_.data(), vector, rho, 1.0, first_.data(), first_.data()});
      std::swap(second_, next_);
      factored_ = false;
      return rho;
    }
    for (int halvings = 0; halvings < 30; ++halvings, rho *= 0.5) {
      Device::map(second, Blend{second_.data(), target, rho, factor, next, factors});
      bool good = true;
      if (shape_.diagonal) {
        Device::zero(this->failure_.data(), 1);
        Device::note_first(second, NotAbove{next, least}, this->failure_.data());
        Device::map(1, StoreFailure{this->failure_.data(), numbers_.device()});
        numbers_.pull(1);
        Device::wait();
        good = numbers_.host()[0] == 0;
      } else {
        Device::map(p * m, AddDiagonal<double>{next, m, rho * identity});
        Device::map(p * m, AddDiagonal<double>{factors, m, rho * identity});
        for (int64_t k = 0; k < p && good; ++k) good = static_cast<bool>(factorise(factors + k * m * m, least));
      }
      if (!good) continue;
      Device::map(first, Blend{first_.data(), vector, rho, 1.0, first_.data(), first_.data()});
      std::swap(second_, next_);
      factored_ = !shape_.diagonal;
      Device::wait();
      return rho;
    }
    factored_ = false;
    return 0.0;
  }

  // 2 W^T a; when q is whitened only the upper triangle.
  template <class G>
  void root_products(const G* root, const G* a, G* product) {
    const int64_t m = m_, size = m * m;
    for (int64_t k = 0; k < shape_.latents; ++k) {
      Device::for_parts(m, [&](int64_t begin, int64_t end) {
        const int64_t rows = shape_.whitened ? end : m;
        Blas<G>::gemm('N', 'N', rows, end - begin, m, G(2), root + k * size, m, a + k * size + begin * m, m, G(0),
                      product + k * size + begin * m, m);
      });
    }
  }

  void adam_step(const SvgpUpdate& update) {
    const int64_t m = m_, p = shape_.latents, size = m * m, first = shape_.first_size(), second = shape_.second_size();
    double *by_first = vector_.reserve(first), *a = a_.data();
    const AdamRule rule{update.rate * std::sqrt(1.0 - std::pow(update.beta_2, update.t)) / (1.0 - std::pow(update.beta_1, update.t)),
                        update.beta_1, update.beta_2, update.epsilon};
    double *w = second_.data(), *mean = moments_[2].data(), *square = moments_[3].data();
    Device::map(first, Difference{right_.data(), mu_.data(), by_first});
    // 2 W^T (A - I / 2), for unwhitened ones times L^-1, + 1 / diagonal.
    Device::map(p * m, AddDiagonal<double>{a, m, -0.5});
    if (narrow() && !shape_.diagonal) {
      A *root = narrow_.reserve(3 * p * size), *a_tile = root + p * size, *product = a_tile + p * size;
      to_tiles(root_at_, p * size, root);
      to_tiles(a, p * size, a_tile);
      root_products<A>(root, a_tile, product);
      Device::map_entries(m, p * m, RootAscent<A>{product, w, mean, square, m, rule});
    } else {
      double* by_second = next_.reserve(p * size);
      root_products<double>(root_at_, a, by_second);
      if (!shape_.whitened) {
        Blas<double>::trsm('L', 'U', 'N', m, p, 1.0, l_.data(), m, by_first, m);
        for (int64_t k = 0; k < p; ++k) Blas<double>::trsm('R', 'U', 'T', m, m, 1.0, l_.data(), m, by_second + k * size, m);
      }
      if (shape_.diagonal) {
        double* gradient = diagonal_.reserve(second);
        Device::map(second, TakeDiagonals{by_second, m, 1.0, 0.0, gradient});
        Device::map(second, AddInverses{w, gradient});
        Device::map(second, AdamAscent{gradient, w, mean, square, rule});
      } else {
        Device::map_entries(m, p * m, RootAscent<double>{by_second, w, mean, square, m, rule});
      }
    }
    Device::map(first, AdamAscent{by_first, first_.data(), moments_[0].data(), moments_[1].data(), rule});
    Device::wait();
  }

  static constexpr double kLeastPrecision = 0.1;  // of whitened variables, whose prior's is 1

  SvgpShape shape_;
  bool factored_ = false;             // factor_ holds those of second_
  bool inverted_ = false;             // inverse_ holds R^-1 of them
  const double* stored_ = nullptr;    // the whitened second_
  std::atomic<bool> lost_{false};     // a factor that could not be taken
  std::atomic<bool> concave_{false};  // no h of the pass was positive
  const double* root_at_ = nullptr;   // the whitened W^T
  Scratch<double> first_, second_, moments_[4];
  Scratch<double> mu_, centred_, inverse_, kept_first_, root_, factor_, work_, a_, right_, terms_, vector_, next_, diagonal_;
  Scratch<A> centred_tile_, centred_narrow_, factor_tile_, mu_tile_, narrow_;
};

}  // namespace lvm

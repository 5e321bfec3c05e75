// A matrix product whose rows do not know of each other (see RowGemmTask): what makes transform() give a
// row the same latent whatever batch it came in, where a BLAS picks its kernel by the shape of the batch.
#include "cpu/arch.hpp"
#include "cpu/pack.hpp"
#include "cpu/tasks.hpp"

namespace lvm::cpu::LVM_ARCH {
namespace {

constexpr int kRowBlock = 6;

// `packs` packs of columns of kRowBlock rows: 6 x 2 accumulators, a broadcast and two loads fill 16 registers.
template <class T>
void block(const T* const* in, const T* panel, int64_t depth, T* const* out, int64_t cols, bool first) {
  using P = Pack<T>;
  constexpr int64_t kWidthPanel = 2 * P::W;
  P sum[kRowBlock][2];
  if (!first) {
    for (int r = 0; r < kRowBlock; ++r) {
      alignas(64) T row[kWidthPanel] = {};
      memcpy(row, out[r], cols * sizeof(T));
      sum[r][0] = P::load(row);
      sum[r][1] = P::load(row + P::W);
    }
  }
  for (int64_t i = 0; i < depth; ++i) {
    const P m0 = P::load(panel + i * kWidthPanel), m1 = P::load(panel + i * kWidthPanel + P::W);
    for (int r = 0; r < kRowBlock; ++r) {
      const P x(in[r][i]);
      sum[r][0] += x * m0;
      sum[r][1] += x * m1;
    }
  }
  for (int r = 0; r < kRowBlock; ++r) {
    alignas(64) T row[kWidthPanel];
    sum[r][0].store(row);
    sum[r][1].store(row + P::W);
    memcpy(out[r], row, cols * sizeof(T));
  }
}

}  // namespace

template <class T>
void row_gemm_columns(const RowGemmTask<T>& t, int64_t begin, int64_t end) {
  using P = Pack<T>;
  constexpr int64_t kWidthPanel = 2 * P::W;
  alignas(64) T panel[kPanelDepth * kWidthPanel];
  T discarded[kWidthPanel];
  for (int64_t j = begin; j < end; j += kWidthPanel) {
    const int64_t cols = end - j < kWidthPanel ? end - j : kWidthPanel;
    for (int64_t i = 0; i < t.depth || i == 0; i += kPanelDepth) {
      const int64_t depth = t.depth - i < kPanelDepth ? t.depth - i : kPanelDepth;
      for (int64_t k = 0; k < depth; ++k) {
        const T* source = t.m + (i + k) * t.m_stride + j;
        T* target = panel + k * kWidthPanel;
        for (int64_t c = 0; c < kWidthPanel; ++c) target[c] = c < cols ? source[c] : T(0);
      }
      for (int64_t b = 0; b < t.rows; b += kRowBlock) {
        const T* in[kRowBlock];
        T* out[kRowBlock];
        for (int r = 0; r < kRowBlock; ++r) {  // rows that are missing repeat the last one and are discarded
          const bool real = b + r < t.rows;
          in[r] = t.in + (real ? b + r : t.rows - 1) * t.in_stride + i;
          out[r] = real ? t.out + (b + r) * t.out_stride + j : discarded;
        }
        if (i > 0) {
          for (int64_t c = 0; c < cols; ++c) discarded[c] = T(0);
        }
        block<T>(in, panel, depth, out, cols, i == 0);
      }
    }
  }
}

template void row_gemm_columns<double>(const RowGemmTask<double>&, int64_t, int64_t);
template void row_gemm_columns<float>(const RowGemmTask<float>&, int64_t, int64_t);

}  // namespace lvm::cpu::LVM_ARCH

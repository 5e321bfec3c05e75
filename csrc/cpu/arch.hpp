// What each per-instruction-set build of csrc/cpu offers. Included with LVM_ARCH defined.
#pragma once

#include "cpu/tasks.hpp"

namespace lvm::cpu::LVM_ARCH {

template <class T>
void pair_values(const PairTask<T>&, const T* rows, const T* cols, int64_t count, TileMode mode, T* tile);
template <class T>
bool pair_pullback(const PairTask<T>&, const T* rows, const T* cols, int64_t count, T* tile, T* near, double* sums);
template <class T>
void tile_products(const T* tile, int64_t count, int64_t features, const T* rows, const T* cols, double* d_rows,
                   double* d_cols);
template <class T>
void tile_differences(const T* tile, int64_t count, int64_t features, const T* rows, const T* cols, double* d_rows,
                      double* d_cols, double* squares);
template <class T>
void store_tile(const T* tile, int64_t rows, int64_t cols, bool transposed, bool past_cache, T* out, int64_t stride);
template <class T>
void load_tile(const T* c, int64_t stride, int64_t rows, int64_t cols, bool transposed, bool add, T scale, T* tile);
template <class T>
void combine_tiles(const T* a, int64_t n, TileMode mode, T* b);
template <class T>
void row_gemm_columns(const RowGemmTask<T>&, int64_t begin, int64_t end);
template <class T>
void exp_array(const T* x, T* y, int64_t n);
template <class T>
int64_t cholesky_update_rows();
template <class T>
int64_t cholesky_update_size(int64_t n, int64_t m);
template <class T>
void cholesky_update_group(const CholeskyUpdateTask<T>&, int64_t group);
template <class T>
void fill_random(Distribution, uint64_t seed, int64_t begin, int64_t end, T* out);
template <class T>
void draws_of_words(Distribution, const uint32_t* words, int64_t blocks, T* out);
template <class T>
void fill_polya_gamma(const PolyaGammaTask<T>&, int64_t begin, int64_t end, T* out);
template <class T>
void expectations(const ExpectationsOfPoints<T>&, int64_t begin, int64_t end);

extern const NetworkFunctions<double> network_f64;  // network.cpp
extern const NetworkFunctions<float> network_f32;
extern const ChainFunctions<double> chain_f64;  // chain.cpp
extern const ChainFunctions<float> chain_f32;
extern const NarrowFunctions<double> narrow_f64;  // narrow.cpp
extern const NarrowFunctions<float> narrow_f32;
extern const MixtureFunctions<double> mixture_f64;  // mixture.cpp
extern const MixtureFunctions<float> mixture_f32;
template <class T>
void winograd_weights(const T* weights, int64_t depth, int64_t columns, bool turned, int64_t first, int64_t last, T* packed);
template <class T>
void winograd_product(const WinogradProduct<T>&, int64_t begin, int64_t end, void* scratch);
template <class T>
void winograd_outer(const WinogradOuter<T>&, int64_t begin, int64_t end, void* scratch);
template <class T>
int64_t winograd_scratch(int64_t depth, int64_t columns);
template <class T>
void decoder_terms(const DecoderTerms<T>&, int64_t begin, int64_t end);  // vae.cpp
template <class T>
void add_rows(const T* a, int64_t columns, int64_t begin, int64_t end, double* sums);
template <class T>
void add_variance_slopes(const DecoderTerms<T>&, const double* weight, int64_t begin, int64_t end, double* sums);

const KernelTable& table();

}  // namespace lvm::cpu::LVM_ARCH

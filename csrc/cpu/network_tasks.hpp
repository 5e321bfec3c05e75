// Descriptions of the work in a layer of a network, for kernels that are compiled once per instruction set.
//
// Every layer is sums of taps: with images of channels-last pixels, out[p] = sum_t in[source(p, t)] B_t, where the
// pixels p come in groups that have the same taps (one group for a convolution; one per phase of the stride for its
// transpose) and a source that lies outside the image is a row of zeros. A dense layer has one pixel and one tap.
#pragma once

#include <stdint.h>

#include "core/activation.hpp"
#include "core/optimizer.hpp"
#include "core/vae_terms.hpp"

namespace lvm::cpu {

constexpr int64_t kNetworkRows = 192;   // rows (pixels of images) that are worked on together
constexpr int64_t kNetworkDepth = 256;  // terms of a sum in one go: a panel of so many rows stays in the first cache
constexpr int64_t kNarrow = 4;          // up to so many columns the terms lie in packs, not the columns
constexpr int64_t kShallow = 8;         // below, the taps of a row are brought together first

// What the rows of a group have in common. Row i of all is row i % rows of image i / rows.
struct TapGroup {
  int64_t rows;           // of an image
  int64_t taps;           // of a row
  int64_t first;          // tap of all taps, in the order of the plan
  const int32_t* target;  // (rows,) pixels, or null: pixel = row
  const int32_t* source;  // (rows, taps) pixels, -1: zeros
};

template <class T>
struct TapProduct {
  TapGroup group;
  const T* in;       // images of source_image numbers, `depth` to a pixel
  T* out;            // images of target_image numbers, `columns` to a pixel
  T* pre;            // null, or receives what goes into the activation
  const T* bias;     // (columns,); null: no activation either
  const T* weights;  // as pack_weights leaves them
  const T* zeros;    // (depth,)
  int64_t depth, columns, taps, source_image, target_image;
  Activation activation;
  bool add;  // to out
};

// result[tap, k, j] = (or +=) sum over rows of in[source, k] target[row, j], for all taps of the group.
template <class T>
struct TapOuter {
  TapGroup group;
  const T *in, *target;
  T* result;  // (taps of the plan, depth, columns)
  const T* zeros;
  int64_t depth, columns, source_image, target_image;
  bool add;
};

// Convolutions of 3 x 3 taps and stride 1, in blocks of 2 x 2 result pixels (16 products for 36): with d the 4 x 4 pixels
// below a block and g the kernel, y = A^T [(G g G^T) . (B^T d B)] A. Lavin and Gray (2016), "Fast algorithms for convolutional
// neural networks", section 4.1.
//
// Block i of all is block i % (blocks of an image), by rows. in: pixel (i - top + u, j - left + v) for result pixel (i, j).
struct WinogradImage {
  int64_t in_rows, in_cols, out_rows, out_cols, top, left;
  int64_t block_cols() const { return (out_cols + 1) / 2; }
  int64_t blocks() const { return (out_rows + 1) / 2 * block_cols(); }
};
constexpr int64_t kWinogradBlocks = 48;  // that are worked on together
constexpr int64_t kWinogradLeast = 16;   // channels in and out

template <class T>
struct WinogradProduct {
  WinogradImage image;
  const T* in;
  T *out, *pre;  // as in TapProduct
  const T* bias;
  const T* weights;  // as winograd_weights leaves them
  const T* zeros;
  int64_t depth, columns;
  Activation activation;
  bool add;
};

// result[16, depth, columns] = the sum over blocks of (B^T d B) (A y A^T).
template <class T>
struct WinogradOuter {
  WinogradImage image;
  const T *in, *target;
  T* result;
  const T* zeros;
  int64_t depth, columns;
};

template <class T>
struct NetworkFunctions {
  int64_t (*panel)();  // columns that lie together in packed weights
  // columns [first, last) of weights (taps, depth, columns), or transposed (taps, columns, depth), in the order of the
  // plan, to panels (taps, depth, panel()) or, narrow, to (columns, taps, depth); first: a multiple of panel()
  void (*pack_weights)(const T* weights, const int32_t* order, int64_t taps, int64_t depth, int64_t columns, bool transposed,
                       int64_t first, int64_t last, T* packed);
  // rows [begin, end), at most kNetworkRows, and columns [first, last), first a multiple of panel()
  void (*tap_product)(const TapProduct<T>&, int64_t begin, int64_t end, int64_t first, int64_t last, void* scratch);
  int64_t (*product_scratch)(int64_t taps, int64_t depth);  // bytes
  // any rows
  void (*tap_outer)(const TapOuter<T>&, int64_t begin, int64_t end, int64_t first, int64_t last, void* scratch);
  int64_t (*outer_scratch)(int64_t taps, int64_t depth);  // bytes
  // g = d * slope, for `rows` rows of `columns` numbers (linear: g is not written); sums[j] += sum of column j of g
  void (*pull_activation)(Activation, int64_t rows, int64_t columns, const T* d, const T* y, T* g, double* sums);
  void (*adam)(const AdamStep<T>&, int64_t begin, int64_t end);
  void (*rmsprop)(const RmspropStep<T>&, int64_t begin, int64_t end);
  void (*sgd)(const SgdStep<T>&, int64_t begin, int64_t end);
  double (*square_sum)(const T* x, int64_t n);
  // columns [first, last) of G g G^T for weights (3, 3, depth, columns) or, turned, of the adjoint for weights
  // (3, 3, columns, depth), as panels (16, depth, panel()); first: a multiple of panel()
  void (*winograd_weights)(const T* weights, int64_t depth, int64_t columns, bool turned, int64_t first, int64_t last, T* packed);
  void (*winograd_product)(const WinogradProduct<T>&, int64_t begin, int64_t end, void* scratch);  // blocks, at most kWinogradBlocks
  void (*winograd_outer)(const WinogradOuter<T>&, int64_t begin, int64_t end, void* scratch);      // any blocks
  int64_t (*winograd_scratch)(int64_t depth, int64_t columns);                                     // bytes
  void (*decoder_terms)(const DecoderTerms<T>&, int64_t begin, int64_t end);  // rows
  void (*add_rows)(const T* a, int64_t columns, int64_t begin, int64_t end, double* sums);
  // sums[j] += weight[r] (or scale) (1 - (x - mean)^2 precision) / 2, of rows [begin, end)
  void (*add_variance_slopes)(const DecoderTerms<T>&, const double* weight, int64_t begin, int64_t end, double* sums);
};

}  // namespace lvm::cpu

// The decoder's rows on a device: device/cpu_vae.hpp, device/cuda_vae.hpp.
#pragma once

#include "core/vae_terms.hpp"

namespace lvm {

// terms(t, rows): values and, if wanted, cotangents of all rows. scale_rows: d[r, :] *= weight[r], which has the 1 / n of
// the loss in it. column_sums: in double. variance_slopes: out[j] = sum over rows of weight[r] (or t.scale) (1 - (x -
// mean)^2 precision) / 2. gather: rows of x. join:
// [row r / samples of x (features), the first `more` numbers of row r of a stride of e].
template <class Device, class T>
struct VaeRows;

}  // namespace lvm

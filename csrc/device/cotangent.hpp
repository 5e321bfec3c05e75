// How the cotangent S[i, j] of k(rows_i, cols_j) is found in a row-major matrix c.
#pragma once

namespace lvm {

enum class Cotangent : int {
  direct,           // S[i, j] = c[i, j]
  transposed,       // S[i, j] = c[j, i]
  symmetric_lower,  // S = S^T, stored in the lower triangle of c
  symmetric_part,   // S = (c + c^T) / 2
};

}  // namespace lvm

// What a compiled operation says when it cannot go on. Python turns it into an exception.
#pragma once

#include <cstdint>

namespace lvm {

enum class Code : int {
  ok = 0,
  not_positive_definite = 1,  // index: the first pivot that was not positive (0-based)
  non_finite = 2,             // index: where, or -1
  bad_diagonal = 3,           // index: where a factor's diagonal is not positive
};

struct Status {
  Code code = Code::ok;
  int64_t index = -1;
  explicit operator bool() const { return code == Code::ok; }
};

}  // namespace lvm

// One rule for jitter, wherever a Cholesky factor is taken.
#pragma once

#include "device/status.hpp"

namespace lvm {

// Multiples of the mean diagonal: none, then `first`, 10 `first`, ... up to `last`.
struct JitterPolicy {
  double first;
  double last;
};

// Calls attempt(jitter) with absolute jitters until one does not lose positive definiteness. `jitter` is where to
// start (0: without any) and, afterwards, the last one tried. Anything but a lost pivot is final.
// mean() is asked for when jitter is needed.
template <class Mean, class Attempt>
Status escalate_jitter(const JitterPolicy& policy, Mean&& mean, double& jitter, Attempt&& attempt) {
  Status status = attempt(jitter);
  if (status.code != Code::not_positive_definite || !(policy.first > 0)) return status;
  const double mean_diagonal = mean();
  while (status.code == Code::not_positive_definite) {
    const double next = jitter > 0 ? 10 * jitter : policy.first * mean_diagonal;
    if (!(next > jitter && next <= policy.last * mean_diagonal * (1 + 1e-9))) break;  // also for a zero matrix
    jitter = next;
    status = attempt(jitter);
  }
  return status;
}

}  // namespace lvm

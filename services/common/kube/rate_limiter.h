// How often something may happen.

#pragma once

#include "absl/time/time.h"

namespace kube {

// A token bucket: `per_second` on average, `burst` at once. Who comes when it is empty is told how
// long to wait, and has its turn then.
//
// Not thread-safe.
class TokenBucket {
 public:
  // `per_second` zero: no limit.
  TokenBucket(double per_second, int burst)
      : per_second_(per_second), burst_(burst), tokens_(burst) {}

  // Takes one token. `now` is monotonic time.
  absl::Duration Reserve(absl::Duration now);

 private:
  double per_second_;
  double burst_;
  double tokens_;  // Below zero: taken in advance by those who wait.
  absl::Duration last_ = -absl::InfiniteDuration();
};

}  // namespace kube

#include "common/base/backoff.h"

#include <algorithm>

namespace base {

absl::Duration Backoff::Next() {
  const absl::Duration wait = next_;
  next_ = std::min(next_ * options_.factor, options_.max);
  if (options_.jitter <= 0) return wait;
  return wait * (1.0 + absl::Uniform(random_, 0.0, options_.jitter));
}

}  // namespace base

#include "common/kube/rate_limiter.h"

#include <algorithm>

namespace kube {

absl::Duration TokenBucket::Reserve(absl::Duration now) {
  if (per_second_ <= 0) return absl::ZeroDuration();
  if (now > last_) {
    const double gained = absl::ToDoubleSeconds(now - last_) * per_second_;
    tokens_ = std::min(burst_, tokens_ + gained);
    last_ = now;
  }
  tokens_ -= 1;
  return tokens_ >= 0 ? absl::ZeroDuration() : absl::Seconds(-tokens_ / per_second_);
}

}  // namespace kube

#include "local-cluster/azure/throttle.h"

#include <algorithm>

namespace local_cluster::azure {

absl::Duration Throttle::Take(Bucket& bucket, double burst, double per_second, absl::Duration now) {
  if (bucket.filled == -absl::InfiniteDuration()) {
    bucket = {burst, now};
  }
  bucket.tokens =
      std::min(burst, bucket.tokens + absl::ToDoubleSeconds(now - bucket.filled) * per_second);
  bucket.filled = now;
  if (bucket.tokens < 1) return absl::Seconds((1 - bucket.tokens) / per_second);
  bucket.tokens -= 1;
  return absl::ZeroDuration();
}

absl::Duration Throttle::TakePut(const std::string& pool, absl::Duration now) {
  return Take(puts_[pool], 20, 1.0 / 60, now);
}

absl::Duration Throttle::TakeOther(absl::Duration now) { return Take(other_, 60, 1, now); }

}  // namespace local_cluster::azure

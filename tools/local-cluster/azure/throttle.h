// AKS's rate limits: full buckets, not the client's cautious share of them.

#pragma once

#include <map>
#include <string>

#include "absl/time/time.h"

namespace local_cluster::azure {

// Not thread-safe.
class Throttle {
 public:
  // Zero: allowed, and a token is taken. Else what Retry-After says.
  absl::Duration TakePut(const std::string& pool, absl::Duration now);
  absl::Duration TakeOther(absl::Duration now);

 private:
  struct Bucket {
    double tokens = 0;
    absl::Duration filled = -absl::InfiniteDuration();
  };
  static absl::Duration Take(Bucket& bucket, double burst, double per_second, absl::Duration now);

  std::map<std::string, Bucket> puts_;
  Bucket other_;
};

}  // namespace local_cluster::azure

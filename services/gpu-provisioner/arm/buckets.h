// Azure's rate limits, kept on our side of the wire.

#pragma once

#include <map>
#include <string>
#include <string_view>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "common/base/clock.h"

namespace gpu_provisioner {

enum class ArmOperation { kPut, kGet, kList, kDelete, kAbort, kMachines, kSkus, kUsages };

std::string_view ArmOperationName(ArmOperation operation);

// Token buckets at 80 % of Azure's: PUT 20 at once and 1/min per pool; all other pool calls 60 at
// once and 1/s together. A 429 pauses the bucket that it came from, and no other.
//
// Thread-safe.
class Buckets {
 public:
  explicit Buckets(const base::Clock& clock);

  // Takes a token and returns zero, or says how long to wait and takes none. In the shared bucket
  // LIST comes first, then DELETE, GET, machines: each leaves some tokens for those before it.
  absl::Duration Take(ArmOperation operation, const std::string& pool);

  // After a 429. `wait` zero: the answer gave none. Clamped to 1 s … 1 h. Returns what was set.
  absl::Duration Pause(ArmOperation operation, const std::string& pool, absl::Duration wait);
  // After a 429 of ARM itself: all reads or all writes.
  absl::Duration PauseAll(bool writes, absl::Duration wait);

  // How full the shared bucket is, 0 to 1.
  double SharedFill() const;

 private:
  struct Bucket {
    double tokens = 0;
    absl::Duration filled_at;
    absl::Duration paused_until = absl::ZeroDuration();
  };

  Bucket& BucketOf(ArmOperation operation, const std::string& pool)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const base::Clock& clock_;
  mutable absl::Mutex mutex_;
  Bucket shared_ ABSL_GUARDED_BY(mutex_);
  Bucket compute_ ABSL_GUARDED_BY(mutex_);  // Sizes and usages belong to another provider.
  std::map<std::string, Bucket> puts_ ABSL_GUARDED_BY(mutex_);
  absl::Duration reads_paused_until_ ABSL_GUARDED_BY(mutex_) = absl::ZeroDuration();
  absl::Duration writes_paused_until_ ABSL_GUARDED_BY(mutex_) = absl::ZeroDuration();
};

}  // namespace gpu_provisioner

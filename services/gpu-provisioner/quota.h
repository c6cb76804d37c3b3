// How many cores the subscription still has, less what we have asked for but Azure does not count
// yet.

#pragma once

#include <map>
#include <string>
#include <string_view>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "gpu-provisioner/arm/agent_pool_client.h"

namespace gpu_provisioner {

struct QuotaNeed {
  std::string family;  // Any case; empty: unknown.
  int64_t cores = 0;   // 0: unknown.
  bool spot = false;
};

struct QuotaCheck {
  bool known = false;  // False: could not be read, or the family is unknown; the launch is tried.
  bool enough = true;
  std::string exhausted;  // What is short: the family's name, "cores" or "lowPriorityCores".
  int64_t limit = 0;      // Of that, or of the family when there is enough.
  int64_t used = 0;
  int64_t reserved = 0;
};

// Thread-safe.
class Quota {
 public:
  // `started`: when the reading began, by the monotonic clock.
  void SetUsages(std::map<std::string, QuotaUsage> usages, absl::Duration started);
  void SetUnreadable();

  // Against family, region and spot. `claim_uid`'s own reservation does not count.
  QuotaCheck Check(const QuotaNeed& need, const std::string& claim_uid) const;

  // Held from the PUT until a reading that began after `Counted()`, or Release().
  void Reserve(const std::string& claim_uid, const QuotaNeed& need);
  void Counted(const std::string& claim_uid, absl::Duration now);
  void Release(const std::string& claim_uid);

  // What was read last, by family in lower case; empty when unreadable.
  std::map<std::string, QuotaUsage> usages() const;

 private:
  struct Reservation {
    QuotaNeed need;
    absl::Duration counted_at = absl::InfiniteDuration();
  };

  mutable absl::Mutex mutex_;
  bool known_ ABSL_GUARDED_BY(mutex_) = false;
  std::map<std::string, QuotaUsage> usages_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Reservation> reservations_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace gpu_provisioner

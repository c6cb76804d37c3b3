// What Azure says of sizes and quota: read now and then, kept for everybody.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "common/base/clock.h"
#include "common/metrics/metrics.h"
#include "gpu-provisioner/arm/agent_pool_client.h"
#include "gpu-provisioner/offerings.h"
#include "gpu-provisioner/quota.h"

namespace gpu_provisioner {

using SkuMap = std::map<std::string, SkuFacts>;

// Thread-safe; RunOnce() from one thread.
class CloudFacts {
 public:
  struct Hooks {
    std::function<bool()> quota_awaited;  // Some claim waits for quota.
    std::function<void()> quota_read;     // A reading came: look at those claims again.
    std::function<void(const ArmFailure&)> quota_unreadable;  // Once, until it can be read again.
  };

  // All are borrowed.
  CloudFacts(AgentPoolClient& client, Quota& quota, Marks& marks, const base::Clock& clock,
             metrics::Registry* registry, Hooks hooks);

  std::shared_ptr<const SkuMap> skus() const;

  // A refusal for lack of quota: read it at once, but not more often than once a minute.
  void WantQuota();

  // Reads what is due: sizes daily, usages every 10 minutes, every minute while a claim waits.
  void RunOnce();

 private:
  void ReadSkus();
  void ReadUsages();

  AgentPoolClient& client_;
  Quota& quota_;
  Marks& marks_;
  const base::Clock& clock_;
  metrics::Registry* const registry_;
  const Hooks hooks_;

  mutable absl::Mutex mutex_;
  std::shared_ptr<const SkuMap> skus_ ABSL_GUARDED_BY(mutex_) = std::make_shared<SkuMap>();
  absl::Duration skus_due_ ABSL_GUARDED_BY(mutex_) = -absl::InfiniteDuration();
  absl::Duration usages_read_ ABSL_GUARDED_BY(mutex_) = -absl::InfiniteDuration();
  bool quota_wanted_ ABSL_GUARDED_BY(mutex_) = false;
  bool unreadable_told_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace gpu_provisioner

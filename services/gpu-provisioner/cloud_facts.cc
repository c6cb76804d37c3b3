#include "gpu-provisioner/cloud_facts.h"

#include <utility>

#include "common/base/log.h"

namespace gpu_provisioner {
namespace {

constexpr absl::Duration kSkusEvery = absl::Hours(24);
constexpr absl::Duration kSkusRetry = absl::Minutes(10);
constexpr absl::Duration kUsagesEvery = absl::Minutes(10);
constexpr absl::Duration kUsagesWhileWaiting = absl::Minutes(1);

}  // namespace

CloudFacts::CloudFacts(AgentPoolClient& client, Quota& quota, Marks& marks,
                       const base::Clock& clock, metrics::Registry* registry, Hooks hooks)
    : client_(client),
      quota_(quota),
      marks_(marks),
      clock_(clock),
      registry_(registry),
      hooks_(std::move(hooks)) {}

std::shared_ptr<const SkuMap> CloudFacts::skus() const {
  absl::MutexLock lock(&mutex_);
  return skus_;
}

void CloudFacts::WantQuota() {
  absl::MutexLock lock(&mutex_);
  quota_wanted_ = true;
}

void CloudFacts::RunOnce() {
  const bool awaited = hooks_.quota_awaited && hooks_.quota_awaited();
  bool skus_due = false;
  bool usages_due = false;
  {
    absl::MutexLock lock(&mutex_);
    const absl::Duration now = clock_.Monotonic();
    skus_due = now >= skus_due_;
    const bool soon = awaited || quota_wanted_;
    usages_due = now >= usages_read_ + (soon ? kUsagesWhileWaiting : kUsagesEvery);
  }
  if (usages_due) ReadUsages();
  if (skus_due) ReadSkus();
}

void CloudFacts::ReadSkus() {
  ArmFailure failure;
  SkuMap skus = client_.Skus(failure);
  absl::MutexLock lock(&mutex_);
  if (!failure.ok()) {
    // The catalogue alone will do.
    skus_due_ = clock_.Monotonic() + kSkusRetry;
    base::LogWarning("sizes of the subscription could not be read",
                     {{"class", ErrorClassName(failure.error_class)}, {"error", failure.message}});
    return;
  }
  skus_due_ = clock_.Monotonic() + kSkusEvery;
  skus_ = std::make_shared<const SkuMap>(std::move(skus));
}

void CloudFacts::ReadUsages() {
  ArmFailure failure;
  const absl::Duration started = clock_.Monotonic();
  const auto usages = client_.Usages(failure);
  bool tell = false;
  {
    absl::MutexLock lock(&mutex_);
    usages_read_ = started;
    quota_wanted_ = false;
    tell = !failure.ok() && !std::exchange(unreadable_told_, !failure.ok());
  }
  if (!failure.ok()) {
    quota_.SetUnreadable();
    if (tell) {
      base::LogWarning(
          "quota could not be read; launches are tried without it",
          {{"class", ErrorClassName(failure.error_class)}, {"error", failure.message}});
      if (hooks_.quota_unreadable) hooks_.quota_unreadable(failure);
    }
    return;
  }
  quota_.SetUsages(usages, started);
  marks_.EndWhereRoom(quota_);
  if (registry_ != nullptr) {
    for (const auto& [family, usage] : usages) {
      const auto set = [&](const char* kind, int64_t cores) {
        registry_
            ->GetGauge("gpu_provisioner_quota_cores", "Cores by quota family",
                       {{"family", family}, {"kind", kind}})
            .Set(static_cast<double>(cores));
      };
      set("limit", usage.limit);
      set("used", usage.used);
    }
  }
  if (hooks_.quota_read) hooks_.quota_read();
}

}  // namespace gpu_provisioner

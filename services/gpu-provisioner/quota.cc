#include "gpu-provisioner/quota.h"

#include <algorithm>
#include <vector>

namespace gpu_provisioner {

void Quota::SetUsages(std::map<std::string, QuotaUsage> usages, absl::Duration started) {
  absl::MutexLock lock(&mutex_);
  usages_ = std::move(usages);
  known_ = true;
  std::erase_if(reservations_,
                [&](const auto& entry) { return entry.second.counted_at < started; });
}

void Quota::SetUnreadable() {
  absl::MutexLock lock(&mutex_);
  known_ = false;
  usages_.clear();
}

QuotaCheck Quota::Check(const QuotaNeed& need, const std::string& claim_uid) const {
  absl::MutexLock lock(&mutex_);
  QuotaCheck result;
  if (!known_ || need.cores <= 0) return result;
  std::vector<std::string> buckets;
  if (need.spot) {
    buckets = {"lowprioritycores"};  // Spot has a quota of its own, over all families.
  } else {
    buckets = {"cores"};
    if (!need.family.empty()) buckets.push_back(Folded(need.family));
  }
  for (const std::string& bucket : buckets) {
    const auto usage = usages_.find(bucket);
    if (usage == usages_.end()) continue;
    int64_t reserved = 0;
    for (const auto& [uid, reservation] : reservations_) {
      if (uid == claim_uid || reservation.need.spot != need.spot) continue;
      const bool same_family = EqualFolded(reservation.need.family, bucket);
      if (same_family || bucket == "cores" || need.spot) reserved += reservation.need.cores;
    }
    const auto& [limit, used] = usage->second;
    const bool enough = used + reserved + need.cores <= limit;
    if (result.known && result.enough && enough && bucket == "cores") continue;
    if (!result.enough) break;
    const bool is_family = bucket != "cores" && !need.spot;
    result = {.known = true,
              .enough = enough,
              .exhausted = is_family ? need.family : (need.spot ? "lowPriorityCores" : "cores"),
              .limit = limit,
              .used = used,
              .reserved = reserved};
  }
  return result;
}

void Quota::Reserve(const std::string& claim_uid, const QuotaNeed& need) {
  absl::MutexLock lock(&mutex_);
  reservations_[claim_uid] = {.need = need};
}

void Quota::Counted(const std::string& claim_uid, absl::Duration now) {
  absl::MutexLock lock(&mutex_);
  const auto reservation = reservations_.find(claim_uid);
  if (reservation != reservations_.end()) reservation->second.counted_at = now;
}

void Quota::Release(const std::string& claim_uid) {
  absl::MutexLock lock(&mutex_);
  reservations_.erase(claim_uid);
}

std::map<std::string, QuotaUsage> Quota::usages() const {
  absl::MutexLock lock(&mutex_);
  return usages_;
}

}  // namespace gpu_provisioner

#include "gpu-provisioner/arm/buckets.h"

#include <algorithm>

namespace gpu_provisioner {
namespace {

struct Limit {
  double burst;
  double per_second;
};

// 80 % of design/provisioner.md 4.4.
constexpr Limit kPutLimit{16, 0.8 / 60};
constexpr Limit kSharedLimit{48, 0.8};
constexpr size_t kPutBucketsMax = 4096;

bool IsWrite(ArmOperation operation) {
  return operation == ArmOperation::kPut || operation == ArmOperation::kDelete ||
         operation == ArmOperation::kAbort;
}

bool IsCompute(ArmOperation operation) {
  return operation == ArmOperation::kSkus || operation == ArmOperation::kUsages;
}

Limit LimitOf(ArmOperation operation) {
  return operation == ArmOperation::kPut ? kPutLimit : kSharedLimit;
}

// Tokens that this operation leaves for those that matter more.
double Reserve(ArmOperation operation) {
  switch (operation) {
    case ArmOperation::kDelete:
    case ArmOperation::kAbort:
      return 4;
    case ArmOperation::kGet:
      return 6;
    case ArmOperation::kMachines:
      return 8;
    default:
      return 0;
  }
}

}  // namespace

std::string_view ArmOperationName(ArmOperation operation) {
  static constexpr std::string_view kNames[] = {"put",   "get",      "list", "delete",
                                                "abort", "machines", "skus", "usages"};
  return kNames[static_cast<size_t>(operation)];
}

Buckets::Buckets(const base::Clock& clock) : clock_(clock) {
  absl::MutexLock lock(&mutex_);
  shared_ = compute_ = {.tokens = kSharedLimit.burst, .filled_at = clock.Monotonic()};
}

Buckets::Bucket& Buckets::BucketOf(ArmOperation operation, const std::string& pool) {
  if (IsCompute(operation)) return compute_;
  if (operation != ArmOperation::kPut) return shared_;
  // Pools come and go; a full bucket says nothing, so it can be forgotten.
  if (puts_.size() >= kPutBucketsMax) puts_.erase(puts_.begin());
  return puts_.try_emplace(pool, Bucket{.tokens = kPutLimit.burst, .filled_at = clock_.Monotonic()})
      .first->second;
}

absl::Duration Buckets::Take(ArmOperation operation, const std::string& pool) {
  absl::MutexLock lock(&mutex_);
  const absl::Duration now = clock_.Monotonic();
  Bucket& bucket = BucketOf(operation, pool);
  const absl::Duration paused = std::max(
      bucket.paused_until, IsWrite(operation) ? writes_paused_until_ : reads_paused_until_);
  if (paused > now) return paused - now;

  const Limit limit = LimitOf(operation);
  const double refill = absl::ToDoubleSeconds(now - bucket.filled_at) * limit.per_second;
  bucket.tokens = std::min(limit.burst, bucket.tokens + refill);
  bucket.filled_at = now;
  const double missing = 1 + Reserve(operation) - bucket.tokens;
  if (missing > 0) return absl::Seconds(missing / limit.per_second);
  bucket.tokens -= 1;
  return absl::ZeroDuration();
}

absl::Duration Buckets::Pause(ArmOperation operation, const std::string& pool,
                              absl::Duration wait) {
  absl::MutexLock lock(&mutex_);
  if (wait <= absl::ZeroDuration()) {
    wait = operation == ArmOperation::kPut ? absl::Seconds(60) : absl::Seconds(30);
  }
  wait = std::clamp(wait, absl::Seconds(1), absl::Hours(1));
  Bucket& bucket = BucketOf(operation, pool);
  bucket.paused_until = std::max(bucket.paused_until, clock_.Monotonic() + wait);
  return wait;
}

absl::Duration Buckets::PauseAll(bool writes, absl::Duration wait) {
  absl::MutexLock lock(&mutex_);
  wait = std::clamp(wait <= absl::ZeroDuration() ? absl::Seconds(30) : wait, absl::Seconds(1),
                    absl::Hours(1));
  absl::Duration& until = writes ? writes_paused_until_ : reads_paused_until_;
  until = std::max(until, clock_.Monotonic() + wait);
  return wait;
}

double Buckets::SharedFill() const {
  absl::MutexLock lock(&mutex_);
  const double refill =
      absl::ToDoubleSeconds(clock_.Monotonic() - shared_.filled_at) * kSharedLimit.per_second;
  return std::min(1.0, (shared_.tokens + refill) / kSharedLimit.burst);
}

}  // namespace gpu_provisioner

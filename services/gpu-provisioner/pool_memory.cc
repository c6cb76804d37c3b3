#include "gpu-provisioner/pool_memory.h"

#include <algorithm>

namespace gpu_provisioner {
namespace {

constexpr absl::Duration kForbiddenIsFalseAfter = absl::Minutes(10);
constexpr absl::Duration kNotFoundApart = absl::Seconds(10);
constexpr absl::Duration kBetweenPuts = absl::Seconds(60);

// Nothing went over the wire: a bucket, the lease or the token held it back.
bool HeldBack(const PoolResult& result) {
  return result.status == 0 && (result.failure.error_class == ErrorClass::kThrottled ||
                                result.failure.error_class == ErrorClass::kToken);
}

void Wait(PoolMemory& memory, const PoolResult& result, std::string_view location, double jitter) {
  const ArmFailure& failure = result.failure;
  memory.wait_verdict = VerdictOf(failure, {.size = "the agent pool"}, location);
  memory.wait_until = result.ended + WaitOf(failure, memory.failures, jitter);
  ++memory.failures;
  const bool forbidden =
      failure.error_class == ErrorClass::kForbidden || failure.error_class == ErrorClass::kToken;
  if (!forbidden) {
    memory.forbidden_since = absl::InfiniteDuration();
    return;
  }
  memory.forbidden_since = std::min(memory.forbidden_since, result.ended);
  // By now an administrator must act: roles spread within ten minutes.
  if (result.ended - memory.forbidden_since >= kForbiddenIsFalseAfter) {
    memory.wait_verdict.status = "False";
  }
}

void LearnPut(PoolMemory& memory, const PoolResult& result, std::string_view location,
              double jitter) {
  if (!HeldBack(result)) {
    memory.put_started = result.started;
    memory.gone = false;
  }
  switch (result.failure.error_class) {
    case ErrorClass::kNone:
      memory.accepted_at = result.ended;
      memory.failures = 0;
      memory.forbidden_since = absl::InfiniteDuration();
      memory.wait_until = PoolMemory::kNever;
      memory.abort = AbortState::kNotTried;
      memory.drain_blocked = false;
      memory.delete_not_before = PoolMemory::kNever;
      memory.machine_provider_id.clear();
      memory.errors.clear();
      return;
    case ErrorClass::kUnknownOutcome:
      memory.outcome_unknown = true;
      memory.unknown_since = result.started;
      memory.not_found = 0;
      memory.last_get = PoolMemory::kNever;
      return;
    case ErrorClass::kInProgressCreate:
    case ErrorClass::kPrecondition:
      memory.must_get = true;
      memory.last_get = PoolMemory::kNever;
      return;
    default:
      memory.errors = ExpandError({result.failure.code, result.failure.message});
      Wait(memory, result, location, jitter);
  }
}

void LearnGet(PoolMemory& memory, const PoolResult& result, double jitter) {
  if (!HeldBack(result)) memory.last_get = result.ended;
  if (result.failure.ok()) {
    memory.outcome_unknown = false;
    memory.must_get = false;
    if (memory.accepted_at == absl::InfiniteDuration()) memory.accepted_at = result.ended;
    return;
  }
  if (result.failure.error_class != ErrorClass::kPoolGone) return;
  memory.gone = true;
  if (memory.must_get) {
    // Not our create that runs: somebody else holds the cluster.
    memory.must_get = false;
    memory.wait_until = result.ended + absl::Seconds(60) + absl::Seconds(10) * jitter;
    memory.wait_verdict = Unknown("WaitingForCluster", "another operation holds the cluster");
  }
  if (!memory.outcome_unknown) return;
  if (memory.not_found++ == 0) memory.first_not_found = result.ended;
  // One 404 may come from a replica that has not heard of the pool yet.
  const bool sure = memory.not_found >= 2 &&
                    result.ended - memory.first_not_found >= kNotFoundApart &&
                    result.ended - memory.put_started >= kBetweenPuts;
  if (sure) memory.outcome_unknown = false;
}

void LearnDelete(PoolMemory& memory, const PoolResult& result, double jitter) {
  switch (result.failure.error_class) {
    case ErrorClass::kNone:
      memory.gone = result.status == 204;
      memory.failures = 0;
      return;
    case ErrorClass::kPoolGone:
      memory.gone = true;
      return;
    case ErrorClass::kPrecondition:
      memory.must_get = true;  // It changed: read it and decide again.
      memory.last_get = PoolMemory::kNever;
      return;
    default:
      memory.errors = ExpandError({result.failure.code, result.failure.message});
      memory.delete_not_before = result.ended + WaitOf(result.failure, memory.failures++, jitter);
  }
}

void LearnAbort(PoolMemory& memory, const PoolResult& result) {
  if (result.failure.ok()) {
    memory.abort = AbortState::kAccepted;
  } else if (result.status == 409) {
    memory.abort = AbortState::kTooLate;
  } else if (HeldBack(result)) {
    memory.delete_not_before = result.ended + result.failure.retry_after;
  } else {
    memory.abort = AbortState::kRefused;
  }
}

}  // namespace

void PoolMemory::BeginClaim(const std::string& uid, const std::string& retry_annotation,
                            absl::Duration now) {
  if (claim_uid == uid && retry == retry_annotation) return;
  const bool other_claim = claim_uid != uid;
  claim_uid = uid;
  retry = retry_annotation;
  wait_until = kNever;
  failures = 0;
  forbidden_since = absl::InfiniteDuration();
  tried.clear();
  errors.clear();
  if (!other_claim) return;
  accepted_at = launched_at = absl::InfiniteDuration();
  first_seen = now;
  removal.reset();
  machine_provider_id.clear();
  machines_asked = kNever;
  abort = AbortState::kNotTried;
  drain_blocked = false;
}

absl::Duration WaitOf(const ArmFailure& failure, int failures, double jitter) {
  const auto backoff = [&](absl::Duration first, absl::Duration most) {
    return std::min(most, first * static_cast<double>(1LL << std::min(failures, 20)));
  };
  switch (failure.error_class) {
    case ErrorClass::kThrottled:
      return failure.retry_after > absl::ZeroDuration() ? failure.retry_after : absl::Seconds(60);
    case ErrorClass::kInProgressOther:
    case ErrorClass::kSubnetBusy:
      return absl::Seconds(60) + absl::Seconds(10) * jitter;
    case ErrorClass::kSubnetFull:
    case ErrorClass::kPolicy:
    case ErrorClass::kInvalid:
      return absl::Minutes(10);
    case ErrorClass::kReconcileInternal:
      return failures < 3 ? absl::Seconds(60) : absl::Minutes(10);
    case ErrorClass::kForbidden:
    case ErrorClass::kToken:
      return backoff(absl::Minutes(1), absl::Minutes(10));
    case ErrorClass::kClusterGone:
      return absl::Minutes(1);
    case ErrorClass::kPoolLimit:
      return absl::Seconds(60);
    // The mark on the offering says how long; another offering may go on after I4's minute.
    case ErrorClass::kQuotaFamily:
    case ErrorClass::kQuotaRegion:
    case ErrorClass::kQuotaSpot:
    case ErrorClass::kSkuRestricted:
    case ErrorClass::kSkuNotAvailable:
    case ErrorClass::kAllocation:
    case ErrorClass::kAllocationZone:
    case ErrorClass::kSpotPrice:
      return absl::ZeroDuration();
    default:
      return backoff(absl::Seconds(1), absl::Seconds(60));
  }
}

void Learn(PoolMemory& memory, const PoolResult& result, std::string_view location, double jitter) {
  const bool write =
      result.job.kind != PoolJobKind::kGet && result.job.kind != PoolJobKind::kMachines;
  // A refusal changed nothing, so what the last list said still holds.
  const bool refused = result.status >= 400 && result.status < 500;
  if (write && !HeldBack(result) && !refused) memory.write_ended = result.ended;
  switch (result.job.kind) {
    case PoolJobKind::kPut:
      return LearnPut(memory, result, location, jitter);
    case PoolJobKind::kGet:
      return LearnGet(memory, result, jitter);
    case PoolJobKind::kDelete:
      return LearnDelete(memory, result, jitter);
    case PoolJobKind::kAbort:
      return LearnAbort(memory, result);
    case PoolJobKind::kMachines:
      memory.machines_asked = result.ended;
      if (!result.machines.empty()) {
        memory.machine_provider_id = "azure://" + result.machines.front().resource_id;
      }
  }
}

}  // namespace gpu_provisioner

// What a process remembers of its calls about one pool: advice that a restart may lose, since all
// facts are on the pool and on the claim.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"

#include "gpu-provisioner/conditions.h"
#include "gpu-provisioner/offerings.h"
#include "gpu-provisioner/write_queue.h"

namespace gpu_provisioner {

enum class AbortState { kNotTried, kAccepted, kTooLate, kRefused };

// Why a pool of a living claim is being taken away.
struct Removal {
  Verdict launched;    // Shown meanwhile.
  Verdict registered;  // Likewise; empty reason: unchanged.
};

struct TriedOffering {
  OfferingRef offering;
  ErrorClass error_class = ErrorClass::kNone;
  absl::Duration until;
};

// All times are monotonic.
struct PoolMemory {
  static constexpr absl::Duration kNever = -absl::InfiniteDuration();

  // Of the pool's name, whoever's claim it is.
  absl::Duration put_started = kNever;  // The last PUT that was sent.
  absl::Duration write_ended = kNever;  // The last write of any kind.
  bool gone = false;                    // Azure itself said so after that write.
  bool outcome_unknown = false;         // Of the last PUT.
  absl::Duration unknown_since = kNever;
  int not_found = 0;                        // GETs since then that found nothing…
  absl::Duration first_not_found = kNever;  // …and when.
  bool must_get = false;                    // Who has the name? A 409 or 412 left that open.
  absl::Duration last_get = kNever;
  AbortState abort = AbortState::kNotTried;
  absl::Duration delete_not_before = kNever;
  bool drain_blocked = false;  // AKS could not drain; Node budgets must be passed over next time.

  // Of one claim.
  std::string claim_uid;
  std::string retry;  // The annotation when this began.
  absl::Duration wait_until = kNever;
  Verdict wait_verdict;
  int failures = 0;  // In a row, for the back-off.
  absl::Duration forbidden_since = absl::InfiniteDuration();
  absl::Duration accepted_at = absl::InfiniteDuration();  // Start of the launch timer.
  absl::Duration launched_at = absl::InfiniteDuration();  // Start of the registration timer.
  absl::Duration first_seen = absl::InfiniteDuration();
  std::optional<Removal> removal;
  std::string machine_provider_id;
  absl::Duration machines_asked = kNever;
  std::vector<CloudError> errors;    // Of the last failure, outer to inner.
  std::vector<TriedOffering> tried;  // Newest last, at most 8.

  // Forgets what belongs to another claim of this name.
  void BeginClaim(const std::string& uid, const std::string& retry_annotation, absl::Duration now);
};

// Takes a call's result in. `jitter` is 0 to 1.
void Learn(PoolMemory& memory, const PoolResult& result, std::string_view location, double jitter);

// How long a refused or failed launch waits before the next try, whatever offering it takes.
absl::Duration WaitOf(const ArmFailure& failure, int failures, double jitter);

}  // namespace gpu_provisioner

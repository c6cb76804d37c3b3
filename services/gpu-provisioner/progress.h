// Where every claim stands, for those who ask: gRPC and metrics. The claim itself stays the truth.

#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "common/base/clock.h"
#include "gpu-provisioner/arm/arm_error.h"
#include "gpu-provisioner/conditions.h"
#include "gpu-provisioner/node_claim.h"
#include "gpu-provisioner/pool_memory.h"

namespace gpu_provisioner {

enum class Phase {
  kValidating = 1,  // As in provisioner.proto.
  kWaitingForQuota,
  kWaitingForCapacity,
  kLaunching,
  kNodeJoining,
  kRegistering,
  kInitializing,
  kReady,
  kDraining,
  kDeleting,
  kGone,
  kBlocked,
};

std::string_view PhaseName(Phase phase);

struct ClaimState {
  std::string claim;
  std::string workspace;
  std::string workspace_namespace;
  Phase phase = Phase::kValidating;
  std::string reason;
  std::string message;
  int attempt = 0;
  std::optional<OfferingRef> offering;
  std::vector<NamedVerdict> conditions;
  std::string pool_state;
  std::vector<CloudError> errors;
  std::vector<TriedOffering> tried;
  std::string next_step;
  absl::Time not_before = absl::InfinitePast();
  std::vector<std::string> drain_blockers;

  absl::Duration since = absl::ZeroDuration();  // Monotonic; set by the board.
  uint64_t version = 0;                         // Likewise; grows with every change.

  bool SameAs(const ClaimState& other) const;
};

// What the conditions of a living claim say together. Pure.
Phase PhaseOf(const std::vector<NamedVerdict>& conditions, std::string& reason,
              std::string& message);

// Thread-safe.
class ProgressBoard {
 public:
  explicit ProgressBoard(const base::Clock& clock) : clock_(clock) {}

  // Replaces the state of its claim; nothing happens when nothing changed.
  void Set(ClaimState state);
  void Remove(const std::string& claim);  // It is gone; told once, then forgotten.

  std::optional<ClaimState> Find(const std::string& claim) const;
  std::vector<ClaimState> All() const;
  std::vector<std::string> InPhase(Phase phase) const;  // Claims, longest waiting first.

  // Changes after `version` (0: everything there is), in order. Blocks until there are some or
  // `timeout` of real time has passed, or Shutdown().
  std::vector<ClaimState> ChangesAfter(uint64_t version, absl::Duration timeout) const;
  void Shutdown();

  // Median of the past seconds from the first launch to Ready; nullopt before the first.
  std::optional<double> TypicalSeconds() const;

 private:
  bool NewerOrShut(uint64_t version) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return version_ > version || shut_;
  }

  const base::Clock& clock_;
  mutable absl::Mutex mutex_;
  std::map<std::string, ClaimState> states_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, ClaimState> gone_ ABSL_GUARDED_BY(mutex_);  // The last few.
  std::map<std::string, absl::Duration> launch_began_ ABSL_GUARDED_BY(mutex_);
  std::vector<double> ready_seconds_ ABSL_GUARDED_BY(mutex_);
  uint64_t version_ ABSL_GUARDED_BY(mutex_) = 0;
  bool shut_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace gpu_provisioner

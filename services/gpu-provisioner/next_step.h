// The state machine: what is known → the one next step. Pure, so that every fault can be tried in a
// test without a cloud.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"

#include "gpu-provisioner/conditions.h"
#include "gpu-provisioner/node_claim.h"
#include "gpu-provisioner/offerings.h"
#include "gpu-provisioner/pool_memory.h"
#include "gpu-provisioner/pool_snapshot.h"

namespace gpu_provisioner {

struct StepOptions {
  absl::Duration launch_timeout = absl::Minutes(20);
  absl::Duration registration_timeout = absl::Minutes(15);
  std::string location;
};

struct StepInputs {
  const NodeRequest& claim;
  const PoolView& view;
  const PoolMemory& memory;
  bool busy = false;                       // A call for this pool is on its way.
  const std::vector<kube::Object>& nodes;  // That say they are of this pool.
  const std::vector<Offering>& offerings;
  absl::Duration now;  // Monotonic.
  absl::Time wall;
  const StepOptions& options;
};

// "Something to tell": an event on the claim.
struct StepEvent {
  std::string reason;
  std::string note;
  bool warning = false;
};

enum class StepKind {
  kWait,
  kLaunch,    // PUT `offering`.
  kPutAgain,  // PUT the same body over a pool whose creation was overridden.
  kGet,       // Ask Azure for this one pool.
  kMachines,  // Ask for its providerID.
  kAbort,
  kDelete,         // The pool.
  kDropFinalizer,  // Of a claim that is being deleted: nothing of it is left.
};

struct Step {
  StepKind kind = StepKind::kWait;
  std::optional<Offering> offering;
  std::string etag;
  bool ignore_disruption_budget = false;

  std::optional<Verdict> launched;  // nullopt: as it is.
  std::optional<Verdict> registered;
  std::string provider_id;             // Where the claim is bound to, if it is.
  const kube::Object* node = nullptr;  // The Node of that providerID; of StepInputs::nodes.
  const AgentPool* pool = nullptr;     // The claim's own pool; of the view.

  // A pool of a living claim begins to be taken away: `offering` has failed with `failure`.
  std::optional<Removal> removal;
  std::optional<ArmFailure> failure;
  bool bad_node = false;  // It counts as one of two tries.

  absl::Duration check_after = absl::InfiniteDuration();
  std::vector<StepEvent> events;
};

// For a claim that lives, has our finalizer, and is valid or not.
Step NextLaunchStep(const StepInputs& inputs);

// For a claim that is being deleted and whose Nodes, if any, are drained.
// `past_deadline`: the claim's grace period is over.
Step NextDeletionStep(const StepInputs& inputs, bool past_deadline);

// "bad:Reason" once, then "stop:Reason:retry": how the last-error annotation counts bad nodes over
// restarts.
std::string NextBadNodeMark(const NodeRequest& claim, std::string_view reason);
// The reason of a stop that still holds; empty if none.
std::string StopReason(const NodeRequest& claim);

}  // namespace gpu_provisioner

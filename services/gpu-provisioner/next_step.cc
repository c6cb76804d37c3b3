#include "gpu-provisioner/next_step.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"

#include "gpu-provisioner/nodes.h"
#include "gpu-provisioner/pool_body.h"

namespace gpu_provisioner {
namespace {

constexpr absl::Duration kBetweenPuts = absl::Seconds(60);
constexpr absl::Duration kSilenceShown = absl::Seconds(30);
constexpr absl::Duration kBetweenGets = absl::Seconds(10);
constexpr absl::Duration kListLook =
    absl::Milliseconds(250);  // A list that changes nothing wakes nobody.
constexpr std::string_view kBadMark = "bad:";
constexpr std::string_view kStopMark = "stop:";

Step Wait(std::optional<Verdict> launched, absl::Duration check_after = absl::InfiniteDuration()) {
  Step step;
  step.launched = std::move(launched);
  step.check_after = check_after;
  return step;
}

Verdict Launching(std::string_view message) { return Unknown("Launching", message); }

// Taking a pool away: abort what runs, then DELETE; each only once, then the snapshot tells.
Step RemovePool(const StepInputs& inputs, const AgentPool& pool) {
  Step step;
  step.pool = &pool;
  step.etag = pool.etag;
  if (inputs.busy || pool.deleting()) return step;
  if (inputs.memory.must_get) {
    step.kind = StepKind::kGet;  // A 412: it changed since we read it.
    return step;
  }
  if (inputs.memory.delete_not_before > inputs.now) {
    step.check_after = inputs.memory.delete_not_before - inputs.now;
    return step;
  }
  if (pool.creating() && inputs.memory.abort == AbortState::kNotTried) {
    step.kind = StepKind::kAbort;
    return step;
  }
  const bool ends_soon =
      pool.state == "Canceling" || (pool.creating() && inputs.memory.abort != AbortState::kTooLate);
  if (ends_soon) return step;
  step.kind = StepKind::kDelete;
  return step;
}

// A GET for a pool whose fate is open, at most every ten seconds.
Step AskAgain(const StepInputs& inputs) {
  const absl::Duration next = inputs.memory.last_get + kBetweenGets;
  Step step;
  if (next <= inputs.now) {
    step.kind = StepKind::kGet;
  } else {
    step.check_after = next - inputs.now;
  }
  return step;
}

// ---- The pool exists
// -----------------------------------------------------------------------------

Step ForeignPool(const StepInputs& inputs, const AgentPool& pool) {
  if (!pool.claim_uid().empty() && pool.deleting()) {
    return Wait(Launching("waiting for the former agent pool of this name to go"));
  }
  const std::string owner = pool.claim_uid().empty() ? "is not ours"
                                                     : "belongs to another claim (uid " +
                                                           std::string(pool.claim_uid()) + ")";
  Step step = Wait(False("NameCollision", absl::StrFormat("agent pool %s exists and %s; it is left "
                                                          "alone. Rename one of them",
                                                          pool.name, owner)),
                   absl::Minutes(1));
  step.events.push_back({"NameCollision", step.launched->message, true});
  (void)inputs;
  return step;
}

OfferingRef OfferingOf(const StepInputs& inputs, const AgentPool& pool) {
  if (inputs.claim.offering) return *inputs.claim.offering;
  return {pool.vm_size, pool.zones.empty() ? "" : pool.zones.front(),
          pool.priority == "Spot" ? "spot" : "on-demand"};
}

// Begins to take a failed pool away.
Step BeginRemoval(const StepInputs& inputs, const AgentPool& pool, ArmFailure failure) {
  const OfferingRef offering = OfferingOf(inputs, pool);
  Step step = RemovePool(inputs, pool);
  Removal removal{.launched = VerdictOf(failure, offering, inputs.options.location)};
  if (failure.error_class == ErrorClass::kNodeBoot) {
    step.bad_node = true;
    removal.launched = Launching("its node did not boot; the agent pool is made anew");
    removal.registered = False("NodeBootstrapFailed", failure.message);
  } else {
    step.events.push_back({"OfferingFailed",
                           absl::StrFormat("%s: %s", offering.ToString(), removal.launched.message),
                           true});
  }
  step.launched = removal.launched;
  if (!removal.registered.reason.empty()) step.registered = removal.registered;
  step.removal = std::move(removal);
  step.failure = std::move(failure);
  step.offering = Offering{.ref = offering};
  return step;
}

Step BeginTimeout(const StepInputs& inputs, const AgentPool& pool, Verdict launched,
                  std::optional<Verdict> registered, ErrorClass error_class) {
  Step step = RemovePool(inputs, pool);
  step.launched = launched;
  step.registered = registered;
  step.removal = Removal{.launched = launched, .registered = registered.value_or(Verdict{})};
  step.failure = ArmFailure{.error_class = error_class, .message = launched.message};
  step.offering = Offering{.ref = OfferingOf(inputs, pool)};
  step.bad_node = registered.has_value();
  step.events.push_back({launched.reason, launched.message, true});
  return step;
}

Step FailedPool(const StepInputs& inputs, const AgentPool& pool) {
  const std::vector<CloudError> errors =
      pool.provisioning_error ? ExpandError(*pool.provisioning_error) : std::vector<CloudError>();
  ArmFailure failure = Classify(0, errors);
  if (errors.empty()) failure.message = "the agent pool is " + pool.state;
  if (failure.error_class == ErrorClass::kOverridden && !inputs.busy) {
    Step step = Wait(Launching("its creation was overridden by another operation; trying again"));
    step.pool = &pool;
    const absl::Duration next = inputs.memory.put_started + kBetweenPuts;
    if (next > inputs.now) {
      step.check_after = next - inputs.now;
    } else {
      step.kind = StepKind::kPutAgain;
      step.etag = pool.etag;
    }
    return step;
  }
  return BeginRemoval(inputs, pool, std::move(failure));
}

const kube::Object* NodeOfProviderId(const StepInputs& inputs, std::string_view provider_id) {
  for (const kube::Object& node : inputs.nodes) {
    if (EqualFolded(node.StringAt({"spec", "providerID"}), provider_id)) return &node;
  }
  return nullptr;
}

// Which Node the claim is bound to. Extra ones are told of and otherwise left alone.
void Bind(const StepInputs& inputs, const AgentPool& pool, Step& step) {
  const NodeRequest& claim = inputs.claim;
  const kube::Object* bound =
      claim.provider_id.empty() ? nullptr : NodeOfProviderId(inputs, claim.provider_id);
  // A user's upgrade reimages: the one Node there is takes the place of the one that is gone.
  if (bound == nullptr && inputs.nodes.size() == 1) {
    const bool named = !inputs.nodes.front().StringAt({"spec", "providerID"}).empty();
    if (named && !pool.failed() && !pool.deleting()) bound = &inputs.nodes.front();
  }
  if (bound != nullptr) {
    step.node = bound;
    step.provider_id = std::string(bound->StringAt({"spec", "providerID"}));
  } else if (!claim.provider_id.empty()) {
    step.provider_id = claim.provider_id;
  } else {
    step.provider_id = inputs.memory.machine_provider_id;
  }
  if (inputs.nodes.size() > 1 && !pool.being_reworked()) {
    std::string names;
    for (const kube::Object& node : inputs.nodes) {
      if (&node != bound) names += (names.empty() ? "" : ", ") + std::string(node.name());
    }
    step.events.push_back({"ExtraNodeInPool", "agent pool has more than one node: " + names, true});
  }
}

Step BoundPool(const StepInputs& inputs, const AgentPool& pool, Step step) {
  step.launched = True();
  if (step.node != nullptr || pool.being_reworked() || inputs.claim.registered()) return step;
  step.registered = Unknown("NodeNotFound", "the instance runs; its node has not joined yet");
  const absl::Duration since = std::min(inputs.memory.launched_at, inputs.now);
  const absl::Duration left = since + inputs.options.registration_timeout - inputs.now;
  if (left > absl::ZeroDuration()) {
    step.check_after = left;
    return step;
  }
  return BeginTimeout(
      inputs, pool, Launching("its node never joined; the agent pool is made anew"),
      False("RegistrationTimeout",
            absl::StrFormat("no node joined within %s",
                            absl::FormatDuration(inputs.options.registration_timeout))),
      ErrorClass::kNodeBoot);
}

Step UnboundPool(const StepInputs& inputs, const AgentPool& pool, Step step) {
  if (pool.succeeded()) {
    step.launched = Launching("the agent pool is ready; waiting for its node");
    // One LIST later than the success was seen, the Node has had its chance to show itself.
    const absl::Duration next = inputs.memory.machines_asked + kBetweenGets;
    if (inputs.busy || next > inputs.now) {
      step.check_after = inputs.busy ? absl::InfiniteDuration() : next - inputs.now;
    } else {
      step.kind = StepKind::kMachines;
    }
    return step;
  }
  step.launched = Launching(absl::StrFormat("agent pool of %s is %s", pool.vm_size, pool.state));
  if (pool.being_reworked()) return step;
  const absl::Duration since = std::min(inputs.memory.accepted_at, inputs.now);
  const absl::Duration left = since + inputs.options.launch_timeout - inputs.now;
  if (left > absl::ZeroDuration()) {
    step.check_after = left;
    return step;
  }
  return BeginTimeout(
      inputs, pool,
      False("LaunchTimeout", absl::StrFormat("%s was not created within %s", pool.vm_size,
                                             absl::FormatDuration(inputs.options.launch_timeout))),
      std::nullopt, ErrorClass::kReconcileInternal);
}

Step OwnPool(const StepInputs& inputs, const AgentPool& pool) {
  if (inputs.memory.removal && !inputs.claim.registered()) {
    Step step = RemovePool(inputs, pool);
    step.launched = inputs.memory.removal->launched;
    if (!inputs.memory.removal->registered.reason.empty()) {
      step.registered = inputs.memory.removal->registered;
    }
    return step;
  }
  if (pool.deleting()) {
    if (inputs.claim.registered()) return Wait(std::nullopt);
    return Wait(Launching("somebody deletes its agent pool; it is made anew when that is done"));
  }
  Step step;
  step.pool = &pool;
  Bind(inputs, pool, step);
  const bool ready = step.node != nullptr && IsNodeReady(*step.node);
  if (pool.failed()) {
    if (ready) {
      step.events.push_back(
          {"PoolDegraded",
           absl::StrFormat("agent pool is %s, but its node is ready and used", pool.state), true});
    } else if (!inputs.claim.registered()) {
      return FailedPool(inputs, pool);
    }
  }
  if (inputs.claim.offering && !EqualFolded(pool.vm_size, inputs.claim.offering->size)) {
    step.events.push_back({"PoolDegraded",
                           absl::StrFormat("agent pool has size %s instead of %s; left as it is",
                                           pool.vm_size, inputs.claim.offering->size),
                           true});
  }
  return step.provider_id.empty() ? UnboundPool(inputs, pool, std::move(step))
                                  : BoundPool(inputs, pool, std::move(step));
}

// ---- No pool
// -------------------------------------------------------------------------------------

// Azure could not be asked yet; after half a minute the user is told why.
Step NothingKnown(const StepInputs& inputs) {
  const ArmFailure& failure = inputs.view.failure;
  const bool silent = inputs.now - std::min(inputs.memory.first_seen, inputs.now) < kSilenceShown;
  const bool tells = !failure.ok() && failure.error_class != ErrorClass::kUnknownOutcome;
  if (failure.ok() || (silent && !tells)) {
    return Wait(Launching("looking at the cluster's agent pools"), kListLook);
  }
  return Wait(VerdictOf(failure, {.size = "the agent pool"}, inputs.options.location),
              absl::Seconds(1));
}

Step OpenOutcome(const StepInputs& inputs) {
  Step step = AskAgain(inputs);
  const bool silent = inputs.now - inputs.memory.unknown_since < kSilenceShown;
  if (inputs.memory.outcome_unknown && !silent) {
    step.launched = Unknown("LaunchFailed", "Azure has not said whether it creates the agent pool");
  } else {
    step.launched = Launching("asking Azure whether the agent pool is being created");
  }
  return step;
}

std::string JoinMessages(const std::vector<Offering>& offerings) {
  std::vector<std::string> seen;
  std::string joined;
  for (const Offering& offering : offerings) {
    std::string message = offering.blocked_message;
    if (std::ranges::find(seen, message) != seen.end()) continue;
    seen.push_back(message);
    // "no capacity in eastus: A …; B …" says the place once.
    const size_t colon = message.find(": ");
    const bool capacity = absl::StartsWith(message, "no capacity in ") && !joined.empty() &&
                          absl::StartsWith(joined, "no capacity in ");
    if (capacity && colon != std::string::npos) message = message.substr(colon + 2);
    joined += (joined.empty() ? "" : "; ") + message;
  }
  return joined;
}

Verdict VerdictOfBlock(const Offering& offering) {
  switch (offering.blocked_by) {
    case BlockedBy::kPrice:
      return False("PriceLimit", "");
    case BlockedBy::kPoolLimit:
      return False("PoolLimitReached", "");
    default:
      return VerdictOf({.error_class = offering.mark_class, .code = offering.mark_code},
                       offering.ref, "");
  }
}

Step NothingLeft(const StepInputs& inputs) {
  if (inputs.offerings.empty()) {
    return Wait(False("InvalidSpec",
                      "requirement node.kubernetes.io/instance-type: none of its sizes exists and "
                      "fits the other requirements"));
  }
  Verdict verdict = VerdictOfBlock(inputs.offerings.back());
  verdict.message = JoinMessages(inputs.offerings);
  absl::Duration until = absl::InfiniteDuration();
  for (const Offering& offering : inputs.offerings) until = std::min(until, offering.blocked_until);
  return Wait(std::move(verdict), std::max(absl::Seconds(1), until - inputs.now));
}

Step Launch(const StepInputs& inputs) {
  const auto open = std::ranges::find_if(inputs.offerings, [](const Offering& offering) {
    return offering.blocked_by == BlockedBy::kNothing;
  });
  if (open == inputs.offerings.end()) return NothingLeft(inputs);
  absl::Duration wait = inputs.memory.put_started + kBetweenPuts - inputs.now;
  // After a restart the annotation is all that is known of the last PUT.
  const bool fresh = inputs.memory.put_started == PoolMemory::kNever;
  if (fresh && inputs.claim.not_before) {
    wait = std::min(kBetweenPuts, *inputs.claim.not_before - inputs.wall);
  }
  if (wait > absl::ZeroDuration()) {
    return Wait(Launching(absl::StrFormat("next try with %s; Azure allows one creation of an agent "
                                          "pool per minute",
                                          open->ref.size)),
                wait);
  }
  Step step;
  step.kind = StepKind::kLaunch;
  step.offering = *open;
  step.launched = Launching(absl::StrFormat("creating an agent pool of %s", open->ref.size));
  return step;
}

Step NoPool(const StepInputs& inputs) {
  const PoolMemory& memory = inputs.memory;
  if (inputs.claim.registered()) return Wait(std::nullopt);  // The collector's matter.
  if (inputs.busy) return Wait(Launching("a call to Azure is on its way"));
  if (inputs.view.cluster_gone || inputs.view.listed == PoolMemory::kNever) {
    return NothingKnown(inputs);
  }
  if (memory.outcome_unknown || memory.must_get) return OpenOutcome(inputs);
  const std::string stop = StopReason(inputs.claim);
  if (!stop.empty()) {
    const std::string message =
        "two nodes in a row failed; set the annotation gpu-provisioner.kaito.sh/retry to try again";
    Step step = Wait(False(stop, message));
    step.registered = False(stop, message);
    return step;
  }
  if (memory.wait_until > inputs.now) {
    return Wait(memory.wait_verdict, memory.wait_until - inputs.now);
  }
  // Only a list that began after our last write can say that the name is free.
  const bool name_free = inputs.view.AbsentSince(inputs.claim.name, memory.write_ended);
  if (!name_free && !memory.gone) {
    return Wait(Launching("waiting for the list of agent pools"), kListLook);
  }
  return Launch(inputs);
}

}  // namespace

Step NextLaunchStep(const StepInputs& inputs) {
  if (!inputs.claim.invalid.empty()) return Wait(False("InvalidSpec", inputs.claim.invalid));
  const AgentPool* const pool = inputs.view.Find(inputs.claim.name);
  if (pool == nullptr) return NoPool(inputs);
  if (!IsPoolOf(*pool, inputs.claim)) return ForeignPool(inputs, *pool);
  return OwnPool(inputs, *pool);
}

Step NextDeletionStep(const StepInputs& inputs, bool past_deadline) {
  const PoolMemory& memory = inputs.memory;
  Step drop;
  drop.kind = StepKind::kDropFinalizer;
  const AgentPool* const pool = inputs.view.Find(inputs.claim.name);
  if (pool != nullptr && !IsPoolOf(*pool, inputs.claim)) return drop;
  if (inputs.busy) return {};
  // A cluster that Azure does not know is a wrong configuration, not an instance that is gone.
  if (inputs.view.cluster_gone) return Wait(std::nullopt, absl::Minutes(1));
  if (pool != nullptr) {
    Step step = RemovePool(inputs, *pool);
    // Our own drain is complete, or nobody waits for it any more: AKS need not ask the budgets
    // again.
    step.ignore_disruption_budget = inputs.claim.registered() || past_deadline;
    return step;
  }
  if (memory.outcome_unknown) return AskAgain(inputs);
  if (memory.gone) return drop;
  if (!inputs.view.AbsentSince(inputs.claim.name, memory.write_ended)) {
    return Wait(std::nullopt, kListLook);
  }
  const bool never_tried = inputs.claim.attempt == 0 && memory.put_started == PoolMemory::kNever;
  if (never_tried) return drop;
  return AskAgain(inputs);  // Absence is believed when Azure says 404 for this one pool as well.
}

std::string NextBadNodeMark(const NodeRequest& claim, std::string_view reason) {
  if (!absl::StartsWith(claim.last_error, absl::string_view(kBadMark.data(), kBadMark.size()))) {
    return std::string(kBadMark) + std::string(reason);
  }
  return absl::StrFormat("%s%s:%s", kStopMark, reason, claim.retry);
}

std::string StopReason(const NodeRequest& claim) {
  const std::string& mark = claim.last_error;
  if (mark.rfind(kStopMark, 0) != 0) return "";
  const size_t colon = mark.find(':', kStopMark.size());
  if (colon == std::string::npos) return "";
  const std::string retry = mark.substr(colon + 1);
  return retry == claim.retry ? mark.substr(kStopMark.size(), colon - kStopMark.size()) : "";
}

}  // namespace gpu_provisioner

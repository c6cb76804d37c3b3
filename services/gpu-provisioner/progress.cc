#include "gpu-provisioner/progress.h"

#include <algorithm>
#include <tuple>

namespace gpu_provisioner {
namespace {

constexpr size_t kGoneMax = 256;
constexpr size_t kRunsMax = 64;

const Verdict* Find(const std::vector<NamedVerdict>& conditions, std::string_view type) {
  const auto found = std::ranges::find_if(
      conditions, [&](const NamedVerdict& condition) { return condition.type == type; });
  return found == conditions.end() ? nullptr : &found->verdict;
}

Phase PhaseOfLaunch(const Verdict& launched) {
  if (launched.reason == "QuotaExceeded" || launched.reason == "RegionalQuotaExceeded") {
    return Phase::kWaitingForQuota;
  }
  if (launched.reason == "InsufficientCapacity" || launched.reason == "SkuNotAvailable" ||
      launched.reason == "PoolLimitReached") {
    return Phase::kWaitingForCapacity;
  }
  if (launched.status == "False" || launched.reason == "AuthorizationFailed") {
    return Phase::kBlocked;
  }
  return launched.reason == "AwaitingReconciliation" ? Phase::kValidating : Phase::kLaunching;
}

}  // namespace

std::string_view PhaseName(Phase phase) {
  static constexpr std::string_view kNames[] = {
      "Unspecified", "Validating",  "WaitingForQuota", "WaitingForCapacity",
      "Launching",   "NodeJoining", "Registering",     "Initializing",
      "Ready",       "Draining",    "Deleting",        "Gone",
      "Blocked"};
  return kNames[static_cast<size_t>(phase)];
}

bool ClaimState::SameAs(const ClaimState& other) const {
  return phase == other.phase && reason == other.reason && message == other.message &&
         attempt == other.attempt && offering == other.offering && pool_state == other.pool_state &&
         next_step == other.next_step && drain_blockers == other.drain_blockers &&
         errors == other.errors && tried.size() == other.tried.size();
}

Phase PhaseOf(const std::vector<NamedVerdict>& conditions, std::string& reason,
              std::string& message) {
  Phase phase = Phase::kReady;
  for (const char* type : {"Launched", "Registered", "Initialized"}) {
    const Verdict* const verdict = Find(conditions, type);
    if (verdict == nullptr || verdict->status == "True") continue;
    reason = verdict->reason;
    message = verdict->message;
    const std::string_view name = type;
    if (name == "Launched") return PhaseOfLaunch(*verdict);
    if (verdict->status == "False") return Phase::kBlocked;
    if (name == "Initialized") return Phase::kInitializing;
    return verdict->reason == "NodeNotFound" ? Phase::kNodeJoining : Phase::kRegistering;
  }
  reason = "Ready";
  message.clear();
  return phase;
}

void ProgressBoard::Set(ClaimState state) {
  absl::MutexLock lock(&mutex_);
  const absl::Duration now = clock_.Monotonic();
  const auto before = states_.find(state.claim);
  if (before != states_.end() && before->second.SameAs(state)) return;
  const bool same_phase = before != states_.end() && before->second.phase == state.phase;
  state.since = same_phase ? before->second.since : now;
  state.version = ++version_;
  if (state.phase == Phase::kLaunching) launch_began_.try_emplace(state.claim, now);
  const auto began = launch_began_.find(state.claim);
  if (state.phase == Phase::kReady && began != launch_began_.end()) {
    if (ready_seconds_.size() >= kRunsMax) ready_seconds_.erase(ready_seconds_.begin());
    ready_seconds_.push_back(absl::ToDoubleSeconds(now - began->second));
    launch_began_.erase(began);
  }
  gone_.erase(state.claim);
  states_[state.claim] = std::move(state);
}

void ProgressBoard::Remove(const std::string& claim) {
  absl::MutexLock lock(&mutex_);
  const auto state = states_.find(claim);
  launch_began_.erase(claim);
  if (state == states_.end()) return;
  ClaimState gone{.claim = claim,
                  .workspace = state->second.workspace,
                  .workspace_namespace = state->second.workspace_namespace,
                  .phase = Phase::kGone,
                  .since = clock_.Monotonic(),
                  .version = ++version_};
  states_.erase(state);
  if (gone_.size() >= kGoneMax) gone_.erase(gone_.begin());
  gone_[claim] = std::move(gone);
}

std::optional<ClaimState> ProgressBoard::Find(const std::string& claim) const {
  absl::MutexLock lock(&mutex_);
  const auto state = states_.find(claim);
  if (state == states_.end()) return std::nullopt;
  return state->second;
}

std::vector<ClaimState> ProgressBoard::All() const {
  absl::MutexLock lock(&mutex_);
  std::vector<ClaimState> states;
  for (const auto& [name, state] : states_) states.push_back(state);
  return states;
}

std::vector<std::string> ProgressBoard::InPhase(Phase phase) const {
  std::vector<ClaimState> states = All();
  std::erase_if(states, [&](const ClaimState& state) { return state.phase != phase; });
  std::ranges::sort(states, [](const ClaimState& a, const ClaimState& b) {
    return std::tie(a.since, a.claim) < std::tie(b.since, b.claim);
  });
  std::vector<std::string> names;
  for (const ClaimState& state : states) names.push_back(state.claim);
  return names;
}

std::vector<ClaimState> ProgressBoard::ChangesAfter(uint64_t version,
                                                    absl::Duration timeout) const {
  absl::MutexLock lock(&mutex_);
  const auto ready = [this, version]()
                         ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return NewerOrShut(version); };
  mutex_.AwaitWithTimeout(absl::Condition(&ready), timeout);
  std::vector<ClaimState> changes;
  for (const auto* const states : {&states_, &gone_}) {
    for (const auto& [name, state] : *states) {
      if (state.version > version) changes.push_back(state);
    }
  }
  std::ranges::sort(changes, {}, &ClaimState::version);
  return changes;
}

void ProgressBoard::Shutdown() {
  absl::MutexLock lock(&mutex_);
  shut_ = true;
}

std::optional<double> ProgressBoard::TypicalSeconds() const {
  absl::MutexLock lock(&mutex_);
  if (ready_seconds_.empty()) return std::nullopt;
  std::vector<double> sorted = ready_seconds_;
  std::ranges::sort(sorted);
  return sorted[sorted.size() / 2];
}

}  // namespace gpu_provisioner

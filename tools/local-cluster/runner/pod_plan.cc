#include "local-cluster/runner/pod_plan.h"

#include <algorithm>

#include "common/base/check.h"

namespace local_cluster {
namespace {

using Phase = ContainerState::Phase;

const ContainerState& StateOf(const ContainerStates& states, const ContainerSpec& container) {
  static const ContainerState kWaiting;
  const auto found = states.find(container.name);
  return found == states.end() ? kWaiting : found->second;
}

bool HasSucceeded(const ContainerState& state) {
  return state.phase == Phase::kTerminated && state.termination &&
         state.termination->exit_code == 0;
}

// An init container that will not be tried again.
bool HasFailedForGood(const PodSpec& spec, const ContainerSpec& container,
                      const ContainerState& state) {
  return state.phase == Phase::kTerminated && !ShouldRestart(spec, container, *state.termination);
}

void StartWhenDue(const ContainerSpec& container, const ContainerState& state, absl::Time now,
                  PodPlan& plan) {
  absl::Time due = state.not_before;
  if (state.termination) due = std::max(due, state.termination->finished_at + state.backoff);
  if (due <= now) {
    plan.start.push_back(container.name);
  } else {
    plan.wake_at = std::min(plan.wake_at, due);
  }
}

bool Ends(const PodSpec& spec, const ContainerSpec& container, const ContainerState& state) {
  return state.phase == Phase::kTerminated && !ShouldRestart(spec, container, *state.termination);
}

// Everything but sidecars first, as those may serve the others while they end.
PodPlan PlanStop(const PodSpec& spec, const ContainerStates& states) {
  PodPlan plan;
  bool others_run = false;
  for (const ContainerSpec& container : spec.containers) {
    if (!container.sidecar && StateOf(states, container).running()) others_run = true;
  }
  bool any_runs = false;
  for (const ContainerSpec& container : spec.containers) {
    const ContainerState& state = StateOf(states, container);
    if (!state.running()) continue;
    any_runs = true;
    if (container.sidecar && others_run) continue;
    if (!state.stopping) plan.stop.push_back(container.name);
  }
  plan.all_ended = !any_runs;
  return plan;
}

}  // namespace

absl::Duration NextBackoff(absl::Duration before, absl::Duration ran) {
  if (ran >= kBackoffReset) return absl::ZeroDuration();
  if (before == absl::ZeroDuration()) return kBackoffInitial;
  return std::min(before * 2, kBackoffMax);
}

bool ShouldRestart(const PodSpec& spec, const ContainerSpec& container, const Termination& ended) {
  if (container.sidecar) return true;
  if (container.init) {
    return ended.exit_code != 0 && spec.restart_policy != RestartPolicy::kNever;
  }
  switch (spec.restart_policy) {
    case RestartPolicy::kAlways:
      return true;
    case RestartPolicy::kOnFailure:
      return ended.exit_code != 0;
    case RestartPolicy::kNever:
      return false;
  }
  return false;
}

bool IsInitialized(const PodSpec& spec, const ContainerStates& states) {
  return std::ranges::all_of(spec.containers, [&](const ContainerSpec& container) {
    if (!container.init) return true;
    const ContainerState& state = StateOf(states, container);
    return container.sidecar ? state.started : HasSucceeded(state);
  });
}

PodPlan PlanPod(const PodSpec& spec, const ContainerStates& states, bool stopping, absl::Time now) {
  if (stopping) return PlanStop(spec, states);
  PodPlan plan;
  for (const ContainerSpec& container : spec.containers) {
    if (!container.init) continue;
    const ContainerState& state = StateOf(states, container);
    if (HasFailedForGood(spec, container, state) && !HasSucceeded(state)) {
      return PlanStop(spec, states);
    }
    const bool done = container.sidecar ? state.started : HasSucceeded(state);
    if (!state.running() && !(done && !container.sidecar)) {
      StartWhenDue(container, state, now, plan);
    }
    if (!done) return plan;  // The next ones wait for it.
  }
  bool all_ended = true;
  for (const ContainerSpec& container : spec.containers) {
    if (container.init) continue;
    const ContainerState& state = StateOf(states, container);
    if (Ends(spec, container, state)) continue;
    all_ended = false;
    if (!state.running()) StartWhenDue(container, state, now, plan);
  }
  return all_ended ? PlanStop(spec, states) : plan;
}

PodPhase ComputePhase(const PodSpec& spec, const ContainerStates& states, bool failed) {
  if (failed) return PodPhase::kFailed;
  for (const ContainerSpec& container : spec.containers) {
    const ContainerState& state = StateOf(states, container);
    if (container.init && !HasSucceeded(state) && HasFailedForGood(spec, container, state)) {
      return PodPhase::kFailed;
    }
  }
  if (!IsInitialized(spec, states)) return PodPhase::kPending;
  bool all_ended = true;
  bool all_succeeded = true;
  for (const ContainerSpec& container : spec.containers) {
    if (container.init) continue;
    const ContainerState& state = StateOf(states, container);
    if (state.phase == Phase::kWaiting && !state.last) return PodPhase::kPending;
    if (state.phase == Phase::kStarting && !state.last) return PodPhase::kPending;
    if (!Ends(spec, container, state)) all_ended = false;
    if (!HasSucceeded(state)) all_succeeded = false;
  }
  if (!all_ended) return PodPhase::kRunning;
  return all_succeeded ? PodPhase::kSucceeded : PodPhase::kFailed;
}

}  // namespace local_cluster

#include "local-cluster/runner/pod_status.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

#include "boost/json.hpp"
#include "common/kube/json.h"

namespace local_cluster {
namespace {

namespace json = boost::json;
using Phase = ContainerState::Phase;

constexpr int kUnknownExitCode = 137;

std::string_view PhaseName(PodPhase phase) {
  switch (phase) {
    case PodPhase::kPending:
      return "Pending";
    case PodPhase::kRunning:
      return "Running";
    case PodPhase::kSucceeded:
      return "Succeeded";
    case PodPhase::kFailed:
      return "Failed";
  }
  return "Unknown";
}

json::value TerminationJson(const Termination& ended, const std::string& container_id) {
  json::object out{{"exitCode", ended.exit_code},
                   {"reason", ended.reason},
                   {"startedAt", kube::FormatTime(ended.started_at)},
                   {"finishedAt", kube::FormatTime(ended.finished_at)}};
  if (ended.signal != 0) out["signal"] = ended.signal;
  if (!ended.message.empty()) out["message"] = ended.message;
  if (!container_id.empty()) out["containerID"] = container_id;
  return json::object{{"terminated", std::move(out)}};
}

json::value WaitingJson(std::string_view reason, std::string_view message) {
  json::object waiting{{"reason", std::string(reason)}};
  if (!message.empty()) waiting["message"] = std::string(message);
  return json::object{{"waiting", std::move(waiting)}};
}

std::string BackoffMessage(const kube::Object& pod, const ContainerSpec& container,
                           absl::Duration backoff) {
  const int64_t seconds = absl::ToInt64Seconds(backoff);
  const std::string wait = seconds < 60 ? absl::StrFormat("%ds", seconds)
                                        : absl::StrFormat("%dm%ds", seconds / 60, seconds % 60);
  return absl::StrFormat("back-off %s restarting failed container=%s pod=%s_%s(%s)", wait,
                         container.name, pod.name(), pod.namespace_name(), pod.uid());
}

json::value StateJson(const kube::Object& pod, const PodSpec& spec, const ContainerSpec& container,
                      const ContainerState& state, bool initialized) {
  if (state.phase == Phase::kRunning) {
    return json::object{
        {"running", json::object{{"startedAt", kube::FormatTime(state.started_at)}}}};
  }
  const bool will_restart = state.phase == Phase::kTerminated && !state.stopping &&
                            ShouldRestart(spec, container, *state.termination);
  if (state.phase == Phase::kTerminated && will_restart && state.backoff > absl::ZeroDuration()) {
    return WaitingJson("CrashLoopBackOff", BackoffMessage(pod, container, state.backoff));
  }
  if (state.phase == Phase::kTerminated)
    return TerminationJson(*state.termination, state.container_id);
  if (!state.waiting_reason.empty())
    return WaitingJson(state.waiting_reason, state.waiting_message);
  return WaitingJson(container.init || initialized ? "ContainerCreating" : "PodInitializing", "");
}

json::value ContainerStatus(const kube::Object& pod, const PodSpec& spec,
                            const ContainerSpec& container, const ContainerStates& states,
                            bool initialized) {
  static const ContainerState kWaiting;
  const auto found = states.find(container.name);
  const ContainerState& state = found == states.end() ? kWaiting : found->second;
  json::object out;
  out["name"] = container.name;
  out["image"] = container.image;
  out["imageID"] = state.container_id.empty() ? "" : container.image;
  if (!state.container_id.empty()) out["containerID"] = state.container_id;
  out["restartCount"] = state.restarts;
  const bool succeeded_init = container.init && !container.sidecar &&
                              state.phase == Phase::kTerminated &&
                              state.termination->exit_code == 0;
  out["ready"] = succeeded_init || (state.phase == Phase::kRunning && state.ready);
  out["started"] = state.phase == Phase::kRunning && state.started;
  out["state"] = StateJson(pod, spec, container, state, initialized);
  json::value last = json::object{};
  const bool waits_for_restart = out["state"].get_object().contains("waiting");
  if (state.phase == Phase::kTerminated && waits_for_restart) {
    last = TerminationJson(*state.termination, state.container_id);
  } else if (state.last) {
    last = TerminationJson(*state.last, "");
  }
  out["lastState"] = std::move(last);
  return out;
}

struct PodCondition {
  std::string_view type;
  bool holds;
  std::string reason;
  std::string message;
};

// Names of containers that are not ready, in kubelet's words.
std::string UnreadyMessage(const PodSpec& spec, const ContainerStates& states) {
  std::vector<std::string> names;
  for (const ContainerSpec& container : spec.containers) {
    if (container.init) continue;
    const auto found = states.find(container.name);
    if (found == states.end() || found->second.phase != Phase::kRunning || !found->second.ready) {
      names.push_back(container.name);
    }
  }
  if (names.empty()) return "";
  return absl::StrFormat("containers with unready status: [%s]", absl::StrJoin(names, " "));
}

std::string UninitializedMessage(const PodSpec& spec, const ContainerStates& states) {
  std::vector<std::string> names;
  for (const ContainerSpec& container : spec.containers) {
    if (!container.init) continue;
    const auto found = states.find(container.name);
    const bool done = found != states.end() &&
                      (container.sidecar ? found->second.started
                                         : found->second.termination.has_value() &&
                                               found->second.termination->exit_code == 0);
    if (!done) names.push_back(container.name);
  }
  if (names.empty()) return "";
  return absl::StrFormat("containers with incomplete status: [%s]", absl::StrJoin(names, " "));
}

std::vector<PodCondition> Conditions(const PodSpec& spec, const ContainerStates& states,
                                     PodPhase phase) {
  const bool succeeded = phase == PodPhase::kSucceeded;
  const std::string uninitialized = UninitializedMessage(spec, states);
  const std::string unready = UnreadyMessage(spec, states);
  const bool ready = unready.empty() && uninitialized.empty() && phase == PodPhase::kRunning;
  const std::string reason = ready                        ? ""
                             : succeeded                  ? "PodCompleted"
                             : phase == PodPhase::kFailed ? "PodFailed"
                                                          : "ContainersNotReady";
  const std::string message = ready || succeeded || phase == PodPhase::kFailed ? "" : unready;
  const bool started = std::ranges::any_of(states, [](const auto& entry) {
    return entry.second.phase != Phase::kWaiting || entry.second.last;
  });
  return {{"PodReadyToStartContainers", started, "", ""},
          {"Initialized", uninitialized.empty(),
           uninitialized.empty() ? (succeeded ? "PodCompleted" : "") : "ContainersNotInitialized",
           uninitialized},
          {"Ready", ready, reason, message},
          {"ContainersReady", ready, reason, message},
          {"PodScheduled", true, "", ""}};
}

json::value MergedConditions(const kube::Object& pod, const std::vector<PodCondition>& ours,
                             absl::Time now) {
  json::array out;
  json::array existing;
  if (const json::value* found = pod.Find({"status", "conditions"}); found && found->is_array()) {
    existing = found->get_array();
  }
  for (const PodCondition& condition : ours) {
    json::object entry{{"type", std::string(condition.type)},
                       {"status", condition.holds ? "True" : "False"},
                       {"lastProbeTime", nullptr},
                       {"lastTransitionTime", kube::FormatTime(now)}};
    if (!condition.reason.empty()) entry["reason"] = condition.reason;
    if (!condition.message.empty()) entry["message"] = condition.message;
    for (const json::value& old : existing) {
      if (kube::StringAt(old, {"type"}) != condition.type) continue;
      if (kube::StringAt(old, {"status"}) != kube::StringAt(entry, {"status"})) continue;
      if (const json::value* time = kube::FindPath(old, {"lastTransitionTime"})) {
        entry["lastTransitionTime"] = *time;
      }
    }
    out.push_back(std::move(entry));
  }
  for (const json::value& old : existing) {
    const std::string_view type = kube::StringAt(old, {"type"});
    if (std::ranges::find(ours, type, &PodCondition::type) == ours.end()) out.push_back(old);
  }
  return out;
}

Termination ParseTermination(const json::value& value) {
  Termination ended;
  ended.exit_code = static_cast<int>(kube::IntAt(value, {"exitCode"}));
  ended.signal = static_cast<int>(kube::IntAt(value, {"signal"}));
  ended.reason = kube::StringAt(value, {"reason"});
  ended.message = kube::StringAt(value, {"message"});
  ended.started_at =
      kube::ParseTime(kube::StringAt(value, {"startedAt"})).value_or(absl::UnixEpoch());
  ended.finished_at =
      kube::ParseTime(kube::StringAt(value, {"finishedAt"})).value_or(absl::UnixEpoch());
  return ended;
}

ContainerState RestoreState(const json::value& status, absl::Time now) {
  ContainerState state;
  state.restarts = static_cast<int>(kube::IntAt(status, {"restartCount"}));
  state.container_id = kube::StringAt(status, {"containerID"});
  if (const json::value* last = kube::FindPath(status, {"lastState", "terminated"})) {
    state.last = ParseTermination(*last);
  }
  if (const json::value* ended = kube::FindPath(status, {"state", "terminated"})) {
    state.phase = Phase::kTerminated;
    state.termination = ParseTermination(*ended);
  } else if (const json::value* running = kube::FindPath(status, {"state", "running"})) {
    state.phase = Phase::kTerminated;
    state.termination = Termination{
        .exit_code = kUnknownExitCode,
        .reason = "ContainerStatusUnknown",
        .message = "The container could not be located when the pod was started again",
        .started_at = kube::ParseTime(kube::StringAt(*running, {"startedAt"})).value_or(now),
        .finished_at = now};
  } else if (state.last) {  // It waited in its back-off.
    state.phase = Phase::kTerminated;
    state.termination = state.last;
  }
  return state;
}

}  // namespace

json::value ComputePodStatus(const kube::Object& pod, const PodSpec& spec,
                             const ContainerStates& states, const PodFacts& facts, absl::Time now) {
  const PodPhase phase = ComputePhase(spec, states, facts.failed);
  const bool initialized = IsInitialized(spec, states);
  json::array init;
  json::array containers;
  for (const ContainerSpec& container : spec.containers) {
    (container.init ? init : containers)
        .push_back(ContainerStatus(pod, spec, container, states, initialized));
  }
  json::object out;
  out["phase"] = PhaseName(phase);
  out["conditions"] = MergedConditions(pod, Conditions(spec, states, phase), now);
  out["hostIP"] = facts.host_ip;
  out["hostIPs"] = json::array{json::object{{"ip", facts.host_ip}}};
  out["podIP"] = facts.pod_ip;
  out["podIPs"] = json::array{json::object{{"ip", facts.pod_ip}}};
  out["startTime"] = kube::FormatTime(facts.start_time);
  if (!init.empty()) out["initContainerStatuses"] = std::move(init);
  out["containerStatuses"] = std::move(containers);
  if (!facts.reason.empty()) out["reason"] = facts.reason;
  if (!facts.message.empty()) out["message"] = facts.message;
  return out;
}

ContainerStates RestoreStates(const kube::Object& pod, const PodSpec& spec, absl::Time now) {
  ContainerStates states;
  for (const std::string_view list : {"initContainerStatuses", "containerStatuses"}) {
    const json::value* statuses = pod.Find({"status", list});
    if (statuses == nullptr || !statuses->is_array()) continue;
    for (const json::value& status : statuses->get_array()) {
      const std::string_view name = kube::StringAt(status, {"name"});
      if (spec.Find(name) == nullptr) continue;
      states.insert_or_assign(std::string(name), RestoreState(status, now));
    }
  }
  // A new start begins with the init containers again, unless all has ended already.
  const PodPhase phase = ComputePhase(spec, states, false);
  if (phase == PodPhase::kSucceeded || phase == PodPhase::kFailed) return states;
  for (const ContainerSpec& container : spec.containers) {
    const auto found = states.find(container.name);
    if (!container.init || container.sidecar || found == states.end()) continue;
    found->second.phase = Phase::kWaiting;
    found->second.last = found->second.termination;
    found->second.termination.reset();
  }
  return states;
}

}  // namespace local_cluster

#include "workspace-controller/controller_metrics.h"

#include <algorithm>

namespace workspace_controller {
namespace {

const std::vector<double>& ReadyBuckets() {
  static const auto* const buckets =
      new std::vector<double>{0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600};
  return *buckets;
}

bool IsTrue(const std::vector<kube::Condition>& conditions, std::string_view type) {
  return std::ranges::any_of(conditions, [&](const kube::Condition& condition) {
    return condition.type == type && condition.status == "True";
  });
}

// A False condition alone is no error: it may only wait.
std::string PhaseOf(const std::vector<kube::Condition>& conditions) {
  if (IsTrue(conditions, "WorkspaceSucceeded")) return "succeeded";
  return IsTrue(conditions, "Stalled") ? "error" : "pending";
}

}  // namespace

ControllerMetrics::ControllerMetrics(metrics::Registry& registry) : registry_(registry) {
  for (const char* phase : {"succeeded", "error", "pending", "deleting"}) {
    registry_.GetGauge("kaito_workspace_count", "Workspaces by phase.", {{"phase", phase}}).Set(0);
  }
}

void ControllerMetrics::Replace(const kube::ObjectKey& key, std::optional<Seen> seen) {
  const auto count = [&](const Seen& entry, int by) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    registry_.GetGauge("kaito_workspace_count", "Workspaces by phase.", {{"phase", entry.phase}})
        .Add(by);
    if (entry.preset.empty()) return;
    const metrics::Labels labels{{"preset_name", entry.preset}};
    int& presets = presets_[entry.preset];
    presets += by;
    if (presets > 0) {
      registry_.GetGauge("kaito_workspace_preset_count", "Workspaces by preset.", labels)
          .Set(presets);
    } else {
      registry_.RemoveGauge("kaito_workspace_preset_count", labels);
    }
  };
  const auto old = seen_.find(key);
  if (old != seen_.end()) {
    count(old->second, -1);
    seen_.erase(old);
  }
  if (!seen) return;
  count(*seen, 1);
  seen_[key] = std::move(*seen);
}

void ControllerMetrics::Observed(const kube::Object& before,
                                 const std::vector<kube::Condition>& conditions,
                                 const std::string& preset, absl::Time now) {
  for (const kube::Condition& condition : conditions) {
    const std::optional<kube::Condition> old = kube::FindCondition(before, condition.type);
    if (old && old->status == condition.status && old->reason == condition.reason) continue;
    registry_
        .GetCounter("workspace_controller_condition_transitions_total",
                    "Changes of a condition's status or reason.",
                    {{"type", condition.type}, {"reason", condition.reason}})
        .Add();
  }
  const bool first_time = before.StringAt({"status", "state"}) != "Ready" &&
                          before.StringAt({"status", "state"}) != "NotReady";
  if (IsTrue(conditions, "WorkspaceSucceeded") && first_time && before.creation_time()) {
    registry_
        .GetHistogram("workspace_controller_workspace_ready_seconds",
                      "Seconds from a Workspace's creation until it was first ready.",
                      ReadyBuckets())
        .Observe(absl::ToDoubleSeconds(now - *before.creation_time()));
  }
  absl::MutexLock lock(&mutex_);
  Replace(before.key(), Seen{PhaseOf(conditions), preset});
}

void ControllerMetrics::Deleting(const kube::ObjectKey& key) {
  absl::MutexLock lock(&mutex_);
  Replace(key, Seen{"deleting", ""});
}

void ControllerMetrics::Gone(const kube::ObjectKey& key) {
  absl::MutexLock lock(&mutex_);
  Replace(key, std::nullopt);
}

void ControllerMetrics::Wrote(const std::string& verb, const std::string& kind) {
  registry_
      .GetCounter("workspace_controller_api_writes_total", "Writes to the API server.",
                  {{"verb", verb}, {"reason", kind}})
      .Add();
}

}  // namespace workspace_controller

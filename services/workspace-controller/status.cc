#include "workspace-controller/status.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/kube/json.h"
#include "workspace-controller/pod_failures.h"

namespace workspace_controller {
namespace {

namespace json = boost::json;

constexpr size_t kMessageMax = 1024;

struct Verdict {
  bool is_true = false;
  std::string reason;
  std::string message;
};

Verdict True(std::string_view reason, std::string_view message) {
  return {true, std::string(reason), std::string(message)};
}
Verdict False(std::string_view reason, std::string_view message) {
  return {false, std::string(reason), std::string(message)};
}

std::string Names(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += text.empty() ? name : ", " + name;
  return text;
}

std::string TypeOf(const Workspace& workspace) {
  return workspace.instance_type.empty() ? "the selected" : workspace.instance_type;
}

Verdict NodeClaims(const Workspace& workspace, const Observed& observed, const Decision& decision) {
  if (!decision.plan)
    return False("NodeClaimNotReady", "no node claim is made: " + decision.reason);
  for (const ClaimView& claim : observed.claims) {
    if (claim.being_deleted || claim.initialized) continue;
    if (claim.waiting_for.type.empty()) {
      return False("NodeClaimNotReady",
                   absl::StrFormat("waiting for gpu-provisioner to take node claim %s; if this "
                                   "lasts over a minute, look whether it runs",
                                   claim.name));
    }
    // The cloud's own words, unchanged: they say what the user has to do.
    return False(claim.waiting_for.reason.empty() ? "NodeClaimNotReady" : claim.waiting_for.reason,
                 claim.waiting_for.message.empty()
                     ? absl::StrFormat("node claim %s waits for %s; usually 3 to 8 minutes",
                                       claim.name, claim.waiting_for.type)
                     : claim.waiting_for.message);
  }
  if (!decision.claim_slots.empty()) {
    if (observed.advice && !observed.advice->reason.empty()) {
      return False(observed.advice->reason, observed.advice->message);
    }
    return False("NodeClaimNotReady",
                 absl::StrFormat("creating %d node claim%s for %s; usually 3 to 8 minutes",
                                 decision.claim_slots.size(),
                                 decision.claim_slots.size() == 1 ? "" : "s", TypeOf(workspace)));
  }
  return True("NodeClaimsReady", "all node claims are ready");
}

std::string PressureWarning(const Decision& decision) {
  std::vector<std::string> under;
  for (const NodeView& node : decision.nodes) {
    if (!node.pressures.empty()) {
      under.push_back(absl::StrFormat("%s (%s)", node.name, Names(node.pressures)));
    }
  }
  if (under.empty()) return "";
  return "; warning: worker node(s) under resource pressure: " + Names(under);
}

Verdict Nodes(const Workspace& workspace, const Decision& decision, const StatusOptions& options) {
  if (!decision.plan) return False("NodeNotReady", "no node is needed: " + decision.reason);
  const int wanted = decision.plan->nodes;
  const int found = static_cast<int>(decision.nodes.size());
  if (found < wanted && !decision.holders.empty()) {
    return False("NodesInUse", absl::StrFormat("%d of %d nodes are free; others are held by %s",
                                               found, wanted, Names(decision.holders)));
  }
  if (found < wanted && !options.nodes_are_provisioned) {
    return False("NodesNotFound",
                 absl::StrFormat("%d of %d nodes that are ready and match the label selector; "
                                 "label a node, or wait for it",
                                 found, wanted));
  }
  if (found < wanted) {
    return False("NodeNotReady", absl::StrFormat("%d of %d nodes of type %s are ready", found,
                                                 wanted, TypeOf(workspace)));
  }
  for (const NodeView& node : decision.nodes) {
    if (!node.ready) {
      return False("NodeNotReady", absl::StrFormat("node %s is not ready", node.name));
    }
    if (decision.plan->gpus_per_node > 0 && node.gpus == 0) {
      return False("NodePluginsNotReady",
                   absl::StrFormat("node %s reports no nvidia.com/gpu yet; the device plugin "
                                   "usually takes 1 to 3 minutes",
                                   node.name));
    }
  }
  return True("NodesReady",
              absl::StrFormat("%d node%s ready%s", wanted, wanted == 1 ? " is" : "s are",
                              PressureWarning(decision)));
}

Verdict Resources(const Decision& decision, const Verdict& claims, const Verdict& nodes,
                  const StatusOptions& options) {
  if (decision.refused()) return False(decision.reason, decision.message);
  if (options.nodes_are_provisioned && !claims.is_true) return False(claims.reason, claims.message);
  if (!nodes.is_true) return False(nodes.reason, nodes.message);
  return True("workspaceResourceStatusSuccess",
              decision.warning.empty() ? "the nodes are ready"
                                       : "the nodes are ready; warning: " + decision.warning);
}

// Every replica ready, and of the newest revision.
bool IsRolledOut(const kube::Object& set, int replicas) {
  if (set.IntAt({"status", "observedGeneration"}) < set.generation()) return false;
  if (set.IntAt({"status", "readyReplicas"}) < replicas) return false;
  const std::string_view update = set.StringAt({"status", "updateRevision"});
  return update.empty() || set.StringAt({"status", "currentRevision"}) == update ||
         set.IntAt({"status", "updatedReplicas"}) >= replicas;
}

Verdict Serving(const Workspace& workspace, const Observed& observed, const Verdict& resources) {
  constexpr std::string_view kPending = "WorkspaceInferenceStatusPending";
  if (!observed.stateful_set) {
    return False(kPending, resources.is_true ? "creating the model server"
                                             : "waiting for the nodes: " + resources.reason);
  }
  const PodFailure failure = WorstFailure(observed.pods);
  const int replicas = static_cast<int>(observed.stateful_set->IntAt({"spec", "replicas"}, 1));
  if (IsRolledOut(*observed.stateful_set, replicas) && failure.severity == 0) {
    return True("WorkspaceInferenceStatusSuccess", "the model answers");
  }
  if (failure.severity > 0) return False(failure.reason, failure.message);
  const int64_t ready = observed.stateful_set->IntAt({"status", "readyReplicas"});
  std::string phase = "is being created";
  for (const kube::Object& pod : observed.pods) {
    if (kube::IsConditionTrue(pod, "Ready")) continue;
    phase = PodPhase(pod) == "LoadingWeights" ? "loads the weights" : "pulls its image";
    break;
  }
  return False(kPending, absl::StrFormat("%d of %d model servers are ready; pod %s %s", ready,
                                         replicas, workspace.workload_name() + "-0", phase));
}

std::string ProgressPhase(const Observed& observed, const Decision& decision,
                          const std::vector<kube::Condition>& conditions) {
  const auto is_true = [&](std::string_view type) {
    return std::ranges::any_of(conditions, [&](const kube::Condition& condition) {
      return condition.type == type && condition.status == "True";
    });
  };
  if (is_true("InferenceReady") && is_true("ResourceReady")) return "Serving";
  if (decision.refused()) return "Planning";
  if (is_true("ResourceReady")) {
    for (const kube::Object& pod : observed.pods) {
      if (PodPhase(pod) != "Serving") return PodPhase(pod);
    }
    return "PullingImage";
  }
  if (static_cast<int>(decision.nodes.size()) < decision.plan->nodes) return "Provisioning";
  return "PreparingNodes";
}

// What is usual, in seconds; 0 where nothing is waited for.
int64_t ExpectedSeconds(std::string_view phase, const Observed& observed) {
  if (phase == "Provisioning") return 300;
  if (phase == "PreparingNodes") return 120;
  if (phase == "PullingImage") return 90;
  if (phase != "LoadingWeights") return 0;
  const int64_t bytes = observed.preset != nullptr ? observed.preset->weights_bytes : 0;
  return 10 + (bytes >> 30) * 6;
}

json::value ProgressJson(const Workspace& workspace, const Observed& observed,
                         const Decision& decision, const std::vector<kube::Condition>& conditions) {
  const std::string phase = ProgressPhase(observed, decision, conditions);
  json::object progress{{"phase", phase}, {"since", kube::FormatTime(observed.now)}};
  // The time is the phase's, not the look's.
  if (workspace.object.StringAt({"status", "progress", "phase"}) == phase) {
    const std::string_view since = workspace.object.StringAt({"status", "progress", "since"});
    if (!since.empty()) progress["since"] = since;
  }
  if (const int64_t seconds = ExpectedSeconds(phase, observed); seconds > 0) {
    progress["expectedSeconds"] = seconds;
  }
  for (const char* type : {"ResourceReady", "InferenceReady"}) {
    for (const kube::Condition& condition : conditions) {
      if (condition.type != type || condition.status == "True") continue;
      progress["detail"] = condition.message.substr(0, 256);
      return progress;
    }
  }
  return progress;
}

std::string StateOf(const Workspace& workspace, bool succeeded) {
  if (succeeded) return "Ready";
  const bool was_ready = workspace.state == "Ready" || workspace.state == "NotReady";
  return was_ready ? "NotReady" : "Pending";
}

kube::Condition MakeCondition(std::string_view type, const Verdict& verdict, int64_t generation) {
  return {.type = std::string(type),
          .status = verdict.is_true ? "True" : "False",
          .reason = verdict.reason,
          .message = verdict.message.substr(0, kMessageMax),
          .observed_generation = generation};
}

bool IsTrue(const std::vector<kube::Condition>& conditions, std::string_view type) {
  return std::ranges::any_of(conditions, [&](const kube::Condition& condition) {
    return condition.type == type && condition.status == "True";
  });
}

// For tools that wait for an object as they wait for a Deployment.
void AddGenericConditions(const Verdict& succeeded, const Verdict& resources,
                          const Verdict& serving, int64_t generation,
                          std::vector<kube::Condition>& conditions) {
  const Verdict& cause = resources.is_true ? serving : resources;
  Verdict ready = succeeded;
  if (!ready.is_true) {
    ready.reason = cause.reason;
    ready.message = cause.message;
  }
  conditions.push_back(MakeCondition("Ready", ready, generation));
  if (succeeded.is_true) return;
  const bool stalled = NeedsUser(resources.reason) && !resources.is_true;
  conditions.push_back(MakeCondition(stalled ? "Stalled" : "Reconciling",
                                     True(cause.reason, cause.message), generation));
}

}  // namespace

std::vector<kube::Condition> ComputeConditions(const Workspace& workspace, const Observed& observed,
                                               const Decision& decision,
                                               const absl::Status& applied,
                                               const StatusOptions& options) {
  std::vector<kube::Condition> conditions;
  const int64_t generation = workspace.generation;
  const Verdict claims = NodeClaims(workspace, observed, decision);
  const Verdict nodes = Nodes(workspace, decision, options);
  Verdict resources = Resources(decision, claims, nodes, options);
  if (!applied.ok()) {
    const std::string note =
        absl::StrFormat(" (last reconcile error: %s)", std::string(applied.message()));
    resources.message = resources.message.substr(0, kMessageMax - 256) + note.substr(0, 256);
  }
  if (options.nodes_are_provisioned) {
    conditions.push_back(MakeCondition("NodeClaimReady", claims, generation));
  }
  conditions.push_back(MakeCondition("NodesReady", nodes, generation));
  conditions.push_back(MakeCondition("ResourceReady", resources, generation));

  Verdict serving;
  if (workspace.has_tuning) {
    serving = False("WorkspaceTuningJobStatusPending", resources.message);
    conditions.push_back(MakeCondition("JobStarted", serving, generation));
  } else {
    serving = Serving(workspace, observed, resources);
    conditions.push_back(MakeCondition("InferenceReady", serving, generation));
  }
  const bool done = resources.is_true && serving.is_true;
  const std::string waiting = resources.is_true ? serving.message : resources.message;
  const Verdict succeeded =
      done ? True("workspaceSucceeded", "workspace succeeds")
           : False(NeedsUser(resources.reason) ? "workspaceFailed" : "workspacePending", waiting);
  conditions.push_back(MakeCondition("WorkspaceSucceeded", succeeded, generation));
  conditions.push_back(MakeCondition(
      "WorkspaceReady",
      done ? True("workspaceReady", "workspace is ready") : False("workspaceFailed", waiting),
      generation));
  AddGenericConditions(succeeded, resources, serving, generation, conditions);
  return conditions;
}

json::value ComputeStatus(const Workspace& workspace, const Observed& observed,
                          const Decision& decision, const absl::Status& applied,
                          const StatusOptions& options) {
  const std::vector<kube::Condition> conditions =
      ComputeConditions(workspace, observed, decision, applied, options);
  json::object status;
  status["observedGeneration"] = workspace.generation;
  status["conditions"] = kube::ConditionsJson(workspace.object, conditions, observed.now);
  status["state"] = StateOf(workspace, IsTrue(conditions, "WorkspaceSucceeded"));
  if (decision.plan) {
    status["targetNodeCount"] = decision.plan->nodes;
    status["plan"] = PlanJson(*decision.plan, decision.plan_note);
  }
  json::array nodes;
  for (const NodeView& node : decision.nodes) nodes.emplace_back(node.name);
  if (!nodes.empty()) status["workerNodes"] = std::move(nodes);
  status["progress"] = ProgressJson(workspace, observed, decision, conditions);
  // Measured by others; not ours to drop.
  if (const json::value* performance = workspace.object.Find({"status", "performance"})) {
    status["performance"] = *performance;
  }
  return status;
}

json::value DeletingStatus(const Workspace& workspace, const absl::Status& blocked,
                           absl::Time now) {
  const Verdict verdict =
      blocked.ok() ? True("workspaceDeleted", "the workload and its node claims are being deleted")
                   : True("workspaceDeleted", absl::StrFormat("deletion is held up: %s",
                                                              std::string(blocked.message())));
  json::object status;
  if (const json::value* old = workspace.object.Find({"status"});
      old != nullptr && old->is_object()) {
    status = old->get_object();
  }
  status["observedGeneration"] = workspace.generation;
  status["conditions"] = kube::ConditionsJson(
      workspace.object, {MakeCondition("WorkspaceDeleting", verdict, workspace.generation)}, now);
  return status;
}

}  // namespace workspace_controller

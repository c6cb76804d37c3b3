#include "workspace-controller/decision.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/kube/json.h"
#include "common/net/digest.h"

namespace workspace_controller {
namespace {

namespace json = boost::json;

Decision Refused(std::string_view reason, std::string_view message) {
  Decision decision;
  decision.reason = reason;
  decision.message = message;
  return decision;
}

// The sections that a new plan answers to, and the configuration's content.
std::string PlanHash(const Workspace& workspace, const Observed& observed) {
  json::object inputs;
  for (const char* section : {"resource", "inference"}) {
    if (const json::value* value = workspace.object.Find({section})) inputs[section] = *value;
  }
  inputs["config"] = observed.config_text;
  inputs["bypass"] = workspace.bypass_resource_checks;
  return net::Sha256Hex(kube::CanonicalJson(inputs)).substr(0, 16);
}

bool IsRightType(const NodeView& node, const Workspace& workspace) {
  return workspace.instance_type.empty() ||
         absl::EqualsIgnoreCase(node.label("node.kubernetes.io/instance-type"),
                                workspace.instance_type);
}

bool WasMadeForAnother(const NodeView& node, const Workspace& workspace) {
  const std::string made_for = node.label(kWorkspaceLabel);
  if (made_for.empty()) return false;
  return made_for != workspace.name ||
         node.label(kWorkspaceNamespaceLabel) != workspace.namespace_name;
}

template <typename T>
bool Contains(const std::vector<T>& values, const T& value) {
  return std::ranges::find(values, value) != values.end();
}

// Lower is better: named by the user, held already, made for this Workspace, the rest.
int Rank(const NodeView& node, const Workspace& workspace, const Observed& observed) {
  if (Contains(workspace.preferred_nodes, node.name)) return 0;
  if (Contains(workspace.worker_nodes, node.name)) return 1;
  for (const ClaimView& claim : observed.claims) {
    if (claim.node_name == node.name) return 2;
  }
  return 3;
}

bool IsCandidate(const NodeView& node, const Workspace& workspace, const Observed& observed) {
  if (node.being_deleted || observed.holders.contains(node.name)) return false;
  if (!IsRightType(node, workspace)) return false;
  const bool preferred = Contains(workspace.preferred_nodes, node.name);
  if (WasMadeForAnother(node, workspace) && !preferred) return false;
  // A node that is held stays held while it is away; a new one must be ready.
  if (Contains(workspace.worker_nodes, node.name)) return true;
  return node.ready && node.schedulable && (preferred || workspace.Selects(node.labels));
}

std::vector<NodeView> ChooseNodes(const Workspace& workspace, const Observed& observed,
                                  int wanted) {
  std::vector<NodeView> candidates;
  for (const NodeView& node : observed.nodes) {
    if (IsCandidate(node, workspace, observed)) candidates.push_back(node);
  }
  std::ranges::sort(candidates, [&](const NodeView& a, const NodeView& b) {
    return std::pair(Rank(a, workspace, observed), a.name) <
           std::pair(Rank(b, workspace, observed), b.name);
  });
  if (static_cast<int>(candidates.size()) > wanted) candidates.resize(wanted);
  std::ranges::sort(candidates, {}, &NodeView::name);
  return candidates;
}

// Slots of claims for the nodes that are neither chosen nor on their way.
std::vector<int> MissingClaims(const Workspace& workspace, const Observed& observed,
                               const Decision& decision) {
  int missing = decision.plan->nodes - static_cast<int>(decision.nodes.size());
  std::set<std::string> names;
  for (const ClaimView& claim : observed.claims) {
    // One that is going keeps its name taken until it is gone; its event brings us back.
    names.insert(claim.name);
    if (claim.being_deleted) continue;
    if (!absl::EqualsIgnoreCase(claim.instance_type, workspace.instance_type)) continue;
    const bool is_chosen = std::ranges::any_of(
        decision.nodes, [&](const NodeView& node) { return node.name == claim.node_name; });
    if (!is_chosen) --missing;
  }
  const auto is_taken = [&](int slot) {
    for (int attempt = 0; attempt < kClaimNameAttempts; ++attempt) {
      if (names.contains(ClaimName(workspace, slot, attempt))) return true;
    }
    return false;
  };
  std::vector<int> wanted;
  for (int slot = 0; missing > 0 && slot < decision.plan->nodes; ++slot) {
    if (is_taken(slot)) continue;
    wanted.push_back(slot);
    --missing;
  }
  return wanted;
}

std::optional<Decision> RefuseByConfig(const Workspace& workspace, const Observed& observed) {
  if (observed.config_status.ok()) return std::nullopt;
  if (absl::IsNotFound(observed.config_status)) {
    return Refused("ConfigMapNotFound",
                   absl::StrFormat("ConfigMap %s/%s does not exist; nothing is made until it does",
                                   workspace.namespace_name, workspace.config_name()));
  }
  return Refused("ConfigInvalid", absl::StrFormat("ConfigMap %s: %s", workspace.config_name(),
                                                  std::string(observed.config_status.message())));
}

std::optional<Decision> RefuseByModel(const Workspace& workspace, const Observed& observed) {
  const Inference& inference = *workspace.inference;
  if (!inference.has_preset) return std::nullopt;
  if (observed.preset == nullptr && !workspace.use_local_weights) {
    return Refused("ModelMetadataUnavailable",
                   absl::StrFormat("%s is not in the catalogue, and there is no model hub to read "
                                   "it from; add a preset file, or put the weights on the node "
                                   "and set kaito.sh/use-local-weights",
                                   inference.preset_name));
  }
  if (observed.preset == nullptr || observed.preset->context == 0) return std::nullopt;
  if (observed.config.max_model_len > observed.preset->context) {
    return Refused("ConfigInvalid",
                   absl::StrFormat("max-model-len %d exceeds model's maximum supported context "
                                   "window %d (ModelTokenLimit)",
                                   observed.config.max_model_len, observed.preset->context));
  }
  return std::nullopt;
}

// Facts of the nodes that the user brought: labels of the GPU driver, else the type table.
absl::StatusOr<catalog::GpuFacts> FactsOfOwnNodes(const Workspace& workspace,
                                                  const Observed& observed,
                                                  const catalog::GpuTypes& types,
                                                  const std::string& provider) {
  for (const NodeView& node : observed.nodes) {
    if (!node.ready || !workspace.Selects(node.labels)) continue;
    const auto count = kube::ParseQuantity(node.label("nvidia.com/gpu.count"));
    const auto mib = kube::ParseQuantity(node.label("nvidia.com/gpu.memory"));
    if (count && mib && *count >= 1 && *count <= 1024 && *mib >= 1 && *mib < 1e9) {
      const auto gib = static_cast<int64_t>(*mib / 1024.0 + 0.5);
      const int gpus = static_cast<int>(*count);
      return catalog::GpuFacts{.gpus = gpus, .memory_total_bytes = (gib << 30) * gpus};
    }
    const auto* type = types.Find(provider, node.label("node.kubernetes.io/instance-type"));
    if (type != nullptr) return catalog::FactsOf(*type);
    return absl::NotFoundError(absl::StrFormat(
        "Failed to get GPU config from nvidia labels on node %s: nvidia.com/gpu.count and "
        "nvidia.com/gpu.memory are missing, and its instance type is not known",
        node.name));
  }
  return absl::FailedPreconditionError(
      "no ready nodes found, unable to determine GPU configuration");
}

// What the plan is made for: the model, or an empty one whose needs nobody knows.
const catalog::Preset& PresetOf(const Observed& observed, const Workspace& workspace,
                                catalog::Preset& unknown) {
  if (observed.preset != nullptr) return *observed.preset;
  unknown.id = workspace.inference->preset_name;
  return unknown;
}

// Template inference and the transformers runtime: as many nodes as the user says.
std::optional<catalog::NodePlan> CountedPlan(const Workspace& workspace,
                                             const catalog::GpuFacts& facts) {
  if (workspace.inference->has_preset && !workspace.transformers_runtime) return std::nullopt;
  return catalog::NodePlan{.nodes = workspace.count,
                           .gpus_per_node = facts.gpus,
                           .tensor_parallel = std::max(facts.gpus, 1)};
}

void MakePlan(const Workspace& workspace, const Observed& observed, const catalog::GpuTypes& types,
              const DecisionOptions& options, Decision& decision) {
  catalog::GpuFacts facts;
  if (!options.validation.nodes_are_provisioned) {
    const auto own = FactsOfOwnNodes(workspace, observed, types, options.validation.cloud_provider);
    if (!own.ok()) {
      decision.reason = absl::IsNotFound(own.status()) ? "GpuFactsUnknown" : "NodesNotFound";
      decision.message = std::string(own.status().message());
      return;
    }
    facts = *own;
  } else if (observed.type == nullptr) {
    decision.reason = "GpuFactsUnknown";
    decision.message =
        absl::StrFormat("failed to get GPU config for instance type %s", workspace.instance_type);
    return;
  } else if (const absl::Status served = catalog::CheckGpuServed(*observed.type); !served.ok()) {
    decision.reason = "GpuNotSupported";
    decision.message = std::string(served.message());
    return;
  } else {
    facts = catalog::FactsOf(*observed.type);
  }
  if (std::optional<catalog::NodePlan> counted = CountedPlan(workspace, facts)) {
    decision.plan = counted;
    return;
  }
  catalog::Preset unknown;
  catalog::PlanOutcome outcome = catalog::PlanNodes(
      {.preset = &PresetOf(observed, workspace, unknown),
       .gpus = facts,
       .type_name = observed.type != nullptr ? observed.type->name : "the selected nodes",
       .context_tokens = observed.config.max_model_len,
       .count = workspace.count,
       .nodes_max = options.nodes_max,
       .bypass = workspace.bypass_resource_checks,
       .tensor_parallel = observed.config.tensor_parallel,
       .pipeline_parallel = observed.config.pipeline_parallel,
       .data_parallel = observed.config.data_parallel,
       .types = options.validation.nodes_are_provisioned ? &types : nullptr,
       .provider = options.validation.cloud_provider});
  decision.plan = outcome.plan;
  if (outcome.plan) {
    decision.warning = outcome.message;
    decision.plan_note = outcome.message;
  } else {
    decision.reason = outcome.reason;
    decision.message = outcome.message;
  }
}

// Once the workload exists the plan stands until the user changes what it was made from.
bool KeepPlan(const Workspace& workspace, const Observed& observed, Decision& decision) {
  if (!observed.stateful_set) return false;
  if (observed.stateful_set->annotation("workspace.kaito.io/plan-hash") != decision.plan_hash) {
    return false;
  }
  const std::optional<catalog::NodePlan> stored = ReadPlan(workspace.object);
  if (!stored) return false;
  if (decision.plan && decision.plan->nodes != stored->nodes) {
    decision.plan_note =
        absl::StrFormat("kept while the workload runs; today's catalogue would plan %d nodes",
                        decision.plan->nodes);
  }
  decision.plan = stored;
  decision.reason.clear();
  decision.message.clear();
  return true;
}

// Nodes of the user: all that are needed, or none.
void HoldAllOrNone(const Observed& observed, const Workspace& workspace, Decision& decision) {
  const int lacking = decision.plan->nodes - static_cast<int>(decision.nodes.size());
  if (lacking <= 0) return;
  std::set<std::string> holders;
  for (const NodeView& node : observed.nodes) {
    const auto holder = observed.holders.find(node.name);
    if (holder != observed.holders.end() && workspace.Selects(node.labels)) {
      holders.insert(holder->second);
    }
  }
  decision.holders.assign(holders.begin(), holders.end());
  if (workspace.worker_nodes.empty()) decision.nodes.clear();
}

}  // namespace

bool Decision::nodes_ready() const {
  if (!plan || static_cast<int>(nodes.size()) < plan->nodes) return false;
  const bool needs_gpus = plan->gpus_per_node > 0;
  return std::ranges::all_of(
      nodes, [&](const NodeView& node) { return node.ready && (!needs_gpus || node.gpus > 0); });
}

std::string ClaimName(const Workspace& workspace, int slot, int attempt) {
  std::string text =
      absl::StrFormat("%s/%s/%s/%d", workspace.namespace_name, workspace.name, workspace.uid, slot);
  if (attempt > 0) text += absl::StrFormat("/%d", attempt);
  return "ws" + net::Sha256Hex(text).substr(0, 9);
}

Decision Decide(const Workspace& workspace, const Observed& observed,
                const catalog::Presets& presets, const catalog::GpuTypes& types,
                const DecisionOptions& options) {
  const ValidationResult valid = Validate(workspace, presets, types, options.validation);
  if (!valid.ok()) {
    Decision refused = Refused("InvalidSpec", valid.ErrorText());
    refused.warning = valid.WarningText();
    return refused;
  }
  if (workspace.has_tuning) {
    return Refused("TuningNotServed",
                   "this version serves models but does not tune them yet; no node is started");
  }
  if (std::optional<Decision> refused = RefuseByConfig(workspace, observed)) return *refused;
  if (std::optional<Decision> refused = RefuseByModel(workspace, observed)) return *refused;

  Decision decision;
  decision.plan_hash = PlanHash(workspace, observed);
  MakePlan(workspace, observed, types, options, decision);
  if (decision.warning.empty()) decision.warning = valid.WarningText();
  if (!KeepPlan(workspace, observed, decision) && decision.refused()) return decision;

  decision.nodes = ChooseNodes(workspace, observed, decision.plan->nodes);
  if (options.validation.nodes_are_provisioned) {
    decision.claim_slots = MissingClaims(workspace, observed, decision);
  } else {
    HoldAllOrNone(observed, workspace, decision);
  }
  return decision;
}

json::value PlanJson(const catalog::NodePlan& plan, std::string_view note) {
  json::object value{{"nodes", plan.nodes},
                     {"gpusPerNode", plan.gpus_per_node},
                     {"tensorParallel", plan.tensor_parallel},
                     {"pipelineParallel", plan.pipeline_parallel},
                     {"dataParallel", plan.data_parallel}};
  if (plan.context_tokens > 0) value["contextTokens"] = plan.context_tokens;
  if (plan.weights_bytes > 0) value["weightsBytes"] = plan.weights_bytes;
  if (plan.per_gpu_bytes > 0) value["perGpuBytes"] = plan.per_gpu_bytes;
  if (plan.upper_bound) value["upperBound"] = *plan.upper_bound;
  if (!note.empty()) value["reason"] = note;
  return value;
}

std::optional<catalog::NodePlan> ReadPlan(const kube::Object& workspace) {
  const json::value* value = workspace.Find({"status", "plan"});
  if (value == nullptr || !value->is_object()) return std::nullopt;
  const auto number = [&](std::string_view name, int otherwise) {
    return static_cast<int>(
        std::clamp<int64_t>(kube::IntAt(*value, {name}, otherwise), 0, 1 << 30));
  };
  catalog::NodePlan plan{.nodes = std::max(number("nodes", 1), 1),
                         .gpus_per_node = number("gpusPerNode", 0),
                         .tensor_parallel = number("tensorParallel", 1),
                         .pipeline_parallel = number("pipelineParallel", 1),
                         .data_parallel = number("dataParallel", 1),
                         .context_tokens = number("contextTokens", 0),
                         .weights_bytes = kube::IntAt(*value, {"weightsBytes"}),
                         .per_gpu_bytes = kube::IntAt(*value, {"perGpuBytes"})};
  if (kube::FindPath(*value, {"upperBound"}) != nullptr) {
    plan.upper_bound = number("upperBound", 0);
  }
  return plan;
}

bool NeedsUser(std::string_view reason) {
  static const auto* const reasons = new std::set<std::string, std::less<>>{
      "InvalidSpec",     "NodePlanRefused",          "ModelDoesNotFit",   "GpuNotSupported",
      "GpuFactsUnknown", "ModelMetadataUnavailable", "ConfigMapNotFound", "ConfigInvalid",
      "SecretNotFound",  "TuningNotServed"};
  return reasons->contains(reason);
}

}  // namespace workspace_controller

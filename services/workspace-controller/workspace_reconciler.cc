#include "workspace-controller/workspace_reconciler.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/kube/json.h"
#include "workspace-controller/apply.h"

namespace workspace_controller {
namespace {

namespace json = boost::json;
namespace resources = kube::resources;

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;

bool BelongsTo(const kube::Object& claim, const Workspace& workspace) {
  if (WorkspaceOf(claim) != workspace.key()) return false;
  const std::string_view uid = claim.annotation(kWorkspaceUidAnnotation);
  return uid.empty() || uid == workspace.uid;
}

// A kind that is not installed has nothing to delete.
absl::Status IgnoreNotFound(const absl::Status& status) {
  return absl::IsNotFound(status) ? absl::OkStatus() : status;
}

// All calls are made whatever one says; the first error is what is reported.
void KeepFirst(const absl::Status& status, absl::Status& first) {
  if (first.ok()) first = status;
}

bool ResourcesReady(const std::vector<kube::Condition>& conditions) {
  return std::ranges::any_of(conditions, [](const kube::Condition& condition) {
    return condition.type == "ResourceReady" && condition.status == "True";
  });
}

}  // namespace

WorkspaceReconciler::WorkspaceReconciler(ReconcilerParts parts, ReconcilerOptions options)
    : parts_(parts), options_(std::move(options)) {}

absl::StatusOr<kube::ReconcileResult> WorkspaceReconciler::Reconcile(const kube::ObjectKey& key) {
  std::optional<kube::Object> object = parts_.reader.Find(resources::kWorkspaces, key);
  if (!object) {  // Gone. Owner references remove its objects.
    parts_.reservations.Release(key);
    parts_.live.Forget(key);
    parts_.metrics.Gone(key);
    return kube::ReconcileResult{};
  }
  if (object->being_deleted()) return Finalize(ReadWorkspace(*object, options_.defaults));
  ASSIGN_OR_RETURN(*object,
                   kube::AddFinalizer(parts_.client, resources::kWorkspaces, *object, kFinalizer));

  const Workspace workspace = ReadWorkspace(*object, options_.defaults);
  Observed observed = Observe(workspace);
  const Decision decision = DecideAndHold(workspace, observed);
  const absl::Status applied = Apply(workspace, observed, decision);
  RETURN_IF_ERROR(Report(workspace, observed, decision, applied));
  RETURN_IF_ERROR(applied);
  return kube::ReconcileResult{};  // The next watch event brings us back.
}

Observed WorkspaceReconciler::Observe(const Workspace& workspace) {
  Observed observed;
  observed.now = parts_.clock.Now();
  if (workspace.inference && workspace.inference->has_preset) {
    observed.preset = parts_.presets.Find(workspace.inference->preset_name);
  }
  observed.type =
      parts_.types.Find(options_.decision.validation.cloud_provider, workspace.instance_type);
  ObserveConfig(workspace, observed);
  const kube::ObjectKey key = workspace.key();
  for (const kube::Object& claim : parts_.reader.OfWorkspace(resources::kNodeClaims, key)) {
    if (BelongsTo(claim, workspace)) observed.claims.push_back(ReadClaim(claim));
  }
  observed.nodes = ObserveNodes(workspace);
  const auto named = [&](const std::string& name) {
    return kube::ObjectKey{workspace.namespace_name, name};
  };
  observed.stateful_set =
      parts_.reader.Find(resources::kStatefulSets, named(workspace.workload_name()));
  observed.service = parts_.reader.Find(resources::kServices, named(workspace.name));
  observed.headless_service =
      parts_.reader.Find(resources::kServices, named(workspace.headless_service_name()));
  observed.pods = parts_.reader.OfWorkspace(resources::kPods, key);
  return observed;
}

void WorkspaceReconciler::ObserveConfig(const Workspace& workspace, Observed& observed) const {
  if (!workspace.inference) return;
  const std::optional<kube::Object> config = parts_.reader.Find(
      resources::kConfigMaps, {workspace.namespace_name, workspace.config_name()});
  observed.config_exists = config.has_value();
  if (!config) {
    // The one that every namespace shares is made by us.
    if (!workspace.inference->config.empty()) {
      observed.config_status = absl::NotFoundError("no such ConfigMap");
    }
    observed.config_text = DefaultInferenceConfig();
    return;
  }
  if (config->Find({"data", kInferenceConfigKey}) == nullptr) {
    observed.config_status =
        absl::InvalidArgumentError(absl::StrFormat("the key %s is missing", kInferenceConfigKey));
    return;
  }
  observed.config_text = config->StringAt({"data", kInferenceConfigKey});
  absl::StatusOr<InferenceConfig> parsed = ParseInferenceConfig(observed.config_text);
  observed.config_status = parsed.status();
  if (parsed.ok()) observed.config = *std::move(parsed);
}

std::vector<NodeView> WorkspaceReconciler::ObserveNodes(const Workspace& workspace) const {
  const int64_t planned = workspace.object.IntAt({"status", "targetNodeCount"});
  const bool settled =
      planned > 0 && static_cast<int64_t>(workspace.worker_nodes.size()) >= planned;
  std::map<std::string, NodeView> nodes;
  const auto add = [&](const kube::Object& node) {
    nodes.emplace(std::string(node.name()), ReadNode(node));
  };
  for (const kube::Object& node : parts_.reader.OfWorkspace(resources::kNodes, workspace.key())) {
    add(node);
  }
  std::vector<std::string> named = workspace.preferred_nodes;
  named.insert(named.end(), workspace.worker_nodes.begin(), workspace.worker_nodes.end());
  for (const std::string& name : named) {
    if (auto node = parts_.reader.Find(resources::kNodes, {"", name})) add(*node);
  }
  // Only who still looks for nodes has to see all of them.
  if (!settled) {
    for (const kube::Object& node : parts_.reader.All(resources::kNodes)) {
      if (workspace.Selects(node.labels())) add(node);
    }
  }
  std::vector<NodeView> views;
  for (auto& [name, view] : nodes) views.push_back(std::move(view));
  return views;
}

Decision WorkspaceReconciler::DecideAndHold(const Workspace& workspace, Observed& observed) {
  const kube::ObjectKey key = workspace.key();
  Reservations::Session session(parts_.reservations);
  for (const NodeView& node : observed.nodes) {
    if (const auto holder = session.HolderOf(node.name, key)) {
      observed.holders[node.name] = holder->ToString();
    }
  }
  Decision decision = Decide(workspace, observed, parts_.presets, parts_.types, options_.decision);
  // A refusal gives nothing up: what runs stays, and so do its nodes.
  if (decision.plan) {
    std::vector<std::string> names;
    for (const NodeView& node : decision.nodes) names.push_back(node.name);
    session.Hold(key, names);
  }
  if (decision.plan && static_cast<int>(decision.nodes.size()) < decision.plan->nodes &&
      options_.status.nodes_are_provisioned) {
    const auto storage = kube::ParseQuantity(DiskFor(observed));
    observed.advice = parts_.live.Ask(key, {.instance_type = workspace.instance_type,
                                            .count = decision.plan->nodes,
                                            .storage_gib = storage.value_or(0) / kGiB,
                                            .image_family = workspace.node_image_family});
  }
  return decision;
}

absl::Status WorkspaceReconciler::Apply(const Workspace& workspace, const Observed& observed,
                                        const Decision& decision) {
  if (decision.refused() || !decision.plan) return absl::OkStatus();
  absl::Status first = ApplyShared(workspace, observed);
  KeepFirst(CreateClaims(workspace, observed, decision), first);
  KeepFirst(LabelNodes(decision), first);
  const auto conditions =
      ComputeConditions(workspace, observed, decision, absl::OkStatus(), options_.status);
  // A node that is away for a while must not change the pods: they are left as they are.
  if (!ResourcesReady(conditions)) return first;
  bool changed = false;
  KeepFirst(ApplyChild(parts_.client, resources::kStatefulSets,
                       StatefulSetFor(workspace, observed, decision, options_.objects),
                       observed.stateful_set, changed),
            first);
  if (changed) {
    parts_.metrics.Wrote("apply", "StatefulSet");
    parts_.events.Normal(
        workspace.object, "RolledOut",
        absl::StrFormat("%s StatefulSet %s", observed.stateful_set ? "changed" : "created",
                        workspace.workload_name()));
  }
  return first;
}

absl::Status WorkspaceReconciler::ApplyShared(const Workspace& workspace,
                                              const Observed& observed) {
  absl::Status first;
  bool changed = false;
  KeepFirst(ApplyChild(parts_.client, resources::kServices, ServiceFor(workspace), observed.service,
                       changed),
            first);
  if (changed) parts_.metrics.Wrote("apply", "Service");
  KeepFirst(ApplyChild(parts_.client, resources::kServices, HeadlessServiceFor(workspace),
                       observed.headless_service, changed),
            first);
  if (changed) parts_.metrics.Wrote("apply", "Service");
  if (!observed.config_exists && workspace.inference->config.empty()) {
    const auto created = parts_.client.Create(resources::kConfigMaps, ConfigTemplateFor(workspace));
    if (!absl::IsAlreadyExists(created.status())) KeepFirst(created.status(), first);
  }
  return first;
}

absl::Status WorkspaceReconciler::CreateClaims(const Workspace& workspace, const Observed& observed,
                                               const Decision& decision) {
  absl::Status first;
  for (const int slot : decision.claim_slots) {
    const absl::Status created = CreateClaim(workspace, slot, observed);
    if (!created.ok()) {
      parts_.events.Warning(workspace.object, "NodeClaimCreationFailed",
                            std::string(created.message()));
    }
    KeepFirst(created, first);
  }
  return first;
}

absl::Status WorkspaceReconciler::CreateClaim(const Workspace& workspace, int slot,
                                              const Observed& observed) {
  for (int attempt = 0; attempt < kClaimNameAttempts; ++attempt) {
    const std::string name = ClaimName(workspace, slot, attempt);
    const auto created = parts_.client.Create(
        resources::kNodeClaims, NodeClaimFor(workspace, name, observed, options_.objects));
    if (created.ok()) {
      parts_.metrics.Wrote("create", "NodeClaim");
      base::LogInfo("node claim created", {{"workspace", workspace.key().ToString()},
                                           {"claim", name},
                                           {"instance_type", workspace.instance_type}});
      parts_.events.Normal(
          workspace.object, "NodeClaimCreated",
          absl::StrFormat("created node claim %s for one %s", name, workspace.instance_type));
      return absl::OkStatus();
    }
    if (!absl::IsAlreadyExists(created.status())) return created.status();
    ASSIGN_OR_RETURN(const kube::Object other,
                     parts_.client.Get(resources::kNodeClaims, {"", name}));
    if (BelongsTo(other, workspace)) return absl::OkStatus();  // The cache is behind.
  }
  return absl::AlreadyExistsError(
      absl::StrFormat("every name for node claim %d is taken by others", slot));
}

absl::Status WorkspaceReconciler::LabelNodes(const Decision& decision) {
  if (decision.plan->gpus_per_node == 0) return absl::OkStatus();
  absl::Status first;
  for (const NodeView& node : decision.nodes) {
    if (node.label("accelerator") == "nvidia") continue;
    const json::value patch{{"metadata", {{"labels", {{"accelerator", "nvidia"}}}}}};
    KeepFirst(
        parts_.client.Patch(resources::kNodes, {"", node.name}, kube::PatchType::kMerge, patch)
            .status(),
        first);
    parts_.metrics.Wrote("patch", "Node");
  }
  return first;
}

absl::Status WorkspaceReconciler::Report(const Workspace& workspace, const Observed& observed,
                                         const Decision& decision, const absl::Status& applied) {
  const auto conditions =
      ComputeConditions(workspace, observed, decision, applied, options_.status);
  const json::value status = ComputeStatus(workspace, observed, decision, applied, options_.status);
  absl::StatusOr<kube::StatusWritten> written =
      kube::WriteStatus(parts_.client, resources::kWorkspaces, workspace.object, status);
  if (absl::IsAborted(written.status())) {
    // The cache was behind. What was computed still holds unless the user changed something, and
    // then the event of that change brings us back.
    const auto fresh = parts_.client.Get(resources::kWorkspaces, workspace.key());
    if (fresh.ok()) {
      written = kube::WriteStatus(parts_.client, resources::kWorkspaces, *fresh, status);
    }
  }
  RETURN_IF_ERROR(IgnoreNotFound(written.status()));
  if (written.ok() && written->changed) {
    parts_.metrics.Wrote("patch", "Workspace status");
    RecordEvents(workspace, decision, observed);
  }
  parts_.metrics.Observed(workspace.object, conditions,
                          observed.preset != nullptr ? observed.preset->short_name() : "",
                          observed.now);
  return absl::OkStatus();
}

// Once per change: only when the status that is there says something else.
void WorkspaceReconciler::RecordEvents(const Workspace& workspace, const Decision& decision,
                                       const Observed& observed) {
  const auto before = kube::FindCondition(workspace.object, "ResourceReady");
  if (decision.refused()) {
    if (before && before->reason == decision.reason) return;
    parts_.events.Warning(workspace.object, decision.reason, decision.message);
    return;
  }
  const std::optional<catalog::NodePlan> old = ReadPlan(workspace.object);
  if (old && old->nodes == decision.plan->nodes) return;
  std::string price;
  if (observed.advice && observed.advice->usd_per_hour) {
    price = absl::StrFormat(", %.2f USD per hour each", *observed.advice->usd_per_hour);
  }
  parts_.events.Normal(
      workspace.object, "NodePlanned",
      absl::StrFormat("%d node%s%s%s%s", decision.plan->nodes, decision.plan->nodes == 1 ? "" : "s",
                      workspace.instance_type.empty() ? "" : " of " + workspace.instance_type,
                      price, decision.warning.empty() ? "" : "; warning: " + decision.warning));
}

absl::StatusOr<kube::ReconcileResult> WorkspaceReconciler::Finalize(const Workspace& workspace) {
  const kube::ObjectKey key = workspace.key();
  parts_.metrics.Deleting(key);
  if (!workspace.object.HasFinalizer(kFinalizer)) return kube::ReconcileResult{};
  const absl::Status deleted = DeleteOwned(workspace);
  if (!deleted.ok()) {
    parts_.events.Warning(workspace.object, "DeletionBlocked", std::string(deleted.message()));
    const json::value status = DeletingStatus(workspace, deleted, parts_.clock.Now());
    const auto written =
        kube::WriteStatus(parts_.client, resources::kWorkspaces, workspace.object, status);
    if (!written.ok()) {
      base::LogWarning("status not written",
                       {{"workspace", key.ToString()}, {"error", written.status()}});
    }
    // Whatever it was, the user's object need not change for it to pass.
    return absl::UnavailableError(std::string(deleted.message()));
  }
  // Only now: the claims have the provisioner's own finalizer, and see to their machines.
  RETURN_IF_ERROR(IgnoreNotFound(
      kube::RemoveFinalizer(parts_.client, resources::kWorkspaces, workspace.object, kFinalizer)
          .status()));
  parts_.reservations.Release(key);
  parts_.live.Forget(key);
  base::LogInfo("workspace released", {{"workspace", key.ToString()}});
  return kube::ReconcileResult{};
}

absl::Status WorkspaceReconciler::DeleteOwned(const Workspace& workspace) {
  const kube::ObjectKey workload{workspace.namespace_name, workspace.workload_name()};
  const auto set = parts_.reader.Find(resources::kStatefulSets, workload);
  if (set && set->controller() && set->controller()->uid == workspace.uid) {
    RETURN_IF_ERROR(IgnoreNotFound(parts_.client.Delete(resources::kStatefulSets, workload)));
  }
  // Asked anew, not from the cache: a claim that was made a moment ago must not be forgotten.
  const auto claims = parts_.client.List(
      resources::kNodeClaims,
      {.label_selector = absl::StrFormat("%s=%s,%s=%s", kWorkspaceLabel, workspace.name,
                                         kWorkspaceNamespaceLabel, workspace.namespace_name)});
  if (absl::IsNotFound(claims.status())) return absl::OkStatus();  // The kind is not installed.
  RETURN_IF_ERROR(claims.status());
  absl::Status first;
  for (const kube::Object& claim : claims->items) {
    if (claim.being_deleted() || !BelongsTo(claim, workspace)) continue;
    KeepFirst(IgnoreNotFound(parts_.client.Delete(resources::kNodeClaims, claim.key())), first);
  }
  return first;
}

}  // namespace workspace_controller

// What NodeClaimReconciler writes: the Node's registration, the claim's status, the progress board.

#include <algorithm>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/kube/conditions.h"
#include "common/kube/json.h"
#include "gpu-provisioner/nodes.h"
#include "gpu-provisioner/reconcile_pass.h"

namespace gpu_provisioner {
namespace {

// Until the Node reports itself: what its size has.
boost::json::object TableCapacity(const catalog::GpuType& type) {
  boost::json::object capacity;
  if (type.vcpus > 0) capacity["cpu"] = absl::StrFormat("%d", type.vcpus);
  if (type.host_memory_gib > 0) {
    capacity["memory"] = absl::StrFormat("%dMi", static_cast<int64_t>(type.host_memory_gib * 1024));
  }
  if (type.gpus > 0) {
    capacity[type.vendor == "amd" ? "amd.com/gpu" : "nvidia.com/gpu"] =
        absl::StrFormat("%d", type.gpus);
  }
  return capacity;
}

std::string NextStepText(const Step& step) {
  switch (step.kind) {
    case StepKind::kLaunch:
      return "create an agent pool of " + step.offering->ref.ToString();
    case StepKind::kPutAgain:
      return "create the agent pool again";
    case StepKind::kGet:
      return "ask Azure for the agent pool";
    case StepKind::kMachines:
      return "ask Azure for the pool's machine";
    case StepKind::kAbort:
      return "abort the creation";
    case StepKind::kDelete:
      return "delete the agent pool";
    case StepKind::kDropFinalizer:
      return "let the claim go";
    case StepKind::kWait:
      break;
  }
  if (step.check_after == absl::InfiniteDuration()) return "wait for a change";
  return "look again in " + absl::FormatDuration(absl::Ceil(step.check_after, absl::Seconds(1)));
}

}  // namespace

std::vector<NamedVerdict> VerdictsOf(const kube::Object& object) {
  std::vector<NamedVerdict> verdicts;
  const auto* const list = object.Find({"status", "conditions"});
  if (list == nullptr || !list->is_array()) return verdicts;
  for (const auto& entry : list->get_array()) {
    verdicts.push_back({std::string(kube::StringAt(entry, {"type"})),
                        {std::string(kube::StringAt(entry, {"status"})),
                         std::string(kube::StringAt(entry, {"reason"})),
                         std::string(kube::StringAt(entry, {"message"}))}});
  }
  return verdicts;
}

boost::json::value ClaimStatus(const NodeRequest& claim, const std::vector<NamedVerdict>& verdicts,
                               const Step& step, const kube::Object* node,
                               const catalog::GpuTypes& types, bool clear_instance,
                               absl::Time now) {
  const auto* const present = claim.object.Find({"status"});
  boost::json::object status =
      present != nullptr && present->is_object() ? present->get_object() : boost::json::object();
  status["conditions"] = ClaimConditions(claim.object, verdicts, now);
  if (clear_instance) {
    for (const char* key : {"providerID", "nodeName", "imageID"}) status.erase(key);
    return status;
  }
  if (!step.provider_id.empty()) status["providerID"] = step.provider_id;
  if (step.pool != nullptr && !step.pool->node_image_version.empty()) {
    status["imageID"] = step.pool->node_image_version;
  }
  if (node != nullptr) {
    status["nodeName"] = std::string(node->name());
    for (const char* key : {"capacity", "allocatable"}) {
      if (const auto* const amounts = node->Find({"status", key})) status[key] = *amounts;
    }
  } else if (step.pool != nullptr && !status.contains("capacity")) {
    if (const auto* const type = FindSize(types, step.pool->vm_size)) {
      status["capacity"] = status["allocatable"] = TableCapacity(*type);
    }
  }
  return status;
}

absl::Status NodeClaimReconciler::Register(Pass& pass) {
  if (pass.step.launched) pass.verdicts.push_back({"Launched", *pass.step.launched});
  const bool launched = pass.step.launched && pass.step.launched->status == "True";
  if (launched && pass.memory.launched_at == absl::InfiniteDuration()) {
    Update(pass.claim.name, [&](PoolMemory& memory) { memory.launched_at = pass.now; });
  }
  if (pass.step.registered && !pass.claim.registered()) {
    pass.verdicts.push_back({"Registered", *pass.step.registered});
  }
  if (!launched) return absl::OkStatus();
  if (pass.step.node == nullptr) {
    if (!kube::IsConditionTrue(pass.claim.object, "Initialized")) {
      pass.verdicts.push_back({"Initialized", Unknown("NodeNotFound", "its node is not there")});
    }
    return absl::OkStatus();
  }
  pass.node = *pass.step.node;
  if (const auto patch = RegistrationPatch(*pass.node, pass.claim)) {
    ASSIGN_OR_RETURN(pass.node, parts_.kube.Patch(kube::resources::kNodes, pass.node->key(),
                                                  kube::PatchType::kMerge, *patch));
    if (!pass.claim.registered()) {
      base::LogInfo("node registered", {{"claim", pass.claim.name}, {"node", pass.node->name()}});
      Count("karpenter_nodes_created_total", "Nodes registered");
    }
  }
  pass.verdicts.push_back({"Registered", True()});
  if (kube::IsConditionTrue(pass.claim.object, "Initialized")) return absl::OkStatus();

  const std::string& size = pass.step.pool->vm_size;
  const bool gpu = options_.wait_for_gpu_resource && IsGpuSize(FindSize(parts_.types, size), size);
  const Verdict initialized = InitializedVerdict(*pass.node, pass.claim, gpu);
  pass.verdicts.push_back({"Initialized", initialized});
  if (initialized.status != "True") return absl::OkStatus();
  const boost::json::value label = boost::json::object{
      {"metadata",
       boost::json::object{{"labels", boost::json::object{{"karpenter.sh/initialized", "true"}}}}}};
  ASSIGN_OR_RETURN(pass.node, parts_.kube.Patch(kube::resources::kNodes, pass.node->key(),
                                                kube::PatchType::kMerge, label));
  base::LogInfo("node claim ready", {{"claim", pass.claim.name},
                                     {"node", pass.node->name()},
                                     {"took", pass.wall - pass.claim.created}});
  return absl::OkStatus();
}

absl::Status NodeClaimReconciler::Report(Pass& pass) {
  const boost::json::value status =
      ClaimStatus(pass.claim, pass.verdicts, pass.step, pass.node ? &*pass.node : nullptr,
                  parts_.types, pass.clear_instance, pass.wall);
  ASSIGN_OR_RETURN(
      const kube::StatusWritten written,
      kube::WriteStatus(parts_.kube, kube::resources::kNodeClaims, pass.claim.object, status));
  if (written.changed) pass.claim.object = written.object;
  Publish(pass);
  // A node that came to life ends the count of those that did not.
  if (pass.claim.last_error.empty() || !pass.claim.registered()) return absl::OkStatus();
  const boost::json::value patch = boost::json::object{
      {"metadata", boost::json::object{
                       {"annotations",
                        boost::json::object{{boost::json::string_view(kAnnotationLastError.data(),
                                                                      kAnnotationLastError.size()),
                                             nullptr}}}}}};
  return parts_.kube
      .Patch(kube::resources::kNodeClaims, pass.claim.object.key(), kube::PatchType::kMerge, patch)
      .status();
}

void NodeClaimReconciler::Publish(const Pass& pass, std::optional<Phase> phase) {
  const PoolMemory memory = Memory(pass.claim.name);
  ClaimState state{
      .claim = pass.claim.name,
      .workspace = std::string(pass.claim.object.label("kaito.sh/workspace")),
      .workspace_namespace = std::string(pass.claim.object.label("kaito.sh/workspacenamespace")),
      .attempt = pass.claim.attempt,
      .offering = pass.claim.offering,
      .conditions = VerdictsOf(pass.claim.object),
      .errors = memory.errors,
      .tried = memory.tried,
      .next_step = NextStepText(pass.step),
      .drain_blockers = pass.drain_blockers};
  if (const AgentPool* const pool = pass.view->Find(pass.claim.name))
    state.pool_state = pool->state;
  state.phase = PhaseOf(state.conditions, state.reason, state.message);
  if (phase) state.phase = *phase;
  if (pass.step.kind == StepKind::kWait && pass.step.check_after < absl::InfiniteDuration()) {
    state.not_before = pass.wall + pass.step.check_after;
  }
  parts_.board.Set(std::move(state));
}

void NodeClaimReconciler::Tell(const Pass& pass) {
  for (const StepEvent& event : pass.step.events) {
    if (event.warning) {
      parts_.events.Warning(pass.claim.object, event.reason, event.note);
    } else {
      parts_.events.Normal(pass.claim.object, event.reason, event.note);
    }
  }
  if (!pass.step.launched) return;
  const auto before = kube::FindCondition(pass.claim.object, "Launched");
  const Verdict& now = *pass.step.launched;
  if (now.status != "False" || (before && before->reason == now.reason)) return;
  base::LogWarning("claim cannot be served now",
                   {{"claim", pass.claim.name}, {"reason", now.reason}, {"message", now.message}});
  if (now.reason == "QuotaExceeded" || now.reason == "InsufficientCapacity") {
    parts_.events.Warning(
        pass.claim.object,
        now.reason == "QuotaExceeded" ? "QuotaExceeded" : "InsufficientCapacityError", now.message);
  }
}

}  // namespace gpu_provisioner

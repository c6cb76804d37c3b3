// The end of a claim in NodeClaimReconciler: drain, delete, and only then let go.

#include <algorithm>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/kube/conditions.h"
#include "gpu-provisioner/drain.h"
#include "gpu-provisioner/nodes.h"
#include "gpu-provisioner/reconcile_pass.h"

namespace gpu_provisioner {
namespace {

constexpr absl::Duration kDrainLook = absl::Seconds(1);

std::optional<absl::Time> DeadlineOf(const NodeRequest& claim) {
  if (const auto stamped = kube::ParseTime(claim.object.annotation(kAnnotationTermination))) {
    return stamped;
  }
  if (!claim.grace_period || !claim.deleted) return std::nullopt;
  return *claim.deleted + *claim.grace_period;
}

bool OwnedBy(const kube::Object& node, const NodeRequest& claim) {
  const auto owners = node.owner_references();
  return std::ranges::any_of(owners, [&](const auto& owner) { return owner.uid == claim.uid; });
}

}  // namespace

absl::Status NodeClaimReconciler::StampDeadline(Pass& pass) {
  if (!pass.claim.grace_period || !pass.claim.object.annotation(kAnnotationTermination).empty()) {
    return absl::OkStatus();
  }
  const boost::json::value patch = boost::json::object{
      {"metadata", boost::json::object{
                       {"annotations",
                        boost::json::object{
                            {boost::json::string_view(kAnnotationTermination.data(),
                                                      kAnnotationTermination.size()),
                             kube::FormatTime(*pass.claim.deleted + *pass.claim.grace_period)}}}}}};
  ASSIGN_OR_RETURN(const kube::Object stored,
                   parts_.kube.Patch(kube::resources::kNodeClaims, pass.claim.object.key(),
                                     kube::PatchType::kMerge, patch));
  pass.claim = ParseNodeClaim(stored, options_.step.location);
  return absl::OkStatus();
}

// True once no Node of the claim holds anything up.
absl::StatusOr<bool> NodeClaimReconciler::Drain(Pass& pass) {
  const std::optional<absl::Time> deadline = DeadlineOf(pass.claim);
  const AgentPool* const pool = pass.view->Find(pass.claim.name);
  bool all_done = true;
  for (const kube::Object& node : pass.nodes) {
    if (!OwnedBy(node, pass.claim)) continue;
    if (!node.being_deleted()) {
      RETURN_IF_ERROR(parts_.kube.Delete(kube::resources::kNodes, node.key(),
                                         {.uid = std::string(node.uid())}));
      if (!node.HasFinalizer(kFinalizer)) continue;
    }
    // Nobody is there who could end a pod.
    const bool instance_gone =
        pool == nullptr && pass.view->listed != PoolMemory::kNever && !IsNodeReady(node);
    // AKS takes the machine away by itself from here on.
    if (instance_gone || (pool != nullptr && pool->deleting())) continue;
    ASSIGN_OR_RETURN(const DrainProgress progress,
                     DrainNode(parts_.kube, node, deadline, pass.wall));
    pass.verdicts.push_back({"Drained", progress.drained});
    if (!progress.volumes.reason.empty()) {
      pass.verdicts.push_back({"VolumesDetached", progress.volumes});
    }
    for (const std::string& name : progress.refused) {
      parts_.events.Warning(pass.claim.object, "FailedDraining",
                            absl::StrFormat("a disruption budget forbids to evict pod %s", name));
      Count("karpenter_nodes_eviction_requests_total", "Evictions by answer", {{"code", "429"}});
    }
    if (progress.volumes.reason == "AwaitingVolumeDetachment") {
      parts_.events.Normal(pass.claim.object, "AwaitingVolumeDetachment", progress.volumes.message);
    }
    pass.drain_blockers.insert(pass.drain_blockers.end(), progress.blockers.begin(),
                               progress.blockers.end());
    all_done = all_done && progress.done;
  }
  return all_done;
}

absl::Status NodeClaimReconciler::DropFinalizers(const Pass& pass) {
  for (const kube::Object& node : pass.nodes) {
    if (!OwnedBy(node, pass.claim)) continue;
    // The machine is gone, so its Node says nothing true any more.
    RETURN_IF_ERROR(
        parts_.kube.Delete(kube::resources::kNodes, node.key(), {.uid = std::string(node.uid())}));
    const auto current = parts_.kube.Get(kube::resources::kNodes, node.key());
    if (absl::IsNotFound(current.status())) continue;
    RETURN_IF_ERROR(current.status());
    if (current->uid() != node.uid()) continue;
    RETURN_IF_ERROR(
        kube::RemoveFinalizer(parts_.kube, kube::resources::kNodes, *current, kFinalizer).status());
    Count("karpenter_nodes_terminated_total", "Nodes whose machine is gone");
  }
  const absl::Status dropped = kube::RemoveFinalizer(parts_.kube, kube::resources::kNodeClaims,
                                                     pass.claim.object, kFinalizer)
                                   .status();
  // The cache may still show a claim that is gone.
  if (absl::IsNotFound(dropped)) return absl::OkStatus();
  RETURN_IF_ERROR(dropped);
  base::LogInfo("node claim gone",
                {{"claim", pass.claim.name}, {"took", pass.wall - *pass.claim.deleted}});
  Count("karpenter_nodeclaims_terminated_total", "Claims whose end is complete");
  parts_.quota.Release(pass.claim.uid);
  parts_.board.Remove(pass.claim.name);
  return absl::OkStatus();
}

absl::StatusOr<kube::ReconcileResult> NodeClaimReconciler::Finalize(NodeRequest claim) {
  Pass pass{.claim = std::move(claim),
            .view = parts_.snapshot.Current(),
            .now = parts_.clock.Monotonic(),
            .wall = parts_.clock.Now()};
  const bool busy = parts_.writes.Busy(pass.claim.name);
  pass.memory = Remember(pass.claim);
  pass.nodes = parts_.cluster.NodesOfPool(pass.claim.name);
  RETURN_IF_ERROR(StampDeadline(pass));
  ASSIGN_OR_RETURN(const bool drained, Drain(pass));
  kube::ReconcileResult result;
  if (!drained) {
    pass.step.check_after = result.requeue_after = kDrainLook;
  } else {
    const std::optional<absl::Time> deadline = DeadlineOf(pass.claim);
    pass.step = NextDeletionStep({.claim = pass.claim,
                                  .view = *pass.view,
                                  .memory = pass.memory,
                                  .busy = busy,
                                  .nodes = pass.nodes,
                                  .offerings = pass.offerings,
                                  .now = pass.now,
                                  .wall = pass.wall,
                                  .options = options_.step},
                                 deadline && pass.wall >= *deadline);
    if (pass.step.kind == StepKind::kDropFinalizer) {
      RETURN_IF_ERROR(DropFinalizers(pass));
      return result;
    }
    RETURN_IF_ERROR(Act(pass));
    const AgentPool* const pool = pass.view->Find(pass.claim.name);
    if (pool != nullptr && pool->deleting()) {
      pass.verdicts.push_back({"InstanceTerminating", True()});
    } else if (pool != nullptr && pool->provisioning_error &&
               pool->provisioning_error->code == "PodDrainFailure") {
      pass.verdicts.push_back(
          {"InstanceTerminating", Unknown("DrainBlocked", pool->provisioning_error->message)});
    }
    if (pass.step.check_after < absl::InfiniteDuration()) {
      result.requeue_after = std::max(absl::Milliseconds(20), pass.step.check_after);
    }
  }
  // Old claims fail validation on every status patch; deletion goes on regardless.
  const boost::json::value status =
      ClaimStatus(pass.claim, pass.verdicts, {}, nullptr, parts_.types, false, pass.wall);
  const auto written =
      kube::WriteStatus(parts_.kube, kube::resources::kNodeClaims, pass.claim.object, status);
  if (written.ok() && written->changed) pass.claim.object = written->object;
  Publish(pass, drained ? Phase::kDeleting : Phase::kDraining);
  return result;
}

}  // namespace gpu_provisioner

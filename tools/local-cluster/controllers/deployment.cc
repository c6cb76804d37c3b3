#include "local-cluster/controllers/deployment.h"

#include "absl/time/clock.h"

#include "boost/json.hpp"
#include "common/base/status_macros.h"
#include "common/kube/conditions.h"
#include "local-cluster/controllers/objects.h"

namespace local_cluster {
namespace {

namespace json = boost::json;
using kube::resources::kDeployments;
using kube::resources::kPods;
using kube::resources::kReplicaSets;

// What `owner` controls among the objects that its selector finds. From the server, not from a
// cache: names are random here, so a stale view would make too many.
absl::StatusOr<std::vector<kube::Object>> Controlled(kube::Client& client,
                                                     const kube::Resource& resource,
                                                     const kube::Object& owner) {
  ASSIGN_OR_RETURN(
      kube::ObjectList list,
      client.List(resource, {.namespace_name = std::string(owner.namespace_name()),
                             .label_selector = SelectorText(owner.Find({"spec", "selector"}))}));
  std::erase_if(list.items,
                [&](const kube::Object& object) { return !IsControlledBy(object, owner.uid()); });
  return std::move(list.items);
}

}  // namespace

absl::StatusOr<kube::ReconcileResult> ReplicaSetReconciler::Reconcile(const kube::ObjectKey& key) {
  const absl::StatusOr<kube::Object> set = client_.Get(kReplicaSets, key);
  if (absl::IsNotFound(set.status())) return kube::ReconcileResult{};
  RETURN_IF_ERROR(set.status());
  if (set->being_deleted()) return kube::ReconcileResult{};
  ASSIGN_OR_RETURN(const std::vector<kube::Object> pods, Controlled(client_, kPods, *set));
  const ReplicaSetPlan plan = PlanReplicaSet(*set, pods);
  for (const kube::Object& pod : plan.create) {
    RETURN_IF_ERROR(client_.Create(kPods, pod).status());
  }
  for (const kube::Object& pod : plan.remove) {
    RETURN_IF_ERROR(client_.Delete(kPods, pod.key(), {.uid = std::string(pod.uid())}));
  }
  RETURN_IF_ERROR(kube::WriteStatus(client_, kReplicaSets, *set, *plan.status).status());
  return kube::ReconcileResult{};
}

absl::StatusOr<kube::ReconcileResult> DeploymentReconciler::Reconcile(const kube::ObjectKey& key) {
  const absl::StatusOr<kube::Object> deployment = client_.Get(kDeployments, key);
  if (absl::IsNotFound(deployment.status())) return kube::ReconcileResult{};
  RETURN_IF_ERROR(deployment.status());
  if (deployment->being_deleted()) return kube::ReconcileResult{};
  ASSIGN_OR_RETURN(const std::vector<kube::Object> sets,
                   Controlled(client_, kReplicaSets, *deployment));
  const DeploymentPlan plan = PlanDeployment(*deployment, sets, absl::Now());
  if (plan.create) {
    const absl::Status status = client_.Create(kReplicaSets, *plan.create).status();
    if (!status.ok() && !absl::IsAlreadyExists(status)) return status;
  }
  for (const auto& [name, replicas] : plan.scale) {
    const json::value patch = json::object{{"spec", json::object{{"replicas", replicas}}}};
    RETURN_IF_ERROR(
        client_.Patch(kReplicaSets, {key.namespace_name, name}, kube::PatchType::kMerge, patch)
            .status());
  }
  for (const kube::Object& set : plan.remove) {
    RETURN_IF_ERROR(client_.Delete(kReplicaSets, set.key(), {.uid = std::string(set.uid())}));
  }
  RETURN_IF_ERROR(kube::WriteStatus(client_, kDeployments, *deployment, *plan.status).status());
  return kube::ReconcileResult{};
}

}  // namespace local_cluster

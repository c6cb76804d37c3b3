#include "local-cluster/controllers/job.h"

#include <utility>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/status_macros.h"
#include "common/kube/conditions.h"
#include "local-cluster/controllers/objects.h"

namespace local_cluster {
namespace {

using kube::resources::kJobs;
using kube::resources::kPods;

absl::Status Release(kube::Client& client, const kube::Object& pod) {
  if (!pod.HasFinalizer(kJobFinalizer)) return absl::OkStatus();
  const absl::Status status = kube::RemoveFinalizer(client, kPods, pod, kJobFinalizer).status();
  return absl::IsNotFound(status) ? absl::OkStatus() : status;
}

}  // namespace

// Pods whose Job is gone: nobody counts them any more.
absl::Status JobReconciler::ReleaseOrphans(const kube::ObjectKey& key) {
  ASSIGN_OR_RETURN(const kube::ObjectList pods,
                   client_.List(kPods, {.namespace_name = key.namespace_name,
                                        .label_selector = absl::StrFormat(
                                            "batch.kubernetes.io/job-name=%s", key.name)}));
  for (const kube::Object& pod : pods.items) RETURN_IF_ERROR(Release(client_, pod));
  return absl::OkStatus();
}

absl::StatusOr<kube::ReconcileResult> JobReconciler::Reconcile(const kube::ObjectKey& key) {
  const absl::StatusOr<kube::Object> job = client_.Get(kJobs, key);
  if (absl::IsNotFound(job.status())) {
    RETURN_IF_ERROR(ReleaseOrphans(key));
    return kube::ReconcileResult{};
  }
  RETURN_IF_ERROR(job.status());
  ASSIGN_OR_RETURN(kube::ObjectList pods,
                   client_.List(kPods, {.namespace_name = key.namespace_name,
                                        .label_selector = absl::StrFormat(
                                            "batch.kubernetes.io/controller-uid=%s", job->uid())}));
  std::erase_if(pods.items,
                [&](const kube::Object& pod) { return !IsControlledBy(pod, job->uid()); });
  const JobPlan plan = PlanJob(*job, pods.items, clock_.Now());

  for (const kube::Object& pod : plan.create) {
    RETURN_IF_ERROR(client_.Create(kPods, pod).status());
  }
  for (const kube::Object& pod : plan.remove) {
    RETURN_IF_ERROR(client_.Delete(kPods, pod.key(), {.uid = std::string(pod.uid())}));
  }
  // Before the finalizers go: what was counted must not be counted again.
  if (plan.status) {
    RETURN_IF_ERROR(kube::WriteStatus(client_, kJobs, *job, *plan.status).status());
  }
  for (const kube::Object& pod : plan.release) RETURN_IF_ERROR(Release(client_, pod));
  if (plan.delete_job) {
    RETURN_IF_ERROR(client_.Delete(kJobs, key, {.uid = std::string(job->uid())}));
  }
  return kube::ReconcileResult{.requeue_after = plan.look_again};
}

}  // namespace local_cluster

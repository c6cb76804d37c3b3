// Job: pods until enough have succeeded.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include <boost/json/fwd.hpp>

#include "absl/time/time.h"

#include "common/base/clock.h"
#include "common/kube/client.h"
#include "common/kube/controller.h"
#include "common/kube/object.h"
#include "local-cluster/controllers/informer_set.h"

namespace local_cluster {

// Keeps a Job's pods visible until the Job has ended, so that counts are always those of the pods
// there are, and no deletion is lost.
inline constexpr char kJobFinalizer[] = "batch.kubernetes.io/job-tracking";

struct JobPlan {
  std::vector<kube::Object> create;
  std::vector<kube::Object> remove;   // To be deleted.
  std::vector<kube::Object> release;  // Lose the finalizer.
  std::unique_ptr<boost::json::value> status;
  absl::Duration look_again = absl::ZeroDuration();  // Zero: an event will bring us back.
  bool delete_job = false;                           // ttlSecondsAfterFinished has passed.
};

// `pods`: those controlled by `job`.
JobPlan PlanJob(const kube::Object& job, const std::vector<kube::Object>& pods, absl::Time now);

class JobReconciler final : public kube::Reconciler {
 public:
  JobReconciler(kube::Client& client, const base::Clock& clock = base::RealClock())
      : client_(client), clock_(clock) {}
  absl::StatusOr<kube::ReconcileResult> Reconcile(const kube::ObjectKey& key) override;

 private:
  absl::Status ReleaseOrphans(const kube::ObjectKey& key);

  kube::Client& client_;
  const base::Clock& clock_;
};

}  // namespace local_cluster

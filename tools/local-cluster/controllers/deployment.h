// ReplicaSet and Deployment, as far as rollouts and `kubectl rollout status` need them.

#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/json/fwd.hpp>

#include "absl/time/time.h"

#include "common/kube/client.h"
#include "common/kube/controller.h"
#include "common/kube/object.h"

namespace local_cluster {

struct ReplicaSetPlan {
  std::vector<kube::Object> create;
  std::vector<kube::Object> remove;
  std::unique_ptr<boost::json::value> status;
};

ReplicaSetPlan PlanReplicaSet(const kube::Object& set, const std::vector<kube::Object>& pods);

struct DeploymentPlan {
  std::optional<kube::Object> create;    // The ReplicaSet of the present template.
  std::map<std::string, int64_t> scale;  // Existing ReplicaSet → replicas.
  std::vector<kube::Object> remove;      // Old ones beyond revisionHistoryLimit.
  std::unique_ptr<boost::json::value> status;
};

// `sets`: the ReplicaSets controlled by `deployment`.
DeploymentPlan PlanDeployment(const kube::Object& deployment, const std::vector<kube::Object>& sets,
                              absl::Time now);

class ReplicaSetReconciler final : public kube::Reconciler {
 public:
  explicit ReplicaSetReconciler(kube::Client& client) : client_(client) {}
  absl::StatusOr<kube::ReconcileResult> Reconcile(const kube::ObjectKey& key) override;

 private:
  kube::Client& client_;
};

class DeploymentReconciler final : public kube::Reconciler {
 public:
  explicit DeploymentReconciler(kube::Client& client) : client_(client) {}
  absl::StatusOr<kube::ReconcileResult> Reconcile(const kube::ObjectKey& key) override;

 private:
  kube::Client& client_;
};

}  // namespace local_cluster

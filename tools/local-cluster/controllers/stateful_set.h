// StatefulSet: pods with stable names, made, replaced and removed in order.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/json/fwd.hpp>

#include "common/kube/client.h"
#include "common/kube/controller.h"
#include "common/kube/object.h"
#include "local-cluster/controllers/informer_set.h"

namespace local_cluster {

// The two revisions that matter of a StatefulSet's ControllerRevisions.
struct StatefulSetRevisions {
  std::string current;  // Name, as in the pods' label controller-revision-hash.
  std::string update;
  kube::Object current_set;  // The set with the template of the current revision.
};

struct StatefulSetPlan {
  std::vector<kube::Object> claims;  // To be made if absent.
  std::vector<kube::Object> create;  // Pods.
  std::vector<kube::Object> remove;  // Pods.
  std::unique_ptr<boost::json::value> status;
};

// `pods`: those controlled by `set`.
StatefulSetPlan PlanStatefulSet(const kube::Object& set, const std::vector<kube::Object>& pods,
                                const StatefulSetRevisions& revisions);

class StatefulSetReconciler final : public kube::Reconciler {
 public:
  explicit StatefulSetReconciler(kube::Client& client) : client_(client) {}
  absl::StatusOr<kube::ReconcileResult> Reconcile(const kube::ObjectKey& key) override;

 private:
  absl::StatusOr<StatefulSetRevisions> SyncRevisions(const kube::Object& set);
  absl::Status TrimRevisions(const kube::Object& set, const StatefulSetRevisions& revisions,
                             std::vector<kube::Object> all);

  kube::Client& client_;
};

}  // namespace local_cluster

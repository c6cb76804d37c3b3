// Deletes what has lost its owner; carries out foreground and orphan deletion.

#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"

#include "common/kube/client.h"
#include "common/kube/controller.h"
#include "common/kube/informer.h"
#include "local-cluster/controllers/informer_set.h"
#include "local-cluster/controllers/kind_catalog.h"
#include "local-cluster/controllers/owner_graph.h"

namespace local_cluster {

// Keys are uids. An owner counts as absent only after the server has said so: watches of different
// kinds are not in step. Thread-safe.
class GarbageCollector final : public kube::Reconciler {
 public:
  // All borrowed. Kinds that `informers` has are watched there, the others by metadata alone.
  GarbageCollector(kube::Client& client, InformerSet& informers, KindCatalog& catalog);
  ~GarbageCollector() override;

  void Start();
  void Stop();

  absl::StatusOr<kube::ReconcileResult> Reconcile(const kube::ObjectKey& uid) override;

 private:
  void WatchKind(const kube::Resource& resource, kube::Informer& informer);
  void WatchNewKind(const kube::Resource& resource);
  void OnEvent(const kube::Resource& resource, const kube::InformerEvent& event);
  void OnCrd(const kube::InformerEvent& event);
  void Queue(const std::string& uid);

  absl::StatusOr<OwnerState> StateOf(const GraphNode& node, const kube::OwnerReference& owner);
  absl::Status DropReferences(const GraphNode& node, const std::vector<std::string>& owner_uids);
  absl::Status RemoveFinalizer(const GraphNode& node, std::string_view finalizer);
  absl::Status Orphan(const GraphNode& node, const std::vector<GraphNode>& dependents);
  absl::Status FinishForeground(const GraphNode& node, const std::vector<GraphNode>& dependents);

  kube::Client& client_;
  KindCatalog& catalog_;
  kube::Informer& crds_;
  absl::Mutex mutex_;
  OwnerGraph graph_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::unique_ptr<kube::Informer>> own_informers_ ABSL_GUARDED_BY(mutex_);
  bool started_ ABSL_GUARDED_BY(mutex_) = false;
  kube::Controller controller_;
};

}  // namespace local_cluster

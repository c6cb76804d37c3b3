// Loops that are a few lines each: claims, pods of nodes that are gone, old events.

#pragma once

#include <string>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "common/base/clock.h"
#include "common/kube/client.h"
#include "common/kube/controller.h"
#include "local-cluster/controllers/informer_set.h"

namespace local_cluster {

// A PersistentVolumeClaim gets a volume of its own at once: a folder of this machine.
class ClaimReconciler final : public kube::Reconciler {
 public:
  explicit ClaimReconciler(kube::Client& client) : client_(client) {}
  absl::StatusOr<kube::ReconcileResult> Reconcile(const kube::ObjectKey& key) override;

 private:
  kube::Client& client_;
};

// Keys are Nodes. The pods of a Node that is gone are deleted for good: nobody else would end them.
class PodCollector final : public kube::Reconciler {
 public:
  PodCollector(kube::Client& client, InformerSet& informers)
      : client_(client),
        nodes_(informers.Of(kube::resources::kNodes)),
        pods_(informers.Of(kube::resources::kPods)) {}
  absl::StatusOr<kube::ReconcileResult> Reconcile(const kube::ObjectKey& key) override;
  void Watch(kube::Controller& controller);

 private:
  kube::Client& client_;
  kube::Informer& nodes_;
  kube::Informer& pods_;
};

// Deletes Events an hour after they were last seen. One thread.
class EventExpiry {
 public:
  explicit EventExpiry(kube::Client& client, const base::Clock& clock = base::RealClock());
  ~EventExpiry();

  // One round. Returns how many were deleted.
  absl::StatusOr<int> Expire();

 private:
  kube::Client& client_;
  const base::Clock& clock_;
  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::jthread thread_;
};

}  // namespace local_cluster

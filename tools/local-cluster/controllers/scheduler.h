// Which Node a Pod runs on.

#pragma once

#include <map>
#include <string>
#include <vector>

#include "common/kube/client.h"
#include "common/kube/controller.h"
#include "common/kube/events.h"
#include "common/kube/object.h"
#include "local-cluster/controllers/informer_set.h"

namespace local_cluster {

// Resource → amount: cpu in cores, memory in bytes, others in pieces.
using Resources = std::map<std::string, double>;

// What a Pod asks for: its containers together, or its largest init container, with sidecars.
Resources PodRequests(const kube::Object& pod);

struct Placement {
  std::string node;     // Empty: nowhere.
  std::string message;  // Then: "0/2 nodes are available: …", as kube-scheduler words it.
};

// Node selector, required affinity and anti-affinity, taints, requests against what is allocatable
// and not taken. Of the Nodes that fit the one with the most free CPU is taken.
Placement PlacePod(const kube::Object& pod, const std::vector<kube::Object>& nodes,
                   const std::vector<kube::Object>& pods);

// One worker: each decision sees those before it.
class SchedulerReconciler final : public kube::Reconciler {
 public:
  SchedulerReconciler(kube::Client& client, kube::EventRecorder& events, InformerSet& informers)
      : client_(client),
        events_(events),
        nodes_(informers.Of(kube::resources::kNodes)),
        pods_(informers.Of(kube::resources::kPods)) {}
  absl::StatusOr<kube::ReconcileResult> Reconcile(const kube::ObjectKey& key) override;

  // Queues unscheduled Pods, all of them when a Node or a Pod's end may have made room.
  void Watch(kube::Controller& controller);

 private:
  absl::Status Bind(const kube::Object& pod, const std::string& node);
  absl::Status Report(const kube::Object& pod, const std::string& message);
  std::vector<kube::Object> PodsWithDecisions();

  kube::Client& client_;
  kube::EventRecorder& events_;
  kube::Informer& nodes_;
  kube::Informer& pods_;
  std::map<std::string, std::string> decided_;  // Pod uid → Node, until the cache shows it.
};

}  // namespace local_cluster

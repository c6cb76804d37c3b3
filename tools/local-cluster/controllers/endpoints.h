// Which pods stand behind a Service: Endpoints and EndpointSlices.

#pragma once

#include <vector>

#include "common/kube/client.h"
#include "common/kube/controller.h"
#include "common/kube/object.h"
#include "local-cluster/controllers/informer_set.h"

namespace local_cluster {

// One slice with all pods that match `service`'s selector and have an address, ready or not.
kube::Object PlanEndpointSlice(const kube::Object& service, const std::vector<kube::Object>& pods);

// The same as core/v1 Endpoints.
kube::Object PlanEndpoints(const kube::Object& service, const std::vector<kube::Object>& pods);

class EndpointsReconciler final : public kube::Reconciler {
 public:
  EndpointsReconciler(kube::Client& client, InformerSet& informers)
      : client_(client),
        services_(informers.Of(kube::resources::kServices)),
        pods_(informers.Of(kube::resources::kPods)) {}
  absl::StatusOr<kube::ReconcileResult> Reconcile(const kube::ObjectKey& key) override;
  void Watch(kube::Controller& controller);

 private:
  absl::Status Put(const kube::Resource& resource, const kube::Object& wanted);

  kube::Client& client_;
  kube::Informer& services_;
  kube::Informer& pods_;
};

}  // namespace local_cluster

#include "local-cluster/controllers/built_in_loops.h"

#include <utility>
#include <vector>

#include "common/kube/controller.h"
#include "common/kube/events.h"
#include "local-cluster/controllers/deployment.h"
#include "local-cluster/controllers/endpoints.h"
#include "local-cluster/controllers/garbage_collector.h"
#include "local-cluster/controllers/job.h"
#include "local-cluster/controllers/kind_catalog.h"
#include "local-cluster/controllers/namespaces.h"
#include "local-cluster/controllers/scheduler.h"
#include "local-cluster/controllers/small_loops.h"
#include "local-cluster/controllers/stateful_set.h"

namespace local_cluster {

using namespace kube::resources;  // NOLINT(google-build-using-namespace): constants alone.

struct BuiltInLoops::Impl {
  Impl(kube::Client& client, InformerSet& informers, std::string ca_pem)
      : scheduler_events(client, {.reporting_controller = "default-scheduler",
                                  .reporting_instance = "local-cluster"}),
        scheduler(client, scheduler_events, informers),
        stateful_sets(client),
        replica_sets(client),
        deployments(client),
        jobs(client),
        endpoints(client, informers),
        namespaces(client, catalog, std::move(ca_pem)),
        claims(client),
        pod_collector(client, informers),
        garbage_collector(client, informers, catalog),
        api(client) {
    scheduler.Watch(Add("scheduler", scheduler, 1));
    AddOwner("statefulset", stateful_sets, informers, kStatefulSets, {kPods});
    AddOwner("replicaset", replica_sets, informers, kReplicaSets, {kPods});
    AddOwner("deployment", deployments, informers, kDeployments, {kReplicaSets});
    AddOwner("job", jobs, informers, kJobs, {kPods});
    endpoints.Watch(Add("endpoints", endpoints, 2));
    Add("namespace", namespaces, 1).WatchSelf(informers.Of(kNamespaces));
    Add("claim", claims, 1).WatchSelf(informers.Of(kPersistentVolumeClaims));
    pod_collector.Watch(Add("pod-collector", pod_collector, 1));
  }

  kube::Controller& Add(const std::string& name, kube::Reconciler& reconciler, int workers) {
    controllers.push_back(std::make_unique<kube::Controller>(
        reconciler, kube::ControllerOptions{.name = name, .workers = workers}));
    return *controllers.back();
  }

  void AddOwner(const std::string& name, kube::Reconciler& reconciler, InformerSet& informers,
                const kube::Resource& kind, const std::vector<kube::Resource>& owned) {
    kube::Controller& controller = Add(name, reconciler, 2);
    controller.WatchSelf(informers.Of(kind));
    for (const kube::Resource& resource : owned) {
      controller.WatchOwned(informers.Of(resource), kind.kind);
    }
  }

  KindCatalog catalog;
  kube::EventRecorder scheduler_events;
  SchedulerReconciler scheduler;
  StatefulSetReconciler stateful_sets;
  ReplicaSetReconciler replica_sets;
  DeploymentReconciler deployments;
  JobReconciler jobs;
  EndpointsReconciler endpoints;
  NamespaceReconciler namespaces;
  ClaimReconciler claims;
  PodCollector pod_collector;
  GarbageCollector garbage_collector;
  std::vector<std::unique_ptr<kube::Controller>> controllers;
  kube::Client& api;
  std::unique_ptr<EventExpiry> event_expiry;
};

BuiltInLoops::BuiltInLoops(kube::Client& client, InformerSet& informers, std::string ca_pem)
    : impl_(std::make_unique<Impl>(client, informers, std::move(ca_pem))) {}

BuiltInLoops::~BuiltInLoops() { Stop(); }

void BuiltInLoops::Start() {
  for (const auto& controller : impl_->controllers) controller->Start();
  impl_->garbage_collector.Start();
  impl_->event_expiry = std::make_unique<EventExpiry>(impl_->api);
}

void BuiltInLoops::Stop() {
  impl_->event_expiry.reset();
  impl_->garbage_collector.Stop();
  for (const auto& controller : impl_->controllers) controller->Stop();
}

}  // namespace local_cluster

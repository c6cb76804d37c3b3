// Names of things in a Kubernetes API: kinds, where they are served, single objects.

#pragma once

#include <compare>
#include <functional>
#include <string>
#include <string_view>

namespace kube {

// One object of a kind. `namespace_name` is empty for cluster-scoped kinds.
struct ObjectKey {
  std::string namespace_name;
  std::string name;

  auto operator<=>(const ObjectKey&) const = default;
  std::string ToString() const;  // "namespace/name" or "name".

  template <typename H>
  friend H AbslHashValue(H h, const ObjectKey& key) {
    return H::combine(std::move(h), key.namespace_name, key.name);
  }
};

// A kind and where it is served.
struct Resource {
  std::string group;    // "" for the core group.
  std::string version;  // "v1"
  std::string plural;   // "statefulsets"
  std::string kind;     // "StatefulSet"
  bool namespaced = true;

  std::string api_version() const;  // "apps/v1", "v1".
  // "/apis/apps/v1/namespaces/ns/statefulsets/name"; without key.name the collection; without
  // namespace the collection over all namespaces.
  std::string Path(const ObjectKey& key = {}, std::string_view subresource = "") const;

  bool operator==(const Resource&) const = default;
};

namespace resources {

inline const Resource kNamespaces{"", "v1", "namespaces", "Namespace", false};
inline const Resource kPods{"", "v1", "pods", "Pod"};
inline const Resource kServices{"", "v1", "services", "Service"};
inline const Resource kConfigMaps{"", "v1", "configmaps", "ConfigMap"};
inline const Resource kSecrets{"", "v1", "secrets", "Secret"};
inline const Resource kServiceAccounts{"", "v1", "serviceaccounts", "ServiceAccount"};
inline const Resource kNodes{"", "v1", "nodes", "Node", false};
inline const Resource kEvents{"", "v1", "events", "Event"};
inline const Resource kPersistentVolumeClaims{"", "v1", "persistentvolumeclaims",
                                              "PersistentVolumeClaim"};
inline const Resource kPersistentVolumes{"", "v1", "persistentvolumes", "PersistentVolume", false};
inline const Resource kEndpoints{"", "v1", "endpoints", "Endpoints"};
inline const Resource kStatefulSets{"apps", "v1", "statefulsets", "StatefulSet"};
inline const Resource kDeployments{"apps", "v1", "deployments", "Deployment"};
inline const Resource kReplicaSets{"apps", "v1", "replicasets", "ReplicaSet"};
inline const Resource kControllerRevisions{"apps", "v1", "controllerrevisions",
                                           "ControllerRevision"};
inline const Resource kJobs{"batch", "v1", "jobs", "Job"};
inline const Resource kLeases{"coordination.k8s.io", "v1", "leases", "Lease"};
inline const Resource kEventsV1{"events.k8s.io", "v1", "events", "Event"};
inline const Resource kEndpointSlices{"discovery.k8s.io", "v1", "endpointslices", "EndpointSlice"};
inline const Resource kStorageClasses{"storage.k8s.io", "v1", "storageclasses", "StorageClass",
                                      false};
inline const Resource kVolumeAttachments{"storage.k8s.io", "v1", "volumeattachments",
                                         "VolumeAttachment", false};
inline const Resource kPodDisruptionBudgets{"policy", "v1", "poddisruptionbudgets",
                                            "PodDisruptionBudget"};
inline const Resource kCustomResourceDefinitions{
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", false};
inline const Resource kNodeClaims{"karpenter.sh", "v1", "nodeclaims", "NodeClaim", false};
inline const Resource kWorkspaces{"kaito.sh", "v1beta1", "workspaces", "Workspace"};

}  // namespace resources

}  // namespace kube

#include "local-cluster/apiserver/builtin_kinds.h"

#include <string>
#include <utility>

#include "common/base/check.h"
#include "local-cluster/apiserver/schema/builtin.h"
#include "local-cluster/apiserver/strategies.h"

namespace local_cluster {
namespace {

enum Trait : unsigned {
  kCluster = 1,  // Not namespaced.
  kStatus = 2,   // Subresource status.
  kScale = 4,    // Subresource scale.
  kGeneration = 8,
  kConditional = 16,  // PUT needs a resourceVersion.
  kReview = 32,       // Create only.
  kPathName = 64,     // Names need not be DNS subdomains.
};

struct Row {
  std::string group, version, plural, kind;
  unsigned traits = 0;
  std::vector<std::string> short_names;
  bool in_all = false;
  std::vector<std::string> subresources;
  std::vector<std::string> selectable_fields;
};

const std::vector<Row>& Rows() {
  static const auto* const rows = new std::vector<Row>{
      {"", "v1", "bindings", "Binding", kReview},
      {"", "v1", "configmaps", "ConfigMap", 0, {"cm"}},
      {"", "v1", "endpoints", "Endpoints", 0, {"ep"}},
      {"",
       "v1",
       "events",
       "Event",
       0,
       {"ev"},
       false,
       {},
       {"involvedObject.kind", "involvedObject.namespace", "involvedObject.name",
        "involvedObject.uid", "involvedObject.apiVersion", "involvedObject.resourceVersion",
        "involvedObject.fieldPath", "reason", "reportingComponent", "source", "type"}},
      {"",
       "v1",
       "namespaces",
       "Namespace",
       kCluster | kStatus,
       {"ns"},
       false,
       {"finalize"},
       {"status.phase"}},
      {"", "v1", "nodes", "Node", kCluster | kStatus, {"no"}, false, {}, {"spec.unschedulable"}},
      {"", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", kStatus, {"pvc"}},
      {"", "v1", "persistentvolumes", "PersistentVolume", kCluster | kStatus, {"pv"}},
      {"",
       "v1",
       "pods",
       "Pod",
       kStatus,
       {"po"},
       true,
       {"attach", "binding", "eviction", "exec", "log", "portforward"},
       {"spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
        "spec.hostNetwork", "status.phase", "status.podIP", "status.nominatedNodeName"}},
      {"", "v1", "podtemplates", "PodTemplate"},
      {"", "v1", "secrets", "Secret", 0, {}, false, {}, {"type"}},
      {"", "v1", "serviceaccounts", "ServiceAccount", 0, {"sa"}, false, {"token"}},
      {"",
       "v1",
       "services",
       "Service",
       kStatus,
       {"svc"},
       true,
       {},
       {"spec.clusterIP", "spec.type"}},
      {"apps", "v1", "controllerrevisions", "ControllerRevision"},
      {"apps", "v1", "daemonsets", "DaemonSet", kStatus | kGeneration, {"ds"}, true},
      {"apps", "v1", "deployments", "Deployment", kStatus | kScale | kGeneration, {"deploy"}, true},
      {"apps",
       "v1",
       "replicasets",
       "ReplicaSet",
       kStatus | kScale | kGeneration,
       {"rs"},
       true,
       {},
       {"status.replicas"}},
      {"apps", "v1", "statefulsets", "StatefulSet", kStatus | kScale | kGeneration, {"sts"}, true},
      {"events.k8s.io",
       "v1",
       "events",
       "Event",
       0,
       {"ev"},
       false,
       {},
       {"involvedObject.kind", "involvedObject.namespace", "involvedObject.name",
        "involvedObject.uid", "regarding.kind", "regarding.namespace", "regarding.name",
        "regarding.uid", "reason", "reportingController", "type"}},
      {"authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview",
       kCluster | kReview},
      {"authentication.k8s.io", "v1", "tokenreviews", "TokenReview", kCluster | kReview},
      {"authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview",
       kCluster | kReview},
      {"authorization.k8s.io", "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview",
       kCluster | kReview},
      {"authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview",
       kCluster | kReview},
      {"batch", "v1", "jobs", "Job", kStatus | kGeneration, {}, true, {}, {"status.successful"}},
      {"policy",
       "v1",
       "poddisruptionbudgets",
       "PodDisruptionBudget",
       kStatus | kGeneration | kConditional,
       {"pdb"}},
      {"rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding",
       kCluster | kPathName},
      {"rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", kCluster | kPathName},
      {"rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", kPathName},
      {"rbac.authorization.k8s.io", "v1", "roles", "Role", kPathName},
      {"storage.k8s.io", "v1", "csinodes", "CSINode", kCluster},
      {"storage.k8s.io", "v1", "storageclasses", "StorageClass", kCluster, {"sc"}},
      {"storage.k8s.io", "v1", "volumeattachments", "VolumeAttachment", kCluster | kStatus},
      {"admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations",
       "MutatingWebhookConfiguration", kCluster | kGeneration},
      {"admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations",
       "ValidatingWebhookConfiguration", kCluster | kGeneration},
      {"apiextensions.k8s.io",
       "v1",
       "customresourcedefinitions",
       "CustomResourceDefinition",
       kCluster | kStatus | kGeneration | kConditional,
       {"crd", "crds"}},
      {"coordination.k8s.io", "v1", "leases", "Lease", kConditional},
      {"discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", kGeneration | kConditional},
  };
  return *rows;
}

// "StatefulSet" → "statefulset".
std::string Lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

std::shared_ptr<const Kind> MakeKind(const Row& row) {
  auto kind = std::make_shared<Kind>();
  kind->group = row.group;
  kind->plural = row.plural;
  kind->singular = Lower(row.kind);
  kind->kind = row.kind;
  kind->short_names = row.short_names;
  if (row.in_all) kind->categories = {"all"};
  if (row.group == "admissionregistration.k8s.io" || row.group == "apiextensions.k8s.io") {
    kind->categories = {"api-extensions"};
  }
  kind->namespaced = (row.traits & kCluster) == 0;
  kind->create_only = (row.traits & kReview) != 0;
  kind->subresources = row.subresources;
  kind->storage = (row.plural == "events" ? std::string() : row.group) + "/" + row.plural;
  kind->storage_version = row.version;
  KindVersion version;
  version.name = row.version;
  version.schema = BuiltinKind(row.group, row.version, row.kind);
  CHECK(version.schema != nullptr);
  version.status = (row.traits & kStatus) != 0;
  if ((row.traits & kScale) != 0) {
    version.scale = std::make_shared<const ScalePaths>(
        ScalePaths{".spec.replicas", ".status.replicas", ".spec.selector"});
  }
  version.selectable_fields = row.selectable_fields;
  kind->versions.push_back(std::move(version));
  kind->strategy = StrategyOf(row.group, row.kind);
  kind->strategy.generation = (row.traits & kGeneration) != 0;
  kind->strategy.unconditional_update = (row.traits & kConditional) == 0;
  kind->strategy.name_is_subdomain = (row.traits & kPathName) == 0;
  return kind;
}

}  // namespace

std::vector<std::shared_ptr<const Kind>> BuiltinKinds() {
  std::vector<std::shared_ptr<const Kind>> kinds;
  for (const Row& row : Rows()) kinds.push_back(MakeKind(row));
  return kinds;
}

}  // namespace local_cluster

#include "local-cluster/controllers/kind_catalog.h"

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/kube/conditions.h"
#include "common/kube/json.h"
#include "local-cluster/controllers/objects.h"

namespace local_cluster {
namespace {

using kube::Resource;

std::string NameOf(const Resource& resource) {
  return absl::StrFormat("%s.%s", resource.plural, resource.group);
}

std::string_view GroupOf(std::string_view api_version) {
  const size_t slash = api_version.find('/');
  return slash == std::string_view::npos ? std::string_view() : api_version.substr(0, slash);
}

}  // namespace

KindCatalog::KindCatalog() {
  using namespace kube::resources;  // NOLINT(google-build-using-namespace): constants alone.
  for (const Resource& resource :
       {kPods,
        kServices,
        kConfigMaps,
        kSecrets,
        kServiceAccounts,
        kPersistentVolumeClaims,
        kPersistentVolumes,
        kEndpoints,
        kStatefulSets,
        kDeployments,
        kReplicaSets,
        kControllerRevisions,
        kJobs,
        kLeases,
        kEndpointSlices,
        kPodDisruptionBudgets,
        kNodes,
        Resource{"apps", "v1", "daemonsets", "DaemonSet"},
        Resource{"rbac.authorization.k8s.io", "v1", "roles", "Role"},
        Resource{"rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding"}}) {
    kinds_.emplace(NameOf(resource), resource);
  }
}

std::optional<Resource> KindCatalog::PutCrd(const kube::Object& crd) {
  if (!kube::IsConditionTrue(crd, "Established")) return std::nullopt;
  std::string version;
  for (const boost::json::value& entry : ArrayAt(crd.json(), {"spec", "versions"})) {
    if (!kube::BoolAt(entry, {"served"})) continue;
    if (version.empty() || kube::BoolAt(entry, {"storage"})) {
      version = kube::StringAt(entry, {"name"});
    }
  }
  if (version.empty()) return std::nullopt;
  const Resource resource{.group = std::string(crd.StringAt({"spec", "group"})),
                          .version = version,
                          .plural = std::string(crd.StringAt({"spec", "names", "plural"})),
                          .kind = std::string(crd.StringAt({"spec", "names", "kind"})),
                          .namespaced = crd.StringAt({"spec", "scope"}) == "Namespaced"};
  absl::MutexLock lock(&mutex_);
  const auto [entry, added] = kinds_.insert_or_assign(NameOf(resource), resource);
  return added ? std::optional(resource) : std::nullopt;
}

void KindCatalog::RemoveCrd(std::string_view name) {
  absl::MutexLock lock(&mutex_);
  kinds_.erase(std::string(name));
}

std::vector<Resource> KindCatalog::All() const {
  absl::MutexLock lock(&mutex_);
  std::vector<Resource> all;
  for (const auto& [name, resource] : kinds_) all.push_back(resource);
  return all;
}

std::optional<Resource> KindCatalog::Find(std::string_view api_version,
                                          std::string_view kind) const {
  absl::MutexLock lock(&mutex_);
  for (const auto& [name, resource] : kinds_) {
    if (resource.kind == kind && resource.group == GroupOf(api_version)) return resource;
  }
  return std::nullopt;
}

}  // namespace local_cluster

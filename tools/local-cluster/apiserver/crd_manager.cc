#include "local-cluster/apiserver/crd_manager.h"

#include <utility>

#include "boost/json.hpp"
#include "common/base/log.h"
#include "common/kube/conditions.h"
#include "common/kube/json.h"
#include "common/kube/object.h"
#include "local-cluster/apiserver/crd.h"

namespace local_cluster {
namespace {

constexpr char kStorage[] = "apiextensions.k8s.io/customresourcedefinitions";
constexpr char kFinalizer[] = "customresourcecleanup.apiextensions.k8s.io";

void LogIfFailed(const absl::Status& status, std::string_view what, std::string_view name) {
  if (status.ok() || absl::IsNotFound(status)) return;
  base::LogWarning(what, {{"crd", name}, {"error", status}});
}

std::string NameOf(const boost::json::value& crd) {
  return std::string(kube::StringAt(crd, {"metadata", "name"}));
}

}  // namespace

CrdManager::CrdManager(Store& store, const base::Clock& clock, kube::Client& client)
    : store_(store),
      clock_(clock),
      client_(client),
      kinds_(std::make_shared<const KindRegistry>()) {}

std::shared_ptr<const KindRegistry> CrdManager::kinds() const {
  absl::MutexLock lock(&mutex_);
  return kinds_;
}

void CrdManager::Load() {
  ListRange range;
  range.resource = kStorage;
  const auto crds = store_.List(range);
  if (!crds.ok()) return;
  for (const StoredObject& crd : crds->items) Install(*crd.value);
}

void CrdManager::Install(const boost::json::value& crd) {
  std::shared_ptr<const Kind> kind = KindOfCrd(crd);
  absl::MutexLock lock(&mutex_);
  kinds_ = kinds_->With(std::move(kind));
}

void CrdManager::Remove(const boost::json::value& crd) {
  absl::MutexLock lock(&mutex_);
  kinds_ = kinds_->Without(kube::StringAt(crd, {"spec", "group"}),
                           kube::StringAt(crd, {"spec", "names", "plural"}));
}

void CrdManager::Stored(const Kind& kind, ChangeType change, const SharedJson& object) {
  if (kind.storage == kStorage) {
    if (change == ChangeType::kDeleted) {
      Remove(*object);
    } else if (kube::FindPath(*object, {"metadata", "deletionTimestamp"}) != nullptr) {
      Terminate(*object);
    } else {
      Install(*object);
      Accept(*object);
    }
  } else if (kind.custom && change == ChangeType::kDeleted) {
    const StoredObject crd = store_.Get({kStorage, "", kind.plural + "." + kind.group});
    if (crd && kube::FindPath(*crd.value, {"metadata", "deletionTimestamp"}) != nullptr) {
      Terminate(*crd.value);
    }
  }
}

void CrdManager::WriteStatus(const boost::json::value& crd, bool established) {
  boost::json::value wanted = CrdStatus(crd, established, kube::FormatTime(clock_.Now()));
  const boost::json::value* present = kube::FindPath(crd, {"status"});
  if (present != nullptr && *present == wanted) return;
  const boost::json::object patch{{"status", std::move(wanted)}};
  const auto written = client_.Patch(kube::resources::kCustomResourceDefinitions, {"", NameOf(crd)},
                                     kube::PatchType::kMerge, patch, {}, "status");
  LogIfFailed(written.status(), "CRD status not written", NameOf(crd));
}

void CrdManager::Accept(const boost::json::value& crd) {
  const kube::Object object{boost::json::value(crd)};
  if (!object.HasFinalizer(kFinalizer)) {
    // Comes back through Stored(), which then writes the status.
    LogIfFailed(
        kube::AddFinalizer(client_, kube::resources::kCustomResourceDefinitions, object, kFinalizer)
            .status(),
        "CRD finalizer not added", object.name());
    return;
  }
  WriteStatus(crd, true);
}

void CrdManager::Terminate(const boost::json::value& crd) {
  const std::shared_ptr<const Kind> kind = KindOfCrd(crd);
  ListRange range;
  range.resource = kind->storage;
  const auto objects = store_.List(range);
  kube::Resource resource{kind->group, kind->storage_version, kind->plural, kind->kind,
                          kind->namespaced};
  for (const KindVersion& version : kind->versions) {
    if (version.served) resource.version = version.name;
  }
  for (const StoredObject& object : objects->items) {
    if (kube::FindPath(*object.value, {"metadata", "deletionTimestamp"}) != nullptr) continue;
    const kube::ObjectKey key{std::string(kube::StringAt(*object.value, {"metadata", "namespace"})),
                              std::string(kube::StringAt(*object.value, {"metadata", "name"}))};
    LogIfFailed(client_.Delete(resource, key), "object of a deleted CRD not deleted", NameOf(crd));
  }
  if (store_.object_count(kind->storage) > 0) {
    WriteStatus(crd, false);
    return;
  }
  const StoredObject present = store_.Get({kStorage, "", NameOf(crd)});
  if (!present) return;
  const kube::Object object{boost::json::value(*present.value)};
  LogIfFailed(kube::RemoveFinalizer(client_, kube::resources::kCustomResourceDefinitions, object,
                                    kFinalizer)
                  .status(),
              "CRD finalizer not removed", NameOf(crd));
}

}  // namespace local_cluster

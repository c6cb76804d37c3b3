#include "local-cluster/controllers/small_loops.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/base/thread.h"
#include "common/kube/conditions.h"
#include "common/kube/json.h"

namespace local_cluster {
namespace {

namespace json = boost::json;
using namespace kube::resources;  // NOLINT(google-build-using-namespace): constants alone.

constexpr absl::Duration kEventLife = absl::Hours(1);
constexpr absl::Duration kEventRound = absl::Minutes(2);

absl::Time LastSeen(const kube::Object& event) {
  absl::Time seen = event.creation_time().value_or(absl::InfinitePast());
  for (const std::string_view text :
       {event.StringAt({"series", "lastObservedTime"}), event.StringAt({"lastTimestamp"}),
        event.StringAt({"eventTime"})}) {
    if (const std::optional<absl::Time> time = kube::ParseTime(text)) seen = std::max(seen, *time);
  }
  return seen;
}

json::value Member(const kube::Object& object, std::initializer_list<std::string_view> path) {
  const json::value* found = object.Find(path);
  return found == nullptr ? json::value(nullptr) : *found;
}

kube::Object VolumeFor(const kube::Object& claim, const std::string& name) {
  json::object spec{
      {"capacity", Member(claim, {"spec", "resources", "requests"})},
      {"accessModes", Member(claim, {"spec", "accessModes"})},
      {"persistentVolumeReclaimPolicy", "Delete"},
      {"storageClassName", std::string(claim.StringAt({"spec", "storageClassName"}))},
      {"claimRef", json::object{{"apiVersion", "v1"},
                                {"kind", "PersistentVolumeClaim"},
                                {"namespace", std::string(claim.namespace_name())},
                                {"name", std::string(claim.name())},
                                {"uid", std::string(claim.uid())}}},
      {"hostPath", json::object{{"path", absl::StrFormat("/volumes/%s", claim.key().ToString())}}}};
  kube::Object volume(json::object{{"apiVersion", "v1"},
                                   {"kind", "PersistentVolume"},
                                   {"metadata", json::object{{"name", name}}},
                                   {"spec", std::move(spec)}});
  return volume;
}

}  // namespace

absl::StatusOr<kube::ReconcileResult> ClaimReconciler::Reconcile(const kube::ObjectKey& key) {
  const absl::StatusOr<kube::Object> claim = client_.Get(kPersistentVolumeClaims, key);
  if (absl::IsNotFound(claim.status())) return kube::ReconcileResult{};
  RETURN_IF_ERROR(claim.status());
  const std::string name = absl::StrFormat("pvc-%s", claim->uid());
  if (claim->being_deleted()) {
    RETURN_IF_ERROR(client_.Delete(kPersistentVolumes, {"", name}));
    // Pods keep the folder while they run; the object need not wait for them here.
    RETURN_IF_ERROR(kube::RemoveFinalizer(client_, kPersistentVolumeClaims, *claim,
                                          "kubernetes.io/pvc-protection")
                        .status());
    return kube::ReconcileResult{};
  }
  if (claim->StringAt({"status", "phase"}) == "Bound") return kube::ReconcileResult{};
  const absl::Status created = client_.Create(kPersistentVolumes, VolumeFor(*claim, name)).status();
  if (!created.ok() && !absl::IsAlreadyExists(created)) return created;
  RETURN_IF_ERROR(client_
                      .Patch(kPersistentVolumes, {"", name}, kube::PatchType::kMerge,
                             json::object{{"status", json::object{{"phase", "Bound"}}}}, {},
                             "status")
                      .status());
  if (claim->StringAt({"spec", "volumeName"}).empty()) {
    RETURN_IF_ERROR(client_
                        .Patch(kPersistentVolumeClaims, key, kube::PatchType::kMerge,
                               json::object{{"spec", json::object{{"volumeName", name}}}})
                        .status());
  }
  const json::value status =
      json::object{{"phase", "Bound"},
                   {"accessModes", Member(*claim, {"spec", "accessModes"})},
                   {"capacity", Member(*claim, {"spec", "resources", "requests"})}};
  RETURN_IF_ERROR(client_
                      .Patch(kPersistentVolumeClaims, key, kube::PatchType::kMerge,
                             json::object{{"status", status}}, {}, "status")
                      .status());
  return kube::ReconcileResult{};
}

void PodCollector::Watch(kube::Controller& controller) {
  controller.WatchMapped(nodes_, [](const kube::InformerEvent& event) {
    if (event.change != kube::Change::kDeleted) return std::vector<kube::ObjectKey>{};
    return std::vector<kube::ObjectKey>{event.object.key()};
  });
  // A pod may have been bound just before its Node went, or before our first list.
  controller.WatchMapped(pods_, [this](const kube::InformerEvent& event) {
    const std::string node(event.object.StringAt({"spec", "nodeName"}));
    if (event.change == kube::Change::kDeleted || node.empty() || nodes_.Find({"", node})) {
      return std::vector<kube::ObjectKey>{};
    }
    return std::vector<kube::ObjectKey>{{"", node}};
  });
}

absl::StatusOr<kube::ReconcileResult> PodCollector::Reconcile(const kube::ObjectKey& key) {
  const absl::Status node = client_.Get(kNodes, key).status();
  if (!absl::IsNotFound(node)) {
    RETURN_IF_ERROR(node);
    return kube::ReconcileResult{};
  }
  for (const kube::Object& pod : pods_.Snapshot()->All()) {
    if (pod.StringAt({"spec", "nodeName"}) != key.name) continue;
    RETURN_IF_ERROR(client_.Delete(kPods, pod.key(),
                                   {.uid = std::string(pod.uid()), .grace_period_seconds = 0}));
  }
  return kube::ReconcileResult{};
}

EventExpiry::EventExpiry(kube::Client& client, const base::Clock& clock)
    : client_(client), clock_(clock) {
  thread_ = base::StartThread("event-expiry", [this](const std::stop_token&) {
    while (true) {
      {
        absl::MutexLock lock(&mutex_);
        mutex_.AwaitWithTimeout(absl::Condition(&stopping_), kEventRound);
        if (stopping_) return;
      }
      const absl::StatusOr<int> expired = Expire();
      if (!expired.ok()) base::LogWarning("events not expired", {{"error", expired.status()}});
    }
  });
}

EventExpiry::~EventExpiry() {
  absl::MutexLock lock(&mutex_);
  stopping_ = true;
}

absl::StatusOr<int> EventExpiry::Expire() {
  ASSIGN_OR_RETURN(const kube::ObjectList events, client_.List(kEvents));
  int expired = 0;
  for (const kube::Object& event : events.items) {
    if (LastSeen(event) > clock_.Now() - kEventLife) continue;
    RETURN_IF_ERROR(client_.Delete(kEvents, event.key(), {.uid = std::string(event.uid())}));
    ++expired;
  }
  return expired;
}

}  // namespace local_cluster

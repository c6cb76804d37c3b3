#include "local-cluster/controllers/garbage_collector.h"

#include <algorithm>
#include <set>
#include <utility>

#include "boost/json.hpp"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/kube/conditions.h"
#include "common/kube/json.h"

namespace local_cluster {
namespace {

namespace json = boost::json;
using kube::resources::kCustomResourceDefinitions;

bool IsWatchedInFull(const kube::Resource& resource) {
  using namespace kube::resources;  // NOLINT(google-build-using-namespace): constants alone.
  const std::vector<kube::Resource> shared = {
      kPods,        kServices, kNodes,          kStatefulSets,          kDeployments,
      kReplicaSets, kJobs,     kEndpointSlices, kPersistentVolumeClaims};
  return std::ranges::find(shared, resource) != shared.end();
}

bool Blocks(const GraphNode& dependent, const std::string& owner_uid) {
  return std::ranges::any_of(dependent.owners, [&](const kube::OwnerReference& owner) {
    return owner.uid == owner_uid && owner.block_owner_deletion;
  });
}

}  // namespace

GarbageCollector::GarbageCollector(kube::Client& client, InformerSet& informers,
                                   KindCatalog& catalog)
    : client_(client),
      catalog_(catalog),
      crds_(informers.Of(kCustomResourceDefinitions)),
      controller_(*this, {.name = "garbage-collector", .workers = 2}) {
  crds_.AddHandler([this](const kube::InformerEvent& event) { OnCrd(event); });
  for (const kube::Resource& resource : catalog_.All()) {
    if (IsWatchedInFull(resource)) {
      WatchKind(resource, informers.Of(resource));
    } else {
      WatchNewKind(resource);
    }
  }
}

GarbageCollector::~GarbageCollector() { Stop(); }

void GarbageCollector::Start() {
  absl::MutexLock lock(&mutex_);
  started_ = true;
  for (const auto& [name, informer] : own_informers_) informer->Start();
  controller_.Start();
}

void GarbageCollector::Stop() {
  std::map<std::string, std::unique_ptr<kube::Informer>> informers;
  {
    absl::MutexLock lock(&mutex_);
    started_ = false;
    informers.swap(own_informers_);
  }
  informers.clear();
  controller_.Stop();
}

void GarbageCollector::WatchKind(const kube::Resource& resource, kube::Informer& informer) {
  informer.AddHandler(
      [this, resource](const kube::InformerEvent& event) { OnEvent(resource, event); });
}

void GarbageCollector::WatchNewKind(const kube::Resource& resource) {
  auto informer = std::make_unique<kube::Informer>(client_, resource,
                                                   kube::InformerOptions{.metadata_only = true});
  WatchKind(resource, *informer);
  absl::MutexLock lock(&mutex_);
  if (started_) informer->Start();
  own_informers_.emplace(resource.Path(), std::move(informer));
}

void GarbageCollector::OnCrd(const kube::InformerEvent& event) {
  if (event.change == kube::Change::kDeleted) {
    catalog_.RemoveCrd(event.object.name());
    return;  // Its informer waits for the kind to come back.
  }
  const std::optional<kube::Resource> added = catalog_.PutCrd(event.object);
  if (!added) return;
  {
    absl::MutexLock lock(&mutex_);
    if (own_informers_.contains(added->Path())) return;
  }
  WatchNewKind(*added);
}

void GarbageCollector::Queue(const std::string& uid) { controller_.queue().Add({"", uid}); }

void GarbageCollector::OnEvent(const kube::Resource& resource, const kube::InformerEvent& event) {
  const std::string uid(event.object.uid());
  std::set<std::string> queued;
  {
    absl::MutexLock lock(&mutex_);
    const GraphNode* before = graph_.Find(uid);
    const bool gone = event.change == kube::Change::kDeleted;
    const bool starts_to_go =
        !gone && event.object.being_deleted() && (before == nullptr || !before->being_deleted);
    // Owners that wait in the foreground look again when a dependent goes.
    if (gone && before != nullptr) {
      for (const kube::OwnerReference& owner : before->owners) queued.insert(owner.uid);
    }
    if (gone) {
      graph_.Remove(uid);
    } else {
      graph_.Put(resource, event.object);
    }
    if (gone || starts_to_go) {
      for (const GraphNode* dependent : graph_.Dependents(uid)) queued.insert(dependent->uid);
    }
    const GraphNode* now = graph_.Find(uid);
    if (now != nullptr && (!now->owners.empty() || now->being_deleted)) queued.insert(uid);
  }
  for (const std::string& key : queued) Queue(key);
}

absl::StatusOr<OwnerState> GarbageCollector::StateOf(const GraphNode& node,
                                                     const kube::OwnerReference& owner) {
  const std::optional<kube::Resource> resource = catalog_.Find(owner.api_version, owner.kind);
  // Of an unknown kind nothing can be said, so nothing is deleted.
  if (!resource) return OwnerState::kPresent;
  if (resource->namespaced && node.key.namespace_name.empty()) return OwnerState::kAbsent;
  const kube::ObjectKey key{resource->namespaced ? node.key.namespace_name : "", owner.name};
  const absl::StatusOr<kube::Object> found = client_.Get(*resource, key);
  if (absl::IsNotFound(found.status())) return OwnerState::kAbsent;
  RETURN_IF_ERROR(found.status());
  if (found->uid() != owner.uid) return OwnerState::kAbsent;
  const bool waits = found->being_deleted() && found->HasFinalizer("foregroundDeletion");
  return waits ? OwnerState::kWaitsForDependents : OwnerState::kPresent;
}

absl::StatusOr<kube::ReconcileResult> GarbageCollector::Reconcile(const kube::ObjectKey& uid) {
  GraphNode node;
  std::vector<GraphNode> dependents;
  {
    absl::MutexLock lock(&mutex_);
    const GraphNode* found = graph_.Find(uid.name);
    if (found == nullptr) return kube::ReconcileResult{};
    node = *found;
    for (const GraphNode* dependent : graph_.Dependents(node.uid)) dependents.push_back(*dependent);
  }
  if (node.being_deleted) {
    if (node.orphan) RETURN_IF_ERROR(Orphan(node, dependents));
    if (node.foreground) RETURN_IF_ERROR(FinishForeground(node, dependents));
    return kube::ReconcileResult{};
  }
  // The picture may be older than the references: what is deleted is judged by what it is now.
  const absl::StatusOr<kube::Object> latest = client_.Get(node.resource, node.key);
  if (absl::IsNotFound(latest.status())) return kube::ReconcileResult{};
  RETURN_IF_ERROR(latest.status());
  if (latest->uid() != node.uid) return kube::ReconcileResult{};
  node.owners = latest->owner_references();
  node.being_deleted = latest->being_deleted();
  std::vector<OwnerState> states;
  for (const kube::OwnerReference& owner : node.owners) {
    ASSIGN_OR_RETURN(const OwnerState state, StateOf(node, owner));
    states.push_back(state);
  }
  const bool blocking = std::ranges::any_of(
      dependents, [&](const GraphNode& dependent) { return Blocks(dependent, node.uid); });
  const Verdict verdict = JudgeByOwners(node, states, blocking);
  if (verdict.action == Verdict::Action::kDropReferences) {
    RETURN_IF_ERROR(DropReferences(node, verdict.absent_uids));
  }
  if (verdict.action == Verdict::Action::kDelete) {
    RETURN_IF_ERROR(client_.Delete(node.resource, node.key,
                                   {.propagation = verdict.propagation,
                                    .uid = node.uid,
                                    .resource_version = std::string(latest->resource_version())}));
  }
  return kube::ReconcileResult{};
}

absl::Status GarbageCollector::FinishForeground(const GraphNode& node,
                                                const std::vector<GraphNode>& dependents) {
  bool blocked = false;
  for (const GraphNode& dependent : dependents) {
    if (Blocks(dependent, node.uid)) blocked = true;
    if (!dependent.being_deleted) Queue(dependent.uid);
  }
  return blocked ? absl::OkStatus() : RemoveFinalizer(node, "foregroundDeletion");
}

absl::Status GarbageCollector::Orphan(const GraphNode& node,
                                      const std::vector<GraphNode>& dependents) {
  for (const GraphNode& dependent : dependents) {
    RETURN_IF_ERROR(DropReferences(dependent, {node.uid}));
  }
  return RemoveFinalizer(node, "orphan");
}

absl::Status GarbageCollector::RemoveFinalizer(const GraphNode& node, std::string_view finalizer) {
  const absl::StatusOr<kube::Object> object = client_.Get(node.resource, node.key);
  if (absl::IsNotFound(object.status())) return absl::OkStatus();
  RETURN_IF_ERROR(object.status());
  if (object->uid() != node.uid) return absl::OkStatus();
  const absl::Status status =
      kube::RemoveFinalizer(client_, node.resource, *object, finalizer).status();
  return absl::IsNotFound(status) ? absl::OkStatus() : status;
}

absl::Status GarbageCollector::DropReferences(const GraphNode& node,
                                              const std::vector<std::string>& owner_uids) {
  const absl::StatusOr<kube::Object> object = client_.Get(node.resource, node.key);
  if (absl::IsNotFound(object.status())) return absl::OkStatus();
  RETURN_IF_ERROR(object.status());
  if (object->uid() != node.uid) return absl::OkStatus();
  const json::value* references = object->Find({"metadata", "ownerReferences"});
  if (references == nullptr || !references->is_array()) return absl::OkStatus();
  json::array kept;
  for (const json::value& reference : references->get_array()) {
    const std::string_view uid = kube::StringAt(reference, {"uid"});
    if (std::ranges::find(owner_uids, uid) == owner_uids.end()) kept.push_back(reference);
  }
  if (kept.size() == references->get_array().size()) return absl::OkStatus();
  json::object metadata{{"uid", node.uid},
                        {"resourceVersion", std::string(object->resource_version())}};
  metadata["ownerReferences"] = kept.empty() ? json::value(nullptr) : json::value(std::move(kept));
  const absl::Status status = client_
                                  .Patch(node.resource, node.key, kube::PatchType::kMerge,
                                         json::object{{"metadata", std::move(metadata)}})
                                  .status();
  return absl::IsNotFound(status) ? absl::OkStatus() : status;
}

}  // namespace local_cluster

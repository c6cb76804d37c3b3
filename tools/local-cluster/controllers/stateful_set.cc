#include "local-cluster/controllers/stateful_set.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/status_macros.h"
#include "common/kube/conditions.h"
#include "common/kube/json.h"
#include "local-cluster/controllers/objects.h"

namespace local_cluster {
namespace {

namespace json = boost::json;
using namespace kube::resources;  // NOLINT(google-build-using-namespace): constants alone.

json::value RevisionData(const kube::Object& set) {
  const json::value* pod_template = set.Find({"spec", "template"});
  json::value copy = pod_template == nullptr ? json::value(json::object{}) : *pod_template;
  if (copy.is_object()) copy.as_object()["$patch"] = "replace";
  return json::object{{"spec", json::object{{"template", std::move(copy)}}}};
}

kube::Object NewRevision(const kube::Object& set, const std::string& name, int64_t number) {
  kube::Object revision(json::object{
      {"apiVersion", "apps/v1"},
      {"kind", "ControllerRevision"},
      {"metadata", json::object{{"name", name}, {"namespace", std::string(set.namespace_name())}}},
      {"data", RevisionData(set)},
      {"revision", number}});
  if (const json::value* labels = set.Find({"spec", "template", "metadata", "labels"})) {
    kube::MakePath(revision.mutable_json(), {"metadata", "labels"}) = *labels;
  }
  revision.AddOwnerReference({.api_version = "apps/v1",
                              .kind = "StatefulSet",
                              .name = std::string(set.name()),
                              .uid = std::string(set.uid()),
                              .controller = true,
                              .block_owner_deletion = true});
  return revision;
}

}  // namespace

absl::StatusOr<StatefulSetRevisions> StatefulSetReconciler::SyncRevisions(const kube::Object& set) {
  ASSIGN_OR_RETURN(
      const kube::ObjectList list,
      client_.List(kControllerRevisions, {.namespace_name = std::string(set.namespace_name())}));
  std::vector<kube::Object> revisions;
  int64_t newest = 0;
  for (const kube::Object& revision : list.items) {
    if (!IsControlledBy(revision, set.uid())) continue;
    newest = std::max(newest, revision.IntAt({"revision"}));
    revisions.push_back(revision);
  }
  StatefulSetRevisions out;
  out.update = absl::StrFormat("%s-%s", set.name(), TemplateHash(RevisionData(set)));
  const auto update = std::ranges::find(revisions, out.update, &kube::Object::name);
  if (update == revisions.end()) {
    const kube::Object made = NewRevision(set, out.update, newest + 1);
    const absl::Status status = client_.Create(kControllerRevisions, made).status();
    if (!status.ok() && !absl::IsAlreadyExists(status)) return status;
  } else if (update->IntAt({"revision"}) < newest) {  // An older template is back.
    const json::value patch = json::object{{"revision", newest + 1}};
    RETURN_IF_ERROR(
        client_.Patch(kControllerRevisions, update->key(), kube::PatchType::kMerge, patch)
            .status());
  }
  out.current = set.StringAt({"status", "currentRevision"});
  const auto current = std::ranges::find(revisions, out.current, &kube::Object::name);
  if (out.current.empty() || (out.current != out.update && current == revisions.end())) {
    out.current = out.update;
  }
  out.current_set = set;
  if (out.current != out.update && current != revisions.end()) {
    if (const json::value* old = current->Find({"data", "spec", "template"})) {
      json::value pod_template = *old;
      if (pod_template.is_object()) pod_template.as_object().erase("$patch");
      kube::MakePath(out.current_set.mutable_json(), {"spec", "template"}) =
          std::move(pod_template);
    }
  }
  RETURN_IF_ERROR(TrimRevisions(set, out, std::move(revisions)));
  return out;
}

absl::Status StatefulSetReconciler::TrimRevisions(const kube::Object& set,
                                                  const StatefulSetRevisions& revisions,
                                                  std::vector<kube::Object> all) {
  std::erase_if(all, [&](const kube::Object& revision) {
    return revision.name() == revisions.current || revision.name() == revisions.update;
  });
  std::ranges::sort(all, {}, [](const kube::Object& r) { return r.IntAt({"revision"}); });
  const auto limit = static_cast<size_t>(set.IntAt({"spec", "revisionHistoryLimit"}, 10));
  for (size_t i = 0; i + limit < all.size(); ++i) {
    RETURN_IF_ERROR(client_.Delete(kControllerRevisions, all[i].key()));
  }
  return absl::OkStatus();
}

absl::StatusOr<kube::ReconcileResult> StatefulSetReconciler::Reconcile(const kube::ObjectKey& key) {
  const absl::StatusOr<kube::Object> set = client_.Get(kStatefulSets, key);
  if (absl::IsNotFound(set.status())) return kube::ReconcileResult{};
  RETURN_IF_ERROR(set.status());
  if (set->being_deleted()) return kube::ReconcileResult{};  // The collector's work.
  ASSIGN_OR_RETURN(const StatefulSetRevisions revisions, SyncRevisions(*set));
  ASSIGN_OR_RETURN(
      kube::ObjectList pods,
      client_.List(kPods, {.namespace_name = key.namespace_name,
                           .label_selector = SelectorText(set->Find({"spec", "selector"}))}));
  std::erase_if(pods.items,
                [&](const kube::Object& pod) { return !IsControlledBy(pod, set->uid()); });

  const StatefulSetPlan plan = PlanStatefulSet(*set, pods.items, revisions);
  for (const kube::Object& claim : plan.claims) {
    const absl::Status status = client_.Create(kPersistentVolumeClaims, claim).status();
    if (!status.ok() && !absl::IsAlreadyExists(status)) return status;
  }
  absl::Status first_error;
  for (const kube::Object& pod : plan.create) {
    const absl::Status status = client_.Create(kPods, pod).status();
    if (first_error.ok() && !status.ok()) first_error = status;
  }
  for (const kube::Object& pod : plan.remove) {
    const absl::Status status = client_.Delete(kPods, pod.key(), {.uid = std::string(pod.uid())});
    if (first_error.ok() && !status.ok()) first_error = status;
  }
  RETURN_IF_ERROR(kube::WriteStatus(client_, kStatefulSets, *set, *plan.status).status());
  RETURN_IF_ERROR(first_error);
  return kube::ReconcileResult{};
}

}  // namespace local_cluster

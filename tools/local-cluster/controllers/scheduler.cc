#include "local-cluster/controllers/scheduler.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

#include "boost/json.hpp"
#include "common/base/status_macros.h"
#include "common/kube/conditions.h"
#include "common/kube/json.h"
#include "local-cluster/controllers/objects.h"

namespace local_cluster {
namespace {

namespace json = boost::json;

bool WaitsForNode(const kube::Object& pod) {
  const std::string_view scheduler = pod.StringAt({"spec", "schedulerName"});
  return pod.StringAt({"spec", "nodeName"}).empty() && !pod.being_deleted() &&
         !IsPodFinished(pod) && (scheduler.empty() || scheduler == "default-scheduler") &&
         ArrayAt(pod.json(), {"spec", "schedulingGates"}).empty();
}

// Merge patches replace lists whole: the Pod's conditions with this one in it.
json::array WithCondition(const kube::Object& pod, const json::object& condition) {
  json::array out;
  for (const json::value& old : ArrayAt(pod.json(), {"status", "conditions"})) {
    if (kube::StringAt(old, {"type"}) != "PodScheduled") out.push_back(old);
  }
  out.push_back(condition);
  return out;
}

}  // namespace

void SchedulerReconciler::Watch(kube::Controller& controller) {
  const auto all_waiting = [this] {
    std::vector<kube::ObjectKey> keys;
    for (const kube::Object& pod : pods_.Snapshot()->All()) {
      if (WaitsForNode(pod)) keys.push_back(pod.key());
    }
    return keys;
  };
  controller.WatchMapped(pods_, [all_waiting](const kube::InformerEvent& event) {
    const bool frees = event.change == kube::Change::kDeleted || IsPodFinished(event.object);
    if (frees) return all_waiting();
    if (WaitsForNode(event.object)) return std::vector<kube::ObjectKey>{event.object.key()};
    return std::vector<kube::ObjectKey>{};
  });
  controller.WatchMapped(nodes_,
                         [all_waiting](const kube::InformerEvent&) { return all_waiting(); });
}

std::vector<kube::Object> SchedulerReconciler::PodsWithDecisions() {
  std::vector<kube::Object> pods = pods_.Snapshot()->All();
  std::map<std::string, std::string> still_unseen;
  for (kube::Object& pod : pods) {
    const auto decided = decided_.find(std::string(pod.uid()));
    if (decided == decided_.end() || !pod.StringAt({"spec", "nodeName"}).empty()) continue;
    kube::MakePath(pod.mutable_json(), {"spec", "nodeName"}) = decided->second;
    still_unseen.insert(*decided);
  }
  decided_ = std::move(still_unseen);
  return pods;
}

absl::StatusOr<kube::ReconcileResult> SchedulerReconciler::Reconcile(const kube::ObjectKey& key) {
  const std::optional<kube::Object> pod = pods_.Find(key);
  if (!pod || !WaitsForNode(*pod)) return kube::ReconcileResult{};
  const std::vector<kube::Object> pods = PodsWithDecisions();
  if (decided_.contains(std::string(pod->uid()))) return kube::ReconcileResult{};
  const Placement placement = PlacePod(*pod, nodes_.Snapshot()->All(), pods);
  if (placement.node.empty()) {
    RETURN_IF_ERROR(Report(*pod, placement.message));
    return kube::ReconcileResult{};  // A Node or a Pod's end brings us back.
  }
  RETURN_IF_ERROR(Bind(*pod, placement.node));
  decided_[std::string(pod->uid())] = placement.node;
  return kube::ReconcileResult{};
}

absl::Status SchedulerReconciler::Bind(const kube::Object& pod, const std::string& node) {
  net::Request request;
  request.method = "POST";
  request.target = kube::resources::kPods.Path(pod.key(), "binding");
  request.headers.Set("content-type", "application/json");
  request.body = json::serialize(json::object{
      {"apiVersion", "v1"},
      {"kind", "Binding"},
      {"metadata", json::object{{"name", std::string(pod.name())},
                                {"namespace", std::string(pod.namespace_name())},
                                {"uid", std::string(pod.uid())}}},
      {"target", json::object{{"apiVersion", "v1"}, {"kind", "Node"}, {"name", node}}}});
  ASSIGN_OR_RETURN(const net::Response response, client_.Raw(request));
  const absl::Status status = kube::StatusOfResponse(response, "bind pod " + pod.key().ToString());
  if (absl::IsNotFound(status) || absl::IsAborted(status) || absl::IsAlreadyExists(status)) {
    return absl::OkStatus();  // It went, or was bound by another.
  }
  RETURN_IF_ERROR(status);
  events_.Normal(pod, "Scheduled",
                 absl::StrFormat("Successfully assigned %s to %s", pod.key().ToString(), node),
                 "Binding");
  return absl::OkStatus();
}

absl::Status SchedulerReconciler::Report(const kube::Object& pod, const std::string& message) {
  const std::optional<kube::Condition> before = kube::FindCondition(pod, "PodScheduled");
  if (before && before->status == "False" && before->message == message) return absl::OkStatus();
  const json::object condition{
      {"type", "PodScheduled"},    {"status", "False"},
      {"reason", "Unschedulable"}, {"message", message},
      {"lastProbeTime", nullptr},  {"lastTransitionTime", kube::FormatTime(absl::Now())}};
  const json::value patch =
      json::object{{"metadata", json::object{{"uid", std::string(pod.uid())}}},
                   {"status", json::object{{"conditions", WithCondition(pod, condition)}}}};
  const absl::Status status = client_
                                  .Patch(kube::resources::kPods, pod.key(), kube::PatchType::kMerge,
                                         patch, {.field_manager = "kube-scheduler"}, "status")
                                  .status();
  if (absl::IsNotFound(status) || absl::IsAborted(status)) return absl::OkStatus();
  RETURN_IF_ERROR(status);
  events_.Warning(pod, "FailedScheduling", message, "Scheduling");
  return absl::OkStatus();
}

}  // namespace local_cluster

#include "local-cluster/controllers/endpoints.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/status_macros.h"
#include "common/kube/json.h"
#include "local-cluster/controllers/objects.h"

namespace local_cluster {
namespace {

namespace json = boost::json;
using kube::resources::kEndpoints;
using kube::resources::kEndpointSlices;

bool Selects(const kube::Object& service, const kube::Object& pod) {
  const json::value* selector = service.Find({"spec", "selector"});
  if (selector == nullptr || !selector->is_object() || selector->get_object().empty()) return false;
  if (service.namespace_name() != pod.namespace_name()) return false;
  return MatchesLabels(selector, pod.labels());
}

// The number of a targetPort in one pod; 0: the pod has no such port.
int64_t TargetPort(const json::value& service_port, const kube::Object& pod) {
  const json::value* target = kube::FindPath(service_port, {"targetPort"});
  if (target == nullptr) return kube::IntAt(service_port, {"port"});
  if (!target->is_string()) {
    const int64_t number = kube::IntAt(service_port, {"targetPort"});
    return number == 0 ? kube::IntAt(service_port, {"port"}) : number;
  }
  const std::string_view name = kube::StringAt(service_port, {"targetPort"});
  for (const json::value& container : ArrayAt(pod.json(), {"spec", "containers"})) {
    for (const json::value& port : ArrayAt(container, {"ports"})) {
      if (kube::StringAt(port, {"name"}) == name) return kube::IntAt(port, {"containerPort"});
    }
  }
  return 0;
}

json::array Ports(const kube::Object& service, const std::vector<kube::Object>& pods) {
  json::array ports;
  for (const json::value& port : ArrayAt(service.json(), {"spec", "ports"})) {
    int64_t number = 0;
    for (const kube::Object& pod : pods) {
      if (number == 0) number = TargetPort(port, pod);
    }
    if (number == 0) continue;
    json::object entry{{"name", std::string(kube::StringAt(port, {"name"}))},
                       {"port", number},
                       {"protocol", std::string(kube::StringAt(port, {"protocol"}, "TCP"))}};
    if (const json::value* protocol = kube::FindPath(port, {"appProtocol"})) {
      entry["appProtocol"] = *protocol;
    }
    ports.push_back(std::move(entry));
  }
  return ports;
}

std::vector<kube::Object> Behind(const kube::Object& service,
                                 const std::vector<kube::Object>& pods) {
  std::vector<kube::Object> out;
  for (const kube::Object& pod : pods) {
    if (!pod.StringAt({"status", "podIP"}).empty() && !IsPodFinished(pod) &&
        Selects(service, pod)) {
      out.push_back(pod);
    }
  }
  std::ranges::sort(out, {}, &kube::Object::name);
  return out;
}

json::object TargetRef(const kube::Object& pod) {
  return {{"kind", "Pod"},
          {"name", std::string(pod.name())},
          {"namespace", std::string(pod.namespace_name())},
          {"uid", std::string(pod.uid())}};
}

kube::Object Child(const kube::Object& service, std::string_view api_version, std::string_view kind,
                   std::string_view name) {
  kube::Object child(json::object{
      {"apiVersion", std::string(api_version)},
      {"kind", std::string(kind)},
      {"metadata", json::object{{"name", std::string(name)},
                                {"namespace", std::string(service.namespace_name())}}}});
  for (const auto& [key, value] : service.labels()) child.SetLabel(key, value);
  child.AddOwnerReference({.api_version = "v1",
                           .kind = "Service",
                           .name = std::string(service.name()),
                           .uid = std::string(service.uid()),
                           .controller = true,
                           .block_owner_deletion = true});
  return child;
}

bool Serves(const kube::Object& service, const kube::Object& pod) {
  return IsPodReady(pod) || service.BoolAt({"spec", "publishNotReadyAddresses"});
}

}  // namespace

kube::Object PlanEndpointSlice(const kube::Object& service, const std::vector<kube::Object>& pods) {
  const std::vector<kube::Object> behind = Behind(service, pods);
  json::array endpoints;
  for (const kube::Object& pod : behind) {
    const bool terminating = pod.being_deleted();
    const bool serving = Serves(service, pod);
    json::object endpoint{
        {"addresses", json::array{std::string(pod.StringAt({"status", "podIP"}))}},
        {"conditions", json::object{{"ready", serving && !terminating},
                                    {"serving", serving},
                                    {"terminating", terminating}}},
        {"nodeName", std::string(pod.StringAt({"spec", "nodeName"}))},
        {"targetRef", TargetRef(pod)}};
    if (const std::string_view host = pod.StringAt({"spec", "hostname"}); !host.empty()) {
      endpoint["hostname"] = std::string(host);
    }
    endpoints.push_back(std::move(endpoint));
  }
  kube::Object slice = Child(service, "discovery.k8s.io/v1", "EndpointSlice",
                             absl::StrFormat("%s-ipv4", service.name()));
  slice.SetLabel("kubernetes.io/service-name", service.name());
  slice.SetLabel("endpointslice.kubernetes.io/managed-by", "endpointslice-controller.k8s.io");
  json::object& object = slice.mutable_json().as_object();
  object["addressType"] = "IPv4";
  object["endpoints"] = std::move(endpoints);
  object["ports"] = Ports(service, behind);
  return slice;
}

kube::Object PlanEndpoints(const kube::Object& service, const std::vector<kube::Object>& pods) {
  const std::vector<kube::Object> behind = Behind(service, pods);
  json::array ready;
  json::array unready;
  for (const kube::Object& pod : behind) {
    if (pod.being_deleted()) continue;
    (Serves(service, pod) ? ready : unready)
        .push_back(json::object{{"ip", std::string(pod.StringAt({"status", "podIP"}))},
                                {"nodeName", std::string(pod.StringAt({"spec", "nodeName"}))},
                                {"targetRef", TargetRef(pod)}});
  }
  kube::Object endpoints = Child(service, "v1", "Endpoints", service.name());
  json::array subsets;
  if (!ready.empty() || !unready.empty()) {
    json::object subset{{"ports", Ports(service, behind)}};
    if (!ready.empty()) subset["addresses"] = std::move(ready);
    if (!unready.empty()) subset["notReadyAddresses"] = std::move(unready);
    subsets.push_back(std::move(subset));
  }
  endpoints.mutable_json().as_object()["subsets"] = std::move(subsets);
  return endpoints;
}

void EndpointsReconciler::Watch(kube::Controller& controller) {
  controller.WatchSelf(services_);
  controller.WatchMapped(pods_, [this](const kube::InformerEvent& event) {
    std::vector<kube::ObjectKey> keys;
    for (const kube::Object& service : services_.Snapshot()->All()) {
      const bool selects =
          Selects(service, event.object) ||
          (event.change == kube::Change::kUpdated && Selects(service, event.before));
      if (selects) keys.push_back(service.key());
    }
    return keys;
  });
}

absl::StatusOr<kube::ReconcileResult> EndpointsReconciler::Reconcile(const kube::ObjectKey& key) {
  const std::optional<kube::Object> service = services_.Find(key);
  if (!service || service->being_deleted()) return kube::ReconcileResult{};  // Owner references.
  const json::value* selector = service->Find({"spec", "selector"});
  if (selector == nullptr || !selector->is_object() || selector->get_object().empty()) {
    return kube::ReconcileResult{};  // Somebody else names the addresses.
  }
  const std::vector<kube::Object> pods = pods_.Snapshot()->All();
  RETURN_IF_ERROR(Put(kEndpointSlices, PlanEndpointSlice(*service, pods)));
  RETURN_IF_ERROR(Put(kEndpoints, PlanEndpoints(*service, pods)));
  return kube::ReconcileResult{};
}

absl::Status EndpointsReconciler::Put(const kube::Resource& resource, const kube::Object& wanted) {
  const absl::StatusOr<kube::Object> existing = client_.Get(resource, wanted.key());
  if (absl::IsNotFound(existing.status())) {
    const absl::Status status = client_.Create(resource, wanted).status();
    // The Service or its namespace went meanwhile.
    if (absl::IsNotFound(status) || absl::IsPermissionDenied(status) ||
        absl::IsFailedPrecondition(status)) {
      return absl::OkStatus();
    }
    return status;
  }
  RETURN_IF_ERROR(existing.status());
  json::object patch;
  for (const std::string_view member : {"endpoints", "ports", "subsets"}) {
    const json::value* value = wanted.Find({member});
    if (value == nullptr) continue;
    const json::value* now = existing->Find({member});
    const bool both_empty = now == nullptr && value->is_array() && value->get_array().empty();
    if (!both_empty && (now == nullptr || *now != *value)) patch[member] = *value;
  }
  if (existing->labels() != wanted.labels()) {
    if (const json::value* labels = wanted.Find({"metadata", "labels"})) {
      patch["metadata"] = json::object{{"labels", *labels}};
    }
  }
  if (patch.empty()) return absl::OkStatus();
  const absl::Status status =
      client_.Patch(resource, wanted.key(), kube::PatchType::kMerge, patch).status();
  return absl::IsNotFound(status) ? absl::OkStatus() : status;
}

}  // namespace local_cluster

#include "local-cluster/controllers/namespaces.h"

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/status_macros.h"
#include "common/kube/json.h"

namespace local_cluster {
namespace {

namespace json = boost::json;
using kube::resources::kNamespaces;

constexpr absl::Duration kLookAgain =
    absl::Milliseconds(250);  // While finalizers of others hold it.

}  // namespace

absl::StatusOr<kube::ReconcileResult> NamespaceReconciler::Reconcile(const kube::ObjectKey& key) {
  const absl::StatusOr<kube::Object> object = client_.Get(kNamespaces, key);
  if (absl::IsNotFound(object.status())) return kube::ReconcileResult{};
  RETURN_IF_ERROR(object.status());
  if (!object->being_deleted()) {
    RETURN_IF_ERROR(Furnish(key.name));
    return kube::ReconcileResult{};
  }
  ASSIGN_OR_RETURN(const int left, Empty(key.name));
  if (left > 0) return kube::ReconcileResult{.requeue_after = kLookAgain};
  RETURN_IF_ERROR(Finalize(*object));
  return kube::ReconcileResult{};
}

absl::Status NamespaceReconciler::Furnish(const std::string& name) {
  const auto ensure = [&](const kube::Resource& resource, const std::string& object_name,
                          json::object more) -> absl::Status {
    const absl::Status found = client_.Get(resource, {name, object_name}).status();
    if (!absl::IsNotFound(found)) return found;
    more["apiVersion"] = resource.api_version();
    more["kind"] = resource.kind;
    more["metadata"] = json::object{{"name", object_name}, {"namespace", name}};
    const absl::Status status =
        client_.Create(resource, kube::Object(json::value(std::move(more)))).status();
    // It may have been made, or its namespace may have begun to go, meanwhile.
    const bool fine = status.ok() || absl::IsAlreadyExists(status) || absl::IsNotFound(status) ||
                      absl::IsPermissionDenied(status) || absl::IsFailedPrecondition(status);
    return fine ? absl::OkStatus() : status;
  };
  RETURN_IF_ERROR(ensure(kube::resources::kServiceAccounts, "default", {}));
  return ensure(kube::resources::kConfigMaps, "kube-root-ca.crt",
                {{"data", json::object{{"ca.crt", ca_pem_}}}});
}

absl::StatusOr<int> NamespaceReconciler::Empty(const std::string& name) {
  int left = 0;
  for (const kube::Resource& resource : catalog_.All()) {
    if (!resource.namespaced) continue;
    const absl::StatusOr<kube::ObjectList> list =
        client_.List(resource, {.namespace_name = name, .metadata_only = true});
    if (absl::IsNotFound(list.status())) continue;  // A CRD that went meanwhile.
    RETURN_IF_ERROR(list.status());
    for (const kube::Object& object : list->items) {
      if (!object.being_deleted()) {
        RETURN_IF_ERROR(client_.Delete(resource, object.key(), {.uid = std::string(object.uid())}));
      }
      ++left;
    }
  }
  // Events are written until the end and hold nothing up.
  ASSIGN_OR_RETURN(const kube::ObjectList events,
                   client_.List(kube::resources::kEvents, {.namespace_name = name}));
  for (const kube::Object& event : events.items) {
    RETURN_IF_ERROR(client_.Delete(kube::resources::kEvents, event.key()));
  }
  return left;
}

absl::Status NamespaceReconciler::Finalize(const kube::Object& object) {
  kube::Object final_object = object;
  kube::MakePath(final_object.mutable_json(), {"spec"}).as_object()["finalizers"] = json::array{};
  net::Request request;
  request.method = "PUT";
  request.target = kNamespaces.Path(object.key(), "finalize");
  request.headers.Set("content-type", "application/json");
  request.body = final_object.ToJson();
  ASSIGN_OR_RETURN(const net::Response response, client_.Raw(request));
  const absl::Status status =
      kube::StatusOfResponse(response, absl::StrFormat("finalize namespace %s", object.name()));
  return absl::IsNotFound(status) ? absl::OkStatus() : status;
}

}  // namespace local_cluster

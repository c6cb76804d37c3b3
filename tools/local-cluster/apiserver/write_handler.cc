#include "local-cluster/apiserver/write_handler.h"

#include <utility>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/status_macros.h"
#include "common/kube/json.h"
#include "local-cluster/apiserver/encoder.h"
#include "local-cluster/apiserver/negotiation.h"
#include "local-cluster/apiserver/schema/json_edit.h"
#include "local-cluster/apiserver/schema/patch.h"

namespace local_cluster {
namespace {

using boost::json::object;
using boost::json::value;

absl::StatusOr<DeleteParameters> ParseDeleteBody(const ResourceRequest& request) {
  DeleteParameters parameters;
  ASSIGN_OR_RETURN(const value body, ParseBody(*request.http));
  const std::string_view query = request.http->query();
  parameters.propagation = kube::StringAt(
      body, {"propagationPolicy"}, net::QueryParameter(query, "propagationPolicy").value_or(""));
  if (kube::BoolAt(body, {"orphanDependents"})) parameters.propagation = "Orphan";
  for (const char* known : {"", "Background", "Foreground", "Orphan"}) {
    if (parameters.propagation == known) {
      parameters.uid = kube::StringAt(body, {"preconditions", "uid"});
      parameters.resource_version = kube::StringAt(body, {"preconditions", "resourceVersion"});
      if (kube::FindPath(body, {"gracePeriodSeconds"}) != nullptr) {
        parameters.grace_period_seconds = kube::IntAt(body, {"gracePeriodSeconds"});
      } else if (const auto seconds = net::QueryParameter(query, "gracePeriodSeconds")) {
        parameters.grace_period_seconds = std::strtoll(seconds->c_str(), nullptr, 10);
      }
      if (parameters.grace_period_seconds && *parameters.grace_period_seconds < 0) {
        parameters.grace_period_seconds = 1;
      }
      return parameters;
    }
  }
  return InvalidError({"meta.k8s.io", "deleteoptions", "DeleteOptions"}, "",
                      {UnsupportedField("propagationPolicy", value(parameters.propagation),
                                        {"Foreground", "Background", "Orphan", "nil"})});
}

// What kubectl prints as "deleted".
net::Response DeletedResponse(const ResourceRequest& request, const WriteResult& result) {
  object details{{"name", request.name}};
  if (!request.kind->group.empty()) details["group"] = request.kind->group;
  details["kind"] = request.kind->plural;
  details["uid"] = kube::StringAt(*result.object, {"metadata", "uid"});
  const object status{{"kind", "Status"},
                      {"apiVersion", "v1"},
                      {"metadata", object()},
                      {"status", "Success"},
                      {"details", std::move(details)}};
  return JsonResponse(200, boost::json::serialize(status) + "\n");
}

bool RequestsDryRun(const value& body) {
  const value* dry_run = kube::FindPath(body, {"dryRun"});
  return dry_run != nullptr && dry_run->is_array() && !dry_run->get_array().empty();
}

}  // namespace

WriteHandler::WriteHandler(ObjectWriter& writer, const ObjectReader& reader,
                           const base::Clock& clock)
    : writer_(writer), reader_(reader), clock_(clock) {}

absl::StatusOr<net::Response> WriteHandler::Answer(
    const ResourceRequest& request, const absl::StatusOr<WriteResult>& result) const {
  if (!result.ok()) return result.status();
  ASSIGN_OR_RETURN(Negotiated negotiated, Negotiate(*request.http));
  const Encoder encoder(request.kind, *request.version, std::move(negotiated), clock_);
  net::Response response =
      JsonResponse(result->created ? 201 : 200, encoder.Object(result->object) + "\n");
  for (const std::string& warning : result->warnings) {
    std::string quoted;
    for (const char c : warning) {
      if (c == '"' || c == '\\') quoted += '\\';
      quoted += c >= 0 && c < ' ' ? ' ' : c;
    }
    response.headers.Add("Warning", absl::StrFormat("299 - \"%s\"", quoted));
  }
  return response;
}

absl::StatusOr<net::Response> WriteHandler::Post(const ResourceRequest& request) const {
  ASSIGN_OR_RETURN(value body, ParseBody(*request.http));
  return Answer(request, writer_.Create(request, std::move(body)));
}

absl::StatusOr<net::Response> WriteHandler::Put(const ResourceRequest& request) const {
  ASSIGN_OR_RETURN(const value body, ParseBody(*request.http));
  if (!body.is_object()) return BadRequestError("the body must be an object");
  return Answer(request, writer_.Update(request, [&body](const value&) { return body; }));
}

absl::StatusOr<value> WriteHandler::Patched(const ResourceRequest& request, value whole,
                                            const value& patch, const Schema* schema) {
  const std::string type = ContentType(*request.http);
  if (type == "application/json-patch+json") {
    RETURN_IF_ERROR(ApplyJsonPatch(whole, patch));
  } else if (type == "application/merge-patch+json") {
    if (!patch.is_object()) return BadRequestError("a merge patch is an object");
    kube::MergePatch(whole, patch);
  } else if (type == "application/strategic-merge-patch+json" && schema != nullptr) {
    RETURN_IF_ERROR(ApplyStrategicMerge(whole, patch, *schema));
  } else {
    return UnsupportedMediaTypeError(
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml");
  }
  return whole;
}

absl::StatusOr<net::Response> WriteHandler::Patch(const ResourceRequest& request) const {
  const std::string type = ContentType(*request.http);
  if (type == "application/apply-patch+yaml") return Apply(request);
  ASSIGN_OR_RETURN(const value patch, ParseBody(*request.http));
  const Schema* schema = request.kind->custom ? nullptr : request.version->schema;
  return Answer(request, writer_.Update(request, [&](const value& current) {
    return Patched(request, current, patch, schema);
  }));
}

absl::StatusOr<net::Response> WriteHandler::Apply(const ResourceRequest& request) const {
  if (net::QueryParameter(request.http->query(), "fieldManager").value_or("").empty()) {
    return InvalidError({"meta.k8s.io", "patchoptions", "PatchOptions"}, "",
                        {RequiredField("fieldManager", "is required for apply patch")});
  }
  ASSIGN_OR_RETURN(const value body, ParseBody(*request.http));
  if (!body.is_object()) return BadRequestError("the body must be an object");
  if (kube::FindPath(body, {"metadata", "managedFields"}) != nullptr) {
    return BadRequestError("metadata.managedFields must be nil");
  }
  const absl::StatusOr<WriteResult> updated =
      writer_.Update(request, [&body](const value& current) -> absl::StatusOr<value> {
        value merged = current;
        kube::MergePatch(merged, body);
        return merged;
      });
  if (updated.ok() || FromStatus(updated.status()).code != 404 || !request.subresource.empty()) {
    return Answer(request, updated);
  }
  value created = body;
  MakeObject(created.get_object(), "metadata")["name"] = request.name;
  return Answer(request, writer_.Create(request, std::move(created)));
}

absl::StatusOr<net::Response> WriteHandler::Delete(const ResourceRequest& request) const {
  ASSIGN_OR_RETURN(const DeleteParameters parameters, ParseDeleteBody(request));
  ResourceRequest effective = request;
  ASSIGN_OR_RETURN(const value body, ParseBody(*request.http));
  effective.options.dry_run = effective.options.dry_run || RequestsDryRun(body);
  const absl::StatusOr<WriteResult> result = writer_.Delete(effective, parameters);
  if (result.ok() && result->gone) {
    // A Pod is answered as itself, as kubelets expect.
    if (request.kind->custom || request.kind->kind != "Pod") {
      return DeletedResponse(request, *result);
    }
  }
  return Answer(effective, result);
}

absl::StatusOr<net::Response> WriteHandler::DeleteCollection(const ResourceRequest& request) const {
  ASSIGN_OR_RETURN(const DeleteParameters parameters, ParseDeleteBody(request));
  ASSIGN_OR_RETURN(const ListResult selected, reader_.Select(request));
  for (const StoredObject& item : selected.items) {
    ResourceRequest one = request;
    one.name = kube::StringAt(*item.value, {"metadata", "name"});
    one.namespace_name = kube::StringAt(*item.value, {"metadata", "namespace"});
    const absl::StatusOr<WriteResult> deleted = writer_.Delete(one, parameters);
    if (!deleted.ok() && FromStatus(deleted.status()).code != 404) return deleted.status();
  }
  ASSIGN_OR_RETURN(Negotiated negotiated, Negotiate(*request.http));
  const Encoder encoder(request.kind, *request.version, std::move(negotiated), clock_);
  Encoder::ListHeader header;
  header.revision = selected.revision;
  return JsonResponse(200, encoder.List(selected.items, header));
}

}  // namespace local_cluster

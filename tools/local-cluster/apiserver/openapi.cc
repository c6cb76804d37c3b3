#include "local-cluster/apiserver/openapi.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/net/digest.h"
#include "local-cluster/apiserver/negotiation.h"
#include "local-cluster/apiserver/schema/builtin.h"
#include "local-cluster/apiserver/schema/openapi_schema.h"

namespace local_cluster {
namespace {

using boost::json::array;
using boost::json::object;
using boost::json::value;

struct GroupVersion {
  std::string group, version;

  // "api/v1", "apis/apps/v1".
  std::string Path() const {
    return group.empty() ? "api/" + version : "apis/" + group + "/" + version;
  }
  auto operator<=>(const GroupVersion&) const = default;
};

std::set<GroupVersion> AllGroupVersions(const KindRegistry& kinds) {
  std::set<GroupVersion> all;
  for (const auto& kind : kinds.kinds()) {
    for (const KindVersion& version : kind->versions) {
      if (version.served) all.insert({kind->group, version.name});
    }
  }
  return all;
}

// Changes whenever the document would.
std::string HashOf(const KindRegistry& kinds, const GroupVersion& wanted) {
  std::string text = "kubernetes 1.33.4 " + wanted.Path();
  for (const auto& kind : kinds.kinds()) {
    const KindVersion* version =
        kind->group == wanted.group ? kind->Version(wanted.version) : nullptr;
    if (version == nullptr || !version->served) continue;
    text += "\n" + kind->plural + " " + kind->kind + (version->scale != nullptr ? " scale" : "");
    if (version->open_api != nullptr) text += boost::json::serialize(*version->open_api);
  }
  return net::Sha256Hex(text);
}

object GvkJson(const Kind& kind, const KindVersion& version) {
  return {{"group", kind.group}, {"version", version.name}, {"kind", kind.kind}};
}

// "sh.kaito.v1beta1.Workspace": the group's labels reversed, as upstream names a CRD's schema.
std::string SchemaName(const Kind& kind, const KindVersion& version) {
  if (version.schema != nullptr && !version.schema->type_name.empty()) {
    return version.schema->type_name;
  }
  std::string name;
  std::string_view rest = kind.group;
  while (!rest.empty()) {
    const size_t dot = rest.find('.');
    name = std::string(rest.substr(0, dot)) + (name.empty() ? "" : ".") + name;
    rest.remove_prefix(dot == std::string_view::npos ? rest.size() : dot + 1);
  }
  return absl::StrFormat("%s.%s.%s", name, version.name, kind.kind);
}

object Parameter(std::string_view name, std::string_view description, std::string_view type) {
  return {{"name", name},
          {"in", "query"},
          {"description", description},
          {"schema", object{{"type", type}, {"uniqueItems", true}}}};
}

array WriteParameters() {
  return {Parameter("dryRun", "When present, indicates that modifications should not be persisted.",
                    "string"),
          Parameter("fieldManager",
                    "fieldManager is a name associated with the actor or entity that is making "
                    "these changes.",
                    "string"),
          Parameter("fieldValidation",
                    "fieldValidation instructs the server on how to handle objects in the request "
                    "(POST/PUT/PATCH) containing unknown or duplicate fields.",
                    "string")};
}

object Operation(const Kind& kind, const KindVersion& version, std::string_view action,
                 const std::string& schema, bool with_body) {
  const object reference{{"schema", object{{"$ref", "#/components/schemas/" + schema}}}};
  const object content{{"application/json", reference}};
  object operation{
      {"description", absl::StrFormat("%s the specified %s", action, kind.kind)},
      {"operationId", absl::StrFormat("%s%s%s%s", action, kind.group, version.name, kind.kind)},
      {"responses", object{{"200", object{{"description", "OK"}, {"content", content}}}}},
      {"x-kubernetes-action", action},
      {"x-kubernetes-group-version-kind", GvkJson(kind, version)}};
  if (with_body) operation["requestBody"] = object{{"content", content}};
  return operation;
}

void AddPaths(object& paths, const GroupVersion& gv, const Kind& kind, const KindVersion& version,
              const std::string& schema) {
  const std::string collection =
      "/" + gv.Path() + (kind.namespaced ? "/namespaces/{namespace}/" : "/") + kind.plural;
  object post = Operation(kind, version, "post", schema, true);
  post["parameters"] = WriteParameters();
  if (kind.create_only) {
    paths[collection] = object{{"post", std::move(post)}};
    return;
  }
  paths[collection] =
      object{{"get", Operation(kind, version, "list", schema, false)}, {"post", std::move(post)}};
  object put = Operation(kind, version, "put", schema, true);
  put["parameters"] = WriteParameters();
  object patch = Operation(kind, version, "patch", schema, true);
  patch["parameters"] = WriteParameters();
  patch["parameters"].as_array().push_back(
      Parameter("force", "Force is going to \"force\" Apply requests.", "boolean"));
  const object item{{"get", Operation(kind, version, "get", schema, false)},
                    {"put", put},
                    {"patch", patch},
                    {"delete", Operation(kind, version, "delete", schema, false)}};
  paths[collection + "/{name}"] = item;
  if (version.status) {
    paths[collection + "/{name}/status"] = object{
        {"get", Operation(kind, version, "get", schema, false)}, {"put", put}, {"patch", patch}};
  }
}

object CustomSchema(const Kind& kind, const KindVersion& version) {
  object schema = version.open_api != nullptr && version.open_api->is_object()
                      ? version.open_api->get_object()
                      : object{{"type", "object"}, {"x-kubernetes-preserve-unknown-fields", true}};
  value& properties = schema["properties"];
  if (!properties.is_object()) properties = object();
  object& members = properties.get_object();
  members["apiVersion"] = object{
      {"type", "string"},
      {"description",
       "APIVersion defines the versioned schema of this representation of an object. Servers "
       "should convert recognized schemas to the latest internal value, and may reject "
       "unrecognized values. More info: "
       "https://git.k8s.io/community/contributors/devel/sig-architecture/"
       "api-conventions.md#resources"}};
  members["kind"] = object{
      {"type", "string"},
      {"description",
       "Kind is a string value representing the REST resource this object represents. Servers may "
       "infer this from the endpoint the client submits requests to. Cannot be updated. In "
       "CamelCase. More info: "
       "https://git.k8s.io/community/contributors/devel/sig-architecture/"
       "api-conventions.md#types-kinds"}};
  members["metadata"] = object{
      {"allOf", array{object{{"$ref", "#/components/schemas/" + ObjectMetaSchema().type_name}}}},
      {"description",
       "Standard object's metadata. More info: "
       "https://git.k8s.io/community/contributors/devel/sig-architecture/"
       "api-conventions.md#metadata"}};
  schema["x-kubernetes-group-version-kind"] = array{GvkJson(kind, version)};
  return schema;
}

std::string Document(const KindRegistry& kinds, const GroupVersion& gv) {
  object paths;
  object schemas;
  OpenApiSchemas builtin;
  for (const auto& kind : kinds.kinds()) {
    const KindVersion* version = kind->group == gv.group ? kind->Version(gv.version) : nullptr;
    if (version == nullptr || !version->served) continue;
    const std::string name = SchemaName(*kind, *version);
    AddPaths(paths, gv, *kind, *version, name);
    if (kind->custom) {
      schemas[name] = CustomSchema(*kind, *version);
      builtin.Add(ObjectMetaSchema(), {});
    } else {
      builtin.Add(*version->schema, array{GvkJson(*kind, *version)});
    }
  }
  for (auto& [name, schema] : builtin.Take()) schemas[name] = std::move(schema);
  const object document{{"openapi", "3.0.0"},
                        {"info", object{{"title", "Kubernetes"}, {"version", "v1.33.4"}}},
                        {"paths", std::move(paths)},
                        {"components", object{{"schemas", std::move(schemas)}}}};
  return boost::json::serialize(document) + "\n";
}

std::string Url(const GroupVersion& gv, const std::string& hash) {
  return absl::StrFormat("/openapi/v3/%s?hash=%s", gv.Path(), hash);
}

net::Response Index(const KindRegistry& kinds) {
  object paths;
  for (const GroupVersion& gv : AllGroupVersions(kinds)) {
    paths[gv.Path()] = object{{"serverRelativeURL", Url(gv, HashOf(kinds, gv))}};
  }
  return JsonResponse(200, boost::json::serialize(object{{"paths", std::move(paths)}}) + "\n");
}

}  // namespace

absl::StatusOr<net::Response> AnswerOpenApi(const net::Request& request,
                                            const std::vector<std::string>& segments,
                                            const KindRegistry& kinds) {
  if (segments.size() < 2 || segments[1] != "v3") return PathNotFoundError();
  if (segments.size() == 2) return Index(kinds);
  GroupVersion wanted;
  if (segments[2] == "api" && segments.size() == 4) {
    wanted.version = segments[3];
  } else if (segments[2] == "apis" && segments.size() == 5) {
    wanted = {segments[3], segments[4]};
  }
  if (!AllGroupVersions(kinds).contains(wanted)) return PathNotFoundError();
  const std::string hash = HashOf(kinds, wanted);
  const std::optional<std::string> asked = net::QueryParameter(request.query(), "hash");
  if (asked && *asked != hash) {
    net::Response redirect;
    redirect.status = 301;
    redirect.headers.Add("Location", Url(wanted, hash));
    return redirect;
  }
  net::Response response = JsonResponse(200, "");
  response.headers.Add("ETag", "\"" + hash + "\"");
  response.headers.Add("Vary", "Accept");
  response.headers.Add("Cache-Control",
                       asked ? "public, immutable, max-age=31536000" : "no-cache, private");
  if (request.headers.Find("If-None-Match") == "\"" + hash + "\"") {
    response.status = 304;
    return response;
  }
  response.body = Document(kinds, wanted);
  return response;
}

}  // namespace local_cluster

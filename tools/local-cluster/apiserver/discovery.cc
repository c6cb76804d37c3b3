#include "local-cluster/apiserver/discovery.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/status_macros.h"
#include "common/net/digest.h"
#include "local-cluster/apiserver/negotiation.h"

namespace local_cluster {
namespace {

using boost::json::array;
using boost::json::object;
using boost::json::value;

// A group's versions in order of preference.
struct Group {
  std::string name;
  std::vector<std::string> versions;
};

std::vector<Group> GroupsOf(const KindRegistry& kinds, bool core) {
  std::vector<Group> groups;
  for (const auto& kind : kinds.kinds()) {
    if (kind->group.empty() != core) continue;
    auto found = std::ranges::find(groups, kind->group, &Group::name);
    if (found == groups.end()) {
      groups.push_back({kind->group, {}});
      found = groups.end() - 1;
    }
    for (const KindVersion& version : kind->versions) {
      if (version.served && std::ranges::count(found->versions, version.name) == 0) {
        found->versions.push_back(version.name);
      }
    }
  }
  std::erase_if(groups, [](const Group& group) { return group.versions.empty(); });
  for (Group& group : groups) std::ranges::sort(group.versions, VersionPrecedes);
  return groups;
}

array Texts(const std::vector<std::string>& texts) {
  array all;
  for (const std::string& text : texts) all.emplace_back(text);
  return all;
}

array VerbsOf(const Kind& kind) {
  if (kind.create_only) return {"create"};
  return {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"};
}

struct Subresource {
  std::string name;
  std::string group, version, kind;
  array verbs;
};

std::vector<Subresource> SubresourcesOf(const Kind& kind, const KindVersion& version) {
  std::vector<Subresource> all;
  const array usual{"get", "patch", "update"};
  if (version.status) all.push_back({"status", kind.group, version.name, kind.kind, usual});
  if (version.scale != nullptr) all.push_back({"scale", "autoscaling", "v1", "Scale", usual});
  for (const std::string& name : kind.subresources) {
    Subresource one{name, kind.group, version.name, kind.kind, {"create"}};
    if (name == "eviction") {
      one.group = "policy";
      one.kind = "Eviction";
    } else if (name == "binding") {
      one.kind = "Binding";
    } else if (name == "token") {
      one.group = "authentication.k8s.io";
      one.kind = "TokenRequest";
    } else if (name == "log") {
      one.verbs = {"get"};
    } else if (name == "finalize") {
      one.verbs = {"update"};
    } else {
      one.kind = "Pod" + std::string(name == "exec"     ? "ExecOptions"
                                     : name == "attach" ? "AttachOptions"
                                                        : "PortForwardOptions");
      one.verbs = {"create", "get"};
    }
    all.push_back(std::move(one));
  }
  return all;
}

object KindName(const std::string& group, const std::string& version, const std::string& kind) {
  return {{"group", group}, {"version", version}, {"kind", kind}};
}

// One resource of the aggregated form.
object AggregatedResource(const Kind& kind, const KindVersion& version) {
  object resource{{"resource", kind.plural},
                  {"responseKind", KindName(kind.group, version.name, kind.kind)},
                  {"scope", kind.namespaced ? "Namespaced" : "Cluster"},
                  {"singularResource", kind.singular},
                  {"verbs", VerbsOf(kind)}};
  if (!kind.short_names.empty()) resource["shortNames"] = Texts(kind.short_names);
  if (!kind.categories.empty()) resource["categories"] = Texts(kind.categories);
  array subresources;
  for (const Subresource& sub : SubresourcesOf(kind, version)) {
    subresources.push_back(object{{"subresource", sub.name},
                                  {"responseKind", KindName(sub.group, sub.version, sub.kind)},
                                  {"verbs", sub.verbs}});
  }
  if (!subresources.empty()) resource["subresources"] = std::move(subresources);
  return resource;
}

array AggregatedVersions(const KindRegistry& kinds, const Group& group) {
  array versions;
  for (const std::string& name : group.versions) {
    array resources;
    for (const auto& kind : kinds.kinds()) {
      const KindVersion* version = kind->group == group.name ? kind->Version(name) : nullptr;
      if (version != nullptr && version->served) {
        resources.push_back(AggregatedResource(*kind, *version));
      }
    }
    versions.push_back(
        object{{"version", name}, {"resources", std::move(resources)}, {"freshness", "Current"}});
  }
  return versions;
}

std::string Aggregated(const KindRegistry& kinds, bool core, const std::string& version) {
  array items;
  for (const Group& group : GroupsOf(kinds, core)) {
    object metadata{{"creationTimestamp", value()}};
    if (!core) metadata["name"] = group.name;
    items.push_back(
        object{{"metadata", std::move(metadata)}, {"versions", AggregatedVersions(kinds, group)}});
  }
  const object list{{"kind", "APIGroupDiscoveryList"},
                    {"apiVersion", "apidiscovery.k8s.io/" + version},
                    {"metadata", object()},
                    {"items", std::move(items)}};
  return boost::json::serialize(list) + "\n";
}

object PlainGroup(const Group& group) {
  array versions;
  for (const std::string& name : group.versions) {
    versions.push_back(object{{"groupVersion", group.name + "/" + name}, {"version", name}});
  }
  value preferred = versions.front();
  return {{"name", group.name},
          {"versions", std::move(versions)},
          {"preferredVersion", std::move(preferred)}};
}

object PlainResource(const Kind& kind, const std::string& name, const std::string& kind_name,
                     array verbs) {
  return {{"name", name},
          {"singularName", name == kind.plural ? kind.singular : std::string()},
          {"namespaced", kind.namespaced},
          {"kind", kind_name},
          {"verbs", std::move(verbs)}};
}

absl::StatusOr<std::string> PlainResources(const KindRegistry& kinds, const std::string& group,
                                           const std::string& version_name) {
  array resources;
  for (const auto& kind : kinds.kinds()) {
    const KindVersion* version = kind->group == group ? kind->Version(version_name) : nullptr;
    if (version == nullptr || !version->served) continue;
    object resource = PlainResource(*kind, kind->plural, kind->kind, VerbsOf(*kind));
    if (!kind->short_names.empty()) resource["shortNames"] = Texts(kind->short_names);
    if (!kind->categories.empty()) resource["categories"] = Texts(kind->categories);
    resources.push_back(std::move(resource));
    for (const Subresource& sub : SubresourcesOf(*kind, *version)) {
      object one = PlainResource(*kind, kind->plural + "/" + sub.name, sub.kind, sub.verbs);
      if (sub.group != kind->group) {
        one["group"] = sub.group;
        one["version"] = sub.version;
      }
      resources.push_back(std::move(one));
    }
  }
  if (resources.empty()) return PathNotFoundError();
  const object list{{"kind", "APIResourceList"},
                    {"apiVersion", "v1"},
                    {"groupVersion", group.empty() ? version_name : group + "/" + version_name},
                    {"resources", std::move(resources)}};
  return boost::json::serialize(list) + "\n";
}

// The best form that the client takes: "v2", "v2beta1", "" for plain; nullopt for none.
std::optional<std::string> DiscoveryForm(const net::Request& request) {
  for (const MediaRange& range : ParseAccept(request)) {
    if (range.type != "application/json" && range.type != "*/*" && range.type != "application/*") {
      continue;
    }
    if (range.as.empty()) return "";
    if (range.as == "APIGroupDiscoveryList" && range.group == "apidiscovery.k8s.io" &&
        (range.version == "v2" || range.version == "v2beta1")) {
      return range.version;
    }
  }
  return std::nullopt;
}

net::Response WithTag(const net::Request& request, std::string content_type, std::string body) {
  const std::string tag = "\"" + net::Sha256Hex(body) + "\"";
  net::Response response = JsonResponse(200, std::move(body));
  response.headers.Set("Content-Type", std::move(content_type));
  response.headers.Add("ETag", tag);
  response.headers.Add("Vary", "Accept");
  response.headers.Add("Cache-Control", "public");
  if (request.headers.Find("If-None-Match") == tag) {
    response.status = 304;
    response.body.clear();
  }
  return response;
}

std::string PlainRoot(const KindRegistry& kinds, bool core) {
  if (core) {
    const object versions{{"kind", "APIVersions"},
                          {"versions", array{"v1"}},
                          {"serverAddressByClientCIDRs", array()}};
    return boost::json::serialize(versions) + "\n";
  }
  array groups;
  for (const Group& group : GroupsOf(kinds, false)) groups.push_back(PlainGroup(group));
  const object list{{"kind", "APIGroupList"}, {"apiVersion", "v1"}, {"groups", std::move(groups)}};
  return boost::json::serialize(list) + "\n";
}

absl::StatusOr<net::Response> AnswerRoot(const net::Request& request, const KindRegistry& kinds,
                                         bool core) {
  const std::optional<std::string> form = DiscoveryForm(request);
  if (!form) return NotAcceptableError("application/json");
  if (form->empty()) return WithTag(request, "application/json", PlainRoot(kinds, core));
  return WithTag(request,
                 absl::StrFormat("application/json;g=apidiscovery.k8s.io;v=%s;"
                                 "as=APIGroupDiscoveryList",
                                 *form),
                 Aggregated(kinds, core, *form));
}

}  // namespace

bool IsDiscovery(const std::vector<std::string>& segments) {
  if (segments.empty()) return false;
  if (segments[0] == "api") return segments.size() <= 2;
  return segments[0] == "apis" && segments.size() <= 3;
}

absl::StatusOr<net::Response> AnswerDiscovery(const net::Request& request,
                                              const std::vector<std::string>& segments,
                                              const KindRegistry& kinds) {
  const bool core = segments[0] == "api";
  if (segments.size() == 1) return AnswerRoot(request, kinds, core);
  if (!core && segments.size() == 2) {
    for (const Group& group : GroupsOf(kinds, false)) {
      if (group.name != segments[1]) continue;
      object json = PlainGroup(group);
      json["kind"] = "APIGroup";
      json["apiVersion"] = "v1";
      return WithTag(request, "application/json", boost::json::serialize(json) + "\n");
    }
    return PathNotFoundError();
  }
  ASSIGN_OR_RETURN(std::string body,
                   PlainResources(kinds, core ? "" : segments[1], segments.back()));
  return WithTag(request, "application/json", std::move(body));
}

}  // namespace local_cluster

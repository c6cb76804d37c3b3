#include "workspace-controller/testing.h"

#include <utility>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/check.h"
#include "common/kube/json.h"

namespace workspace_controller {
namespace {

namespace json = boost::json;

net::Response Answer(int status, const json::value& body) {
  return {.status = status, .body = json::serialize(body)};
}

net::Response Failure(int status, std::string_view reason) {
  return Answer(status, json::object{{"kind", "Status"},
                                     {"apiVersion", "v1"},
                                     {"status", "Failure"},
                                     {"reason", reason},
                                     {"message", reason},
                                     {"code", status}});
}

std::string PathOf(const kube::Resource& resource, const kube::Object& object) {
  return resource.Path(object.key());
}

}  // namespace

const catalog::Presets& ShippedPresets() {
  static std::vector<catalog::Problem> problems;
  static const auto* const presets =
      new catalog::Presets(catalog::Presets::Load(KAITO_SOURCE_DIR "/deploy/presets", problems));
  return *presets;
}

const catalog::GpuTypes& ShippedTypes() {
  static std::vector<catalog::Problem> problems;
  static const auto* const types = new catalog::GpuTypes(
      catalog::GpuTypes::Load(KAITO_SOURCE_DIR "/deploy/gpu-types", problems));
  return *types;
}

kube::Object WorkspaceObject(std::string_view preset) {
  return kube::Object(
      json::object{{"apiVersion", "kaito.sh/v1beta1"},
                   {"kind", "Workspace"},
                   {"metadata",
                    {{"name", "ws"},
                     {"namespace", "ns"},
                     {"uid", "uid-1"},
                     {"generation", 3},
                     {"resourceVersion", "7"},
                     {"creationTimestamp", "2026-01-01T00:00:00Z"}}},
                   {"resource",
                    {{"count", 1},
                     {"instanceType", "Standard_NC24ads_A100_v4"},
                     {"labelSelector", {{"matchLabels", {{"apps", "x"}}}}}}},
                   {"inference", {{"preset", {{"name", preset}, {"accessMode", "public"}}}}}});
}

kube::Object Patched(kube::Object object, std::string_view patch) {
  const auto parsed = kube::ParseJson(patch);
  CHECK_OK(parsed);
  kube::MergePatch(object.mutable_json(), *parsed);
  return object;
}

Workspace Read(const kube::Object& object) { return ReadWorkspace(object, {}); }

kube::Object NodeObject(std::string_view name, std::string_view instance_type) {
  return kube::Object(json::object{
      {"apiVersion", "v1"},
      {"kind", "Node"},
      {"metadata",
       {{"name", name},
        {"labels",
         {{"apps", "x"},
          {"kubernetes.io/hostname", name},
          {"node.kubernetes.io/instance-type", instance_type},
          {"kaito.sh/workspace", "ws"},
          {"kaito.sh/workspacenamespace", "ns"}}}}},
      {"status",
       {{"capacity", {{"cpu", "4"}, {"nvidia.com/gpu", "1"}}},
        {"conditions", json::array{json::object{{"type", "Ready"}, {"status", "True"}}}}}}});
}

kube::Object ClaimObject(std::string_view name, std::string_view node, bool is_ready) {
  json::array conditions;
  for (const char* type : {"Launched", "Registered", "Initialized"}) {
    conditions.push_back(json::object{{"type", type},
                                      {"status", is_ready ? "True" : "Unknown"},
                                      {"reason", is_ready ? type : "Launching"},
                                      {"message", is_ready ? "" : "waiting for the cloud"}});
  }
  return kube::Object(json::object{
      {"apiVersion", "karpenter.sh/v1"},
      {"kind", "NodeClaim"},
      {"metadata",
       {{"name", name},
        {"labels", {{"kaito.sh/workspace", "ws"}, {"kaito.sh/workspacenamespace", "ns"}}}}},
      {"spec",
       {{"requirements",
         json::array{json::object{{"key", "node.kubernetes.io/instance-type"},
                                  {"operator", "In"},
                                  {"values", json::array{"Standard_NC24ads_A100_v4"}}}}}}},
      {"status", {{"nodeName", node}, {"conditions", std::move(conditions)}}}});
}

Observed ObservedFor(const Workspace& workspace) {
  Observed observed;
  if (workspace.inference) {
    observed.preset = ShippedPresets().Find(workspace.inference->preset_name);
  }
  observed.type = ShippedTypes().Find("azure", workspace.instance_type);
  observed.config_text = DefaultInferenceConfig();
  observed.now = absl::FromUnixSeconds(1'767'225'600);  // 2026-01-01
  return observed;
}

void MemoryCluster::Put(const kube::Resource& resource, kube::Object object) {
  absl::MutexLock lock(&mutex_);
  kube::MakePath(object.mutable_json(), {"metadata", "resourceVersion"}) =
      std::to_string(++version_);
  objects_[PathOf(resource, object)] = std::move(object);
}

void MemoryCluster::Remove(const kube::Resource& resource, const kube::ObjectKey& key) {
  absl::MutexLock lock(&mutex_);
  objects_.erase(resource.Path(key));
}

void MemoryCluster::HideFromCache(const kube::Resource& resource) {
  absl::MutexLock lock(&mutex_);
  hidden_ = resource.plural;
}

void MemoryCluster::RefuseWith(
    std::function<std::optional<net::Response>(const net::Request&)> refusal) {
  absl::MutexLock lock(&mutex_);
  refusal_ = std::move(refusal);
}

std::vector<std::string> MemoryCluster::writes() const {
  absl::MutexLock lock(&mutex_);
  return writes_;
}

void MemoryCluster::ForgetWrites() {
  absl::MutexLock lock(&mutex_);
  writes_.clear();
}

std::optional<kube::Object> MemoryCluster::Find(const kube::Resource& resource,
                                                const kube::ObjectKey& key) const {
  absl::MutexLock lock(&mutex_);
  const auto found = objects_.find(resource.Path(key));
  if (found == objects_.end()) return std::nullopt;
  return found->second;
}

std::vector<kube::Object> MemoryCluster::All(const kube::Resource& resource) const {
  absl::MutexLock lock(&mutex_);
  std::vector<kube::Object> all;
  for (const auto& [path, object] : objects_) {
    if (resource.plural == hidden_) break;
    if (path == resource.Path(object.key())) all.push_back(object);
  }
  return all;
}

std::vector<kube::Object> MemoryCluster::OfWorkspace(const kube::Resource& resource,
                                                     const kube::ObjectKey& workspace) const {
  std::vector<kube::Object> objects;
  for (const kube::Object& object : All(resource)) {
    if (WorkspaceOf(object) == workspace) objects.push_back(object);
  }
  return objects;
}

absl::StatusOr<net::Response> MemoryCluster::Send(const net::Request& request, absl::Duration) {
  absl::MutexLock lock(&mutex_);
  if (refusal_) {
    if (std::optional<net::Response> refused = refusal_(request)) return *refused;
  }
  const std::string path(request.path());
  if (request.method == "GET") return ReadOne(path);
  writes_.push_back(absl::StrFormat("%s %s", request.method, path));
  return Write(request, path);
}

net::Response MemoryCluster::ReadOne(std::string_view path) {
  const auto found = objects_.find(path);
  if (found != objects_.end()) return Answer(200, found->second.json());
  json::array items;
  bool is_collection = false;
  for (const auto& [other, object] : objects_) {
    if (other.size() <= path.size() || !other.starts_with(path) || other[path.size()] != '/') {
      continue;
    }
    is_collection = true;
    items.push_back(object.json());
  }
  if (!is_collection && !path.ends_with("claims")) return Failure(404, "NotFound");
  return Answer(200, json::object{{"metadata", {{"resourceVersion", std::to_string(version_)}}},
                                  {"items", std::move(items)}});
}

net::Response MemoryCluster::Write(const net::Request& request, std::string_view path) {
  if (request.method == "POST") {
    absl::StatusOr<kube::Object> object = kube::Object::Parse(request.body);
    CHECK_OK(object);
    const std::string own = absl::StrFormat("%s/%s", path, object->name());
    if (objects_.contains(own)) return Failure(409, "AlreadyExists");
    kube::MakePath(object->mutable_json(), {"metadata", "resourceVersion"}) =
        std::to_string(++version_);
    objects_[own] = *object;
    return Answer(201, object->json());
  }
  constexpr std::string_view kStatus = "/status";
  if (path.ends_with(kStatus)) path.remove_suffix(kStatus.size());
  const auto found = objects_.find(path);
  if (found == objects_.end()) return Failure(404, "NotFound");
  if (request.method == "DELETE") {
    objects_.erase(found);
    return Answer(200, json::object{{"kind", "Status"}, {"status", "Success"}});
  }
  const auto patch = kube::ParseJson(request.body);
  CHECK_OK(patch);
  const std::string_view expected = kube::StringAt(*patch, {"metadata", "resourceVersion"});
  if (!expected.empty() && expected != found->second.resource_version()) {
    return Failure(409, "Conflict");
  }
  kube::MergePatch(found->second.mutable_json(), *patch);
  kube::MakePath(found->second.mutable_json(), {"metadata", "resourceVersion"}) =
      std::to_string(++version_);
  const json::value stored = found->second.json();
  if (found->second.being_deleted() && found->second.finalizers().empty()) objects_.erase(found);
  return Answer(200, stored);
}

absl::StatusOr<std::unique_ptr<net::HttpStream>> MemoryCluster::Open(const net::Request&,
                                                                     absl::Duration) {
  return absl::UnimplementedError("no watch here");
}

}  // namespace workspace_controller

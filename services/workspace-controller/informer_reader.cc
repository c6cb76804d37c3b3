#include "workspace-controller/informer_reader.h"

#include <utility>

#include "boost/json.hpp"
#include "common/base/check.h"
#include "common/kube/json.h"
#include "workspace-controller/workspace.h"

namespace workspace_controller {
namespace {

namespace json = boost::json;

// Of a Node only what is read here: heartbeats would otherwise count as changes.
void TrimNode(kube::Object& node) {
  json::value& value = node.mutable_json();
  json::object status;
  if (const json::value* capacity = kube::FindPath(value, {"status", "capacity"})) {
    status["capacity"] = *capacity;
  }
  json::array conditions;
  if (const json::value* all = kube::FindPath(value, {"status", "conditions"});
      all != nullptr && all->is_array()) {
    for (const json::value& condition : all->get_array()) {
      conditions.push_back(json::object{{"type", kube::StringAt(condition, {"type"})},
                                        {"status", kube::StringAt(condition, {"status"})}});
    }
  }
  status["conditions"] = std::move(conditions);
  value.as_object()["status"] = std::move(status);
}

// Of a ConfigMap only the keys that are ours: others may be large, and private.
void TrimConfigMap(kube::Object& config_map) {
  json::value& value = config_map.mutable_json();
  value.as_object().erase("binaryData");
  json::value* data = const_cast<json::value*>(kube::FindPath(value, {"data"}));
  if (data == nullptr || !data->is_object()) return;
  json::object kept;
  if (const json::value* text = data->get_object().if_contains(kInferenceConfigKey)) {
    kept[kInferenceConfigKey] = *text;
  }
  *data = std::move(kept);
}

}  // namespace

kube::ObjectKey WorkspaceOf(const kube::Object& object) {
  kube::ObjectKey key{.namespace_name = std::string(object.namespace_name()),
                      .name = std::string(object.label(kWorkspaceLabel))};
  if (key.namespace_name.empty()) {
    key.namespace_name = object.label(kWorkspaceNamespaceLabel);
  }
  return key;
}

InformerReader::InformerReader(kube::Client& client, bool with_node_claims,
                               metrics::Registry* registry) {
  const std::string labelled(kWorkspaceLabel);
  const auto options = [&](std::string selector, std::function<void(kube::Object&)> trim) {
    kube::InformerOptions made;
    made.label_selector = std::move(selector);
    made.trim = std::move(trim);
    made.registry = registry;
    return made;
  };
  Add(client, kube::resources::kWorkspaces, options("", nullptr));
  if (with_node_claims) {
    Add(client, kube::resources::kNodeClaims, options(labelled, nullptr));
  }
  Add(client, kube::resources::kNodes, options("", TrimNode));
  Add(client, kube::resources::kPods, options(labelled, nullptr));
  Add(client, kube::resources::kStatefulSets, options(labelled, nullptr));
  Add(client, kube::resources::kServices, options(labelled, nullptr));
  Add(client, kube::resources::kConfigMaps, options("", TrimConfigMap));
}

InformerReader::~InformerReader() { Stop(); }

void InformerReader::Add(kube::Client& client, const kube::Resource& resource,
                         kube::InformerOptions options) {
  auto entry = std::make_unique<Entry>();
  entry->informer = std::make_unique<kube::Informer>(client, resource, std::move(options));
  // Handlers run in the order of their addition, so those of a controller see a current index.
  entry->informer->AddHandler([entry = entry.get()](const kube::InformerEvent& event) {
    const kube::ObjectKey key = event.object.key();
    absl::MutexLock lock(&entry->mutex);
    const auto forget = [&](const kube::ObjectKey& workspace) ABSL_NO_THREAD_SAFETY_ANALYSIS {
      const auto found = entry->by_workspace.find(workspace);
      if (found == entry->by_workspace.end()) return;
      found->second.erase(key);
      if (found->second.empty()) entry->by_workspace.erase(found);
    };
    if (event.change == kube::Change::kUpdated) forget(WorkspaceOf(event.before));
    const kube::ObjectKey workspace = WorkspaceOf(event.object);
    if (event.change == kube::Change::kDeleted) {
      forget(workspace);
    } else if (!workspace.name.empty()) {
      entry->by_workspace[workspace].insert(key);
    }
  });
  entries_.emplace(resource.plural, std::move(entry));
}

const InformerReader::Entry* InformerReader::entry(const kube::Resource& resource) const {
  const auto found = entries_.find(resource.plural);
  return found == entries_.end() ? nullptr : found->second.get();
}

kube::Informer& InformerReader::informer(const kube::Resource& resource) {
  const Entry* found = entry(resource);
  CHECK(found != nullptr);
  return *found->informer;
}

void InformerReader::Start() {
  for (const auto& [plural, entry] : entries_) entry->informer->Start();
}

void InformerReader::Stop() {
  for (const auto& [plural, entry] : entries_) entry->informer->Stop();
}

bool InformerReader::synced() const {
  for (const auto& [plural, entry] : entries_) {
    if (!entry->informer->synced()) return false;
  }
  return true;
}

std::optional<kube::Object> InformerReader::Find(const kube::Resource& resource,
                                                 const kube::ObjectKey& key) const {
  const Entry* found = entry(resource);
  if (found == nullptr) return std::nullopt;
  return found->informer->Find(key);
}

std::vector<kube::Object> InformerReader::All(const kube::Resource& resource) const {
  const Entry* found = entry(resource);
  if (found == nullptr) return {};
  return found->informer->Snapshot()->All();
}

std::vector<kube::Object> InformerReader::OfWorkspace(const kube::Resource& resource,
                                                      const kube::ObjectKey& workspace) const {
  const Entry* found = entry(resource);
  if (found == nullptr) return {};
  std::set<kube::ObjectKey> keys;
  {
    absl::MutexLock lock(&found->mutex);
    const auto indexed = found->by_workspace.find(workspace);
    if (indexed != found->by_workspace.end()) keys = indexed->second;
  }
  std::vector<kube::Object> objects;
  const std::shared_ptr<const kube::ObjectStore> snapshot = found->informer->Snapshot();
  for (const kube::ObjectKey& key : keys) {
    if (const kube::Object* object = snapshot->Find(key)) objects.push_back(*object);
  }
  return objects;
}

}  // namespace workspace_controller

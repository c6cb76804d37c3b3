#include "workspace-controller/watches.h"

#include <algorithm>
#include <vector>

#include "boost/json.hpp"

namespace workspace_controller {
namespace {

namespace json = boost::json;
namespace resources = kube::resources;

const json::value& At(const kube::Object& object, std::string_view member) {
  static const json::value* const null = new json::value();
  const json::value* found = object.Find({member});
  return found != nullptr ? *found : *null;
}

std::vector<kube::ObjectKey> ByLabels(const kube::InformerEvent& event) {
  kube::ObjectKey key = WorkspaceOf(event.object);
  if (key.name.empty()) return {};
  return {std::move(key)};
}

}  // namespace

bool NodeChanged(const kube::Object& before, const kube::Object& after) {
  return before.labels() != after.labels() || before.being_deleted() != after.being_deleted() ||
         At(before, "status") != At(after, "status") || At(before, "spec") != At(after, "spec");
}

bool ConcernsNode(const Workspace& workspace, const kube::Object& node) {
  const std::string name(node.name());
  const auto contains = [&](const std::vector<std::string>& names) {
    return std::ranges::find(names, name) != names.end();
  };
  if (WorkspaceOf(node) == workspace.key()) return true;
  if (contains(workspace.worker_nodes) || contains(workspace.preferred_nodes)) return true;
  const int64_t planned = workspace.object.IntAt({"status", "targetNodeCount"});
  const bool is_looking =
      static_cast<int64_t>(workspace.worker_nodes.size()) < planned || planned == 0;
  return is_looking && workspace.Selects(node.labels());
}

void WatchAll(kube::Controller& controller, InformerReader& reader, Reservations& reservations,
              const WorkspaceDefaults& defaults) {
  reader.informer(resources::kWorkspaces)
      .AddHandler([&reservations, defaults](const kube::InformerEvent& event) {
        if (event.change == kube::Change::kDeleted) {
          reservations.Release(event.object.key());
        } else {
          const Workspace workspace = ReadWorkspace(event.object, defaults);
          reservations.Record(workspace.key(), workspace.worker_nodes);
        }
      });
  controller.WatchSelf(reader.informer(resources::kWorkspaces));
  controller.WatchOwned(reader.informer(resources::kStatefulSets), "Workspace");
  controller.WatchOwned(reader.informer(resources::kServices), "Workspace");
  if (reader.has(resources::kNodeClaims)) {
    controller.WatchMapped(reader.informer(resources::kNodeClaims), ByLabels);
  }
  controller.WatchMapped(reader.informer(resources::kPods), ByLabels);
  controller.WatchMapped(
      reader.informer(resources::kNodes),
      [&reader, defaults](const kube::InformerEvent& event) -> std::vector<kube::ObjectKey> {
        if (event.change == kube::Change::kUpdated && !NodeChanged(event.before, event.object)) {
          return {};
        }
        std::vector<kube::ObjectKey> concerned;
        for (const kube::Object& object : reader.All(resources::kWorkspaces)) {
          const Workspace workspace = ReadWorkspace(object, defaults);
          if (ConcernsNode(workspace, event.object)) concerned.push_back(workspace.key());
        }
        return concerned;
      });
  controller.WatchMapped(
      reader.informer(resources::kConfigMaps),
      [&reader, defaults](const kube::InformerEvent& event) -> std::vector<kube::ObjectKey> {
        std::vector<kube::ObjectKey> concerned;
        const kube::ObjectKey key = event.object.key();
        for (const kube::Object& object : reader.All(resources::kWorkspaces)) {
          if (object.namespace_name() != key.namespace_name) continue;
          const Workspace workspace = ReadWorkspace(object, defaults);
          if (workspace.config_name() == key.name) concerned.push_back(workspace.key());
        }
        return concerned;
      });
}

}  // namespace workspace_controller

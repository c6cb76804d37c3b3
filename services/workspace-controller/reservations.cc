#include "workspace-controller/reservations.h"

namespace workspace_controller {

Reservations::Session::Session(Reservations& reservations)
    : reservations_(reservations), lock_(&reservations.mutex_) {}

std::optional<kube::ObjectKey> Reservations::Session::HolderOf(const std::string& node,
                                                               const kube::ObjectKey& key) const {
  const auto chosen = reservations_.chosen_by_node_.find(node);
  if (chosen != reservations_.chosen_by_node_.end() && chosen->second != key) {
    return chosen->second;
  }
  const auto recorded = reservations_.recorded_by_node_.find(node);
  if (recorded == reservations_.recorded_by_node_.end() || recorded->second == key) {
    return std::nullopt;
  }
  // A record is older than what this process has decided for that Workspace since.
  if (reservations_.chosen_.contains(recorded->second)) return std::nullopt;
  return recorded->second;
}

void Reservations::Session::Hold(const kube::ObjectKey& key,
                                 const std::vector<std::string>& nodes) {
  Set(key, nodes, reservations_.chosen_, reservations_.chosen_by_node_);
}

void Reservations::Set(const kube::ObjectKey& key, const std::vector<std::string>& nodes,
                       ByWorkspace& by_workspace, ByNode& by_node) {
  for (const std::string& node : by_workspace[key]) {
    const auto found = by_node.find(node);
    if (found != by_node.end() && found->second == key) by_node.erase(found);
  }
  by_workspace[key] = nodes;
  for (const std::string& node : nodes) by_node[node] = key;
}

void Reservations::Record(const kube::ObjectKey& key, const std::vector<std::string>& nodes) {
  absl::MutexLock lock(&mutex_);
  Set(key, nodes, recorded_, recorded_by_node_);
}

void Reservations::Release(const kube::ObjectKey& key) {
  absl::MutexLock lock(&mutex_);
  Set(key, {}, recorded_, recorded_by_node_);
  Set(key, {}, chosen_, chosen_by_node_);
  recorded_.erase(key);
  chosen_.erase(key);
}

}  // namespace workspace_controller

#include "local-cluster/controllers/owner_graph.h"

#include <algorithm>

namespace local_cluster {

void OwnerGraph::Put(const kube::Resource& resource, const kube::Object& object) {
  const std::string uid(object.uid());
  if (uid.empty()) return;
  Remove(uid);
  GraphNode node{.resource = resource,
                 .key = object.key(),
                 .uid = uid,
                 .owners = object.owner_references(),
                 .being_deleted = object.being_deleted(),
                 .foreground = object.HasFinalizer("foregroundDeletion"),
                 .orphan = object.HasFinalizer("orphan")};
  for (const kube::OwnerReference& owner : node.owners) dependents_[owner.uid].insert(uid);
  nodes_.emplace(uid, std::move(node));
}

void OwnerGraph::Remove(const std::string& uid) {
  const auto node = nodes_.find(uid);
  if (node == nodes_.end()) return;
  for (const kube::OwnerReference& owner : node->second.owners) {
    const auto dependents = dependents_.find(owner.uid);
    if (dependents == dependents_.end()) continue;
    dependents->second.erase(uid);
    if (dependents->second.empty()) dependents_.erase(dependents);
  }
  nodes_.erase(node);
}

const GraphNode* OwnerGraph::Find(const std::string& uid) const {
  const auto node = nodes_.find(uid);
  return node == nodes_.end() ? nullptr : &node->second;
}

std::vector<const GraphNode*> OwnerGraph::Dependents(const std::string& uid) const {
  std::vector<const GraphNode*> out;
  const auto dependents = dependents_.find(uid);
  if (dependents == dependents_.end()) return out;
  for (const std::string& dependent : dependents->second) out.push_back(Find(dependent));
  return out;
}

Verdict JudgeByOwners(const GraphNode& node, const std::vector<OwnerState>& states,
                      bool has_blocking_dependents) {
  Verdict verdict;
  if (node.owners.empty() || node.being_deleted) return verdict;
  const bool any_present = std::ranges::count(states, OwnerState::kPresent) > 0;
  const bool any_waits = std::ranges::count(states, OwnerState::kWaitsForDependents) > 0;
  if (any_present) {
    for (size_t i = 0; i < states.size(); ++i) {
      if (states[i] == OwnerState::kAbsent) verdict.absent_uids.push_back(node.owners[i].uid);
    }
    if (!verdict.absent_uids.empty()) verdict.action = Verdict::Action::kDropReferences;
    return verdict;
  }
  verdict.action = Verdict::Action::kDelete;
  // An owner that waits must see the whole tree below it go.
  if (any_waits && has_blocking_dependents) verdict.propagation = "Foreground";
  return verdict;
}

}  // namespace local_cluster

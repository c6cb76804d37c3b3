// Who owns whom, by uid.

#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/kube/client.h"
#include "common/kube/object.h"

namespace local_cluster {

struct GraphNode {
  kube::Resource resource;
  kube::ObjectKey key;
  std::string uid;
  std::vector<kube::OwnerReference> owners;
  bool being_deleted = false;
  bool foreground = false;  // Has the finalizer foregroundDeletion.
  bool orphan = false;      // Has the finalizer orphan.
};

// The picture that watches give of all objects: metadata alone. Not thread-safe.
class OwnerGraph {
 public:
  void Put(const kube::Resource& resource, const kube::Object& object);
  void Remove(const std::string& uid);

  const GraphNode* Find(const std::string& uid) const;
  // Those that name `uid` as an owner.
  std::vector<const GraphNode*> Dependents(const std::string& uid) const;

 private:
  std::map<std::string, GraphNode> nodes_;
  std::map<std::string, std::set<std::string>> dependents_;  // Owner uid → dependents' uids.
};

enum class OwnerState {
  kPresent,
  kAbsent,              // Gone, of another uid, or in another namespace.
  kWaitsForDependents,  // Is being deleted in the foreground.
};

struct Verdict {
  enum class Action {
    kKeep,
    kDelete,          // `propagation` says how.
    kDropReferences,  // Some owners are absent, others are not.
  };
  Action action = Action::kKeep;
  std::string propagation = "Background";
  std::vector<std::string> absent_uids;  // With kDropReferences.
};

// What becomes of an object with these owners. `states` are in their order.
Verdict JudgeByOwners(const GraphNode& node, const std::vector<OwnerState>& states,
                      bool has_blocking_dependents);

}  // namespace local_cluster

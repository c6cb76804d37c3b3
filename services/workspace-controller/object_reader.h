// Where the reconciler reads objects: local copies that informers keep.

#pragma once

#include <optional>
#include <vector>

#include "common/kube/object.h"

namespace workspace_controller {

// Never goes to the network. Thread-safe.
class ObjectReader {
 public:
  virtual ~ObjectReader() = default;

  virtual std::optional<kube::Object> Find(const kube::Resource& resource,
                                           const kube::ObjectKey& key) const = 0;

  // All objects of a kind in key order.
  virtual std::vector<kube::Object> All(const kube::Resource& resource) const = 0;

  // Those with the labels of one Workspace: kaito.sh/workspace with its name, in its namespace (or
  // named by kaito.sh/workspacenamespace, where the kind has none).
  virtual std::vector<kube::Object> OfWorkspace(const kube::Resource& resource,
                                                const kube::ObjectKey& workspace) const = 0;
};

// The Workspace that an object's labels name; an empty name when they name none.
kube::ObjectKey WorkspaceOf(const kube::Object& object);

}  // namespace workspace_controller

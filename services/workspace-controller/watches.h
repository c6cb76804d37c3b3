// Which change concerns which Workspace.

#pragma once

#include <functional>
#include <string>

#include "common/kube/controller.h"
#include "workspace-controller/informer_reader.h"
#include "workspace-controller/reservations.h"
#include "workspace-controller/workspace.h"

namespace workspace_controller {

// Connects every informer of `reader` to `controller`, and records held nodes as the cache shows
// them. Before the informers start; all borrowed.
void WatchAll(kube::Controller& controller, InformerReader& reader, Reservations& reservations,
              const WorkspaceDefaults& defaults);

// Whether a Node's change means anything to those who look for nodes.
bool NodeChanged(const kube::Object& before, const kube::Object& after);

// Whether a Workspace waits for nodes, holds this one, or had it made.
bool ConcernsNode(const Workspace& workspace, const kube::Object& node);

}  // namespace workspace_controller

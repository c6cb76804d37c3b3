// What is shown of a Workspace. Pure: computed from what was observed, never accumulated; only
// `state` and the time of the phase look at the status that was written last.

#pragma once

#include <vector>

#include <boost/json/fwd.hpp>

#include "absl/status/status.h"

#include "common/kube/conditions.h"
#include "workspace-controller/decision.h"
#include "workspace-controller/observed.h"
#include "workspace-controller/workspace.h"

namespace workspace_controller {

struct StatusOptions {
  bool nodes_are_provisioned = true;
};

// The conditions, without times. `applied` is how the writes of this reconcile ended.
std::vector<kube::Condition> ComputeConditions(const Workspace& workspace, const Observed& observed,
                                               const Decision& decision,
                                               const absl::Status& applied,
                                               const StatusOptions& options);

// The whole status member, with times where they changed.
boost::json::value ComputeStatus(const Workspace& workspace, const Observed& observed,
                                 const Decision& decision, const absl::Status& applied,
                                 const StatusOptions& options);

// While it is being deleted this is all there is. `blocked` says what holds the deletion up.
boost::json::value DeletingStatus(const Workspace& workspace, const absl::Status& blocked,
                                  absl::Time now);

}  // namespace workspace_controller

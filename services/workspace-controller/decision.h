// From what was observed to what should be: the plan, the nodes, the claims. Pure.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include <boost/json/fwd.hpp>

#include "common/catalog/node_estimator.h"
#include "workspace-controller/observed.h"
#include "workspace-controller/validation.h"
#include "workspace-controller/workspace.h"

namespace workspace_controller {

struct DecisionOptions {
  ValidationOptions validation;
  int nodes_max = 4;  // Per Workspace, unless its resource.count agrees to more.
};

// Either refused (reason is not empty, nothing new is made), or a plan with what it still lacks.
struct Decision {
  std::string reason;
  std::string message;
  std::string warning;  // Shown beside; hinders nothing.

  std::optional<catalog::NodePlan> plan;
  std::string plan_note;  // Why the plan is as it is, where that needs a word.
  std::string plan_hash;  // Of all inputs that the user controls.

  std::vector<NodeView> nodes;   // Chosen, in name order; at most plan->nodes.
  std::vector<int> claim_slots;  // Claims to create, by ClaimName(); provisioned nodes only.
  // Nodes that others hold and that are lacking here (nodes of the user's own).
  std::vector<std::string> holders;

  bool refused() const { return !reason.empty(); }
  // As many nodes as planned, all ready, with their GPUs.
  bool nodes_ready() const;
};

Decision Decide(const Workspace& workspace, const Observed& observed,
                const catalog::Presets& presets, const catalog::GpuTypes& types,
                const DecisionOptions& options);

// "ws" and nine hexadecimal digits: the claim's name, and the agent pool's. The same at every
// call. `attempt` above 0 is for a name that somebody else's claim has.
std::string ClaimName(const Workspace& workspace, int slot, int attempt = 0);
inline constexpr int kClaimNameAttempts = 4;

// The plan as status shows it, and back. nullopt when the status has none.
boost::json::value PlanJson(const catalog::NodePlan& plan, std::string_view note);
std::optional<catalog::NodePlan> ReadPlan(const kube::Object& workspace);

// Reasons that only the user, or the administrator, can mend.
bool NeedsUser(std::string_view reason);

}  // namespace workspace_controller

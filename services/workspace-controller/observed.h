// What one look at the cluster found: everything that the pure parts of a reconcile read.

#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

#include "common/catalog/gpu_types.h"
#include "common/catalog/presets.h"
#include "common/kube/conditions.h"
#include "common/kube/object.h"
#include "workspace-controller/inference_config.h"
#include "workspace-controller/workspace.h"

namespace workspace_controller {

struct NodeView {
  std::string name;
  std::map<std::string, std::string> labels;
  bool ready = false;
  bool schedulable = true;
  bool being_deleted = false;
  int gpus = 0;                        // Capacity that a device plugin reported.
  std::vector<std::string> pressures;  // "MemoryPressure", …

  std::string label(std::string_view key) const;
};

NodeView ReadNode(const kube::Object& node);

struct ClaimView {
  std::string name;
  std::string instance_type;
  std::string node_name;
  bool being_deleted = false;
  bool initialized = false;
  // The first of Launched, Registered, Initialized that is not True; empty type: none is written.
  kube::Condition waiting_for;
};

ClaimView ReadClaim(const kube::Object& claim);

// What the provisioner answered when asked. Advice only.
struct Advice {
  int startable = 0;
  std::string reason;  // Empty when all can start.
  std::string message;
  std::optional<double> usd_per_hour;
};

struct Observed {
  const catalog::Preset* preset = nullptr;  // nullptr: a template, or a name that nobody knows.
  const catalog::GpuType* type = nullptr;   // nullptr: not in the table, or nodes of the user.

  InferenceConfig config;
  std::string config_text;     // For the hash that replaces pods.
  absl::Status config_status;  // kNotFound: there is no such ConfigMap. kInvalidArgument: bad.
  bool config_exists = false;  // The ConfigMap to mount.

  std::vector<ClaimView> claims;  // Of this Workspace, in name order.
  std::vector<NodeView> nodes;    // All that the selector admits or that were made for it.
  std::map<std::string, std::string> holders;  // Node → Workspace that holds it, if another.

  std::optional<kube::Object> stateful_set;
  std::optional<kube::Object> service;
  std::optional<kube::Object> headless_service;
  std::vector<kube::Object> pods;  // In name order.
  std::optional<Advice> advice;
  absl::Time now;
};

}  // namespace workspace_controller

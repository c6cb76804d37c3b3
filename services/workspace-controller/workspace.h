// The Workspace as the controller reads it: typed, with defaults filled in.

#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/fwd.hpp>

#include "common/kube/object.h"

namespace workspace_controller {

// Keys on Workspaces and on what belongs to them.
inline constexpr std::string_view kFinalizer = "workspace.finalizer.kaito.sh";
inline constexpr std::string_view kWorkspaceLabel = "kaito.sh/workspace";
inline constexpr std::string_view kWorkspaceNamespaceLabel = "kaito.sh/workspacenamespace";
inline constexpr std::string_view kWorkspaceUidAnnotation = "kaito.sh/workspace-uid";
inline constexpr std::string_view kImageFamilyAnnotation = "kaito.sh/node-image-family";
inline constexpr std::string_view kInferenceConfigKey = "inference_config.yaml";
inline constexpr std::string_view kConfigTemplateName = "inference-params-template";

// What a Workspace may leave out.
struct WorkspaceDefaults {
  bool nodes_are_provisioned = true;  // False: the user brings them.
  std::string instance_type = "Standard_NC24ads_A100_v4";
};

struct Adapter {
  std::string name;
  std::string image;
  std::vector<std::string> image_pull_secrets;
  bool has_volume = false;
  bool has_source = false;
  bool has_urls = false;
  std::string strength = "1.0";
};

struct Inference {
  bool has_preset = false;
  std::string preset_name;
  std::string access_mode = "public";
  std::string image;  // Private weights.
  std::vector<std::string> image_pull_secrets;
  std::string model_access_secret;
  bool has_template = false;
  std::string config;  // ConfigMap; empty: the template one.
  std::vector<Adapter> adapters;
};

struct Partition {
  std::string mode;
  std::string profile;
  int count = 0;
};

struct MatchExpression {
  std::string key;
  std::string op;
  std::vector<std::string> values;
};

// A value: copies what it needs, and keeps the object for events, owner references and old status.
struct Workspace {
  kube::Object object;

  std::string name;
  std::string namespace_name;
  std::string uid;
  int64_t generation = 0;

  std::string instance_type;
  int count = 1;
  std::map<std::string, std::string> match_labels;  // Without reserved keys.
  std::vector<MatchExpression> match_expressions;
  std::vector<std::string> reserved_labels;  // Keys that were left out of match_labels.
  std::vector<std::string> preferred_nodes;
  std::optional<Partition> partition;
  std::optional<Inference> inference;
  bool has_tuning = false;

  // Annotations.
  bool load_balancer = false;
  bool bypass_resource_checks = false;
  bool transformers_runtime = false;
  bool use_local_weights = false;
  std::string node_image_family;
  std::string api_keys_secret;

  // From the status that was written last.
  std::vector<std::string> worker_nodes;
  std::string state;

  kube::ObjectKey key() const { return {namespace_name, name}; }
  bool being_deleted() const { return object.being_deleted(); }

  // Of the StatefulSet: the Workspace's own, shortened with a digest above 52 characters.
  std::string workload_name() const;
  std::string headless_service_name() const;
  // The ConfigMap that the pod mounts.
  std::string config_name() const;

  // Whether a node with these labels is one that the selector admits.
  bool Selects(const std::map<std::string, std::string>& labels) const;
};

// Never fails: members of a wrong type count as absent, and validation says what is missing.
Workspace ReadWorkspace(const kube::Object& object, const WorkspaceDefaults& defaults);

// Keys that a label selector may not use: they are the suite's own.
bool IsReservedLabel(std::string_view key);

}  // namespace workspace_controller

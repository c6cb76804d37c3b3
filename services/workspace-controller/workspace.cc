#include "workspace-controller/workspace.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/kube/json.h"
#include "common/net/digest.h"

namespace workspace_controller {
namespace {

namespace json = boost::json;

constexpr size_t kWorkloadNameMax = 52;  // A pod's name and hash must fit into 63.
constexpr size_t kLabelMax = 63;

bool IsTrue(std::string_view text) { return absl::EqualsIgnoreCase(std::string(text), "true"); }

std::string Shortened(const std::string& name) {
  return absl::StrFormat("%s-%s", name.substr(0, 41), net::Sha256Hex(name).substr(0, 10));
}

const json::array& ArrayAt(const json::value& value, std::string_view member) {
  static const json::array* const empty = new json::array();
  const json::value* found = kube::FindPath(value, {member});
  return found != nullptr && found->is_array() ? found->get_array() : *empty;
}

Adapter ReadAdapter(const json::value& value) {
  Adapter adapter{
      .name = std::string(kube::StringAt(value, {"source", "name"})),
      .image = std::string(kube::StringAt(value, {"source", "image"})),
      .image_pull_secrets = kube::StringsAt(value, {"source", "imagePullSecrets"}),
      .has_volume = kube::FindPath(value, {"source", "volumeSource"}) != nullptr,
      .has_source = kube::FindPath(value, {"source"}) != nullptr,
      .has_urls = !kube::StringsAt(value, {"source", "urls"}).empty(),
  };
  const std::string_view strength = kube::StringAt(value, {"strength"});
  if (!strength.empty()) adapter.strength = strength;
  return adapter;
}

Inference ReadInference(const json::value& value) {
  Inference inference{
      .has_preset = kube::FindPath(value, {"preset"}) != nullptr,
      .preset_name = std::string(kube::StringAt(value, {"preset", "name"})),
      .access_mode = std::string(kube::StringAt(value, {"preset", "accessMode"}, "public")),
      .image = std::string(kube::StringAt(value, {"preset", "presetOptions", "image"})),
      .image_pull_secrets = kube::StringsAt(value, {"preset", "presetOptions", "imagePullSecrets"}),
      .model_access_secret =
          std::string(kube::StringAt(value, {"preset", "presetOptions", "modelAccessSecret"})),
      .has_template = kube::FindPath(value, {"template"}) != nullptr,
      .config = std::string(kube::StringAt(value, {"config"})),
  };
  for (const json::value& adapter : ArrayAt(value, "adapters")) {
    inference.adapters.push_back(ReadAdapter(adapter));
  }
  return inference;
}

void ReadSelector(const json::value& selector, Workspace& workspace) {
  if (const json::value* labels = kube::FindPath(selector, {"matchLabels"});
      labels != nullptr && labels->is_object()) {
    for (const auto& [key, value] : labels->get_object()) {
      if (!value.is_string()) continue;
      if (IsReservedLabel(key)) {
        workspace.reserved_labels.emplace_back(key);
      } else {
        workspace.match_labels[std::string(key)] = value.get_string();
      }
    }
  }
  for (const json::value& expression : ArrayAt(selector, "matchExpressions")) {
    MatchExpression read{.key = std::string(kube::StringAt(expression, {"key"})),
                         .op = std::string(kube::StringAt(expression, {"operator"})),
                         .values = kube::StringsAt(expression, {"values"})};
    if (IsReservedLabel(read.key)) {
      workspace.reserved_labels.push_back(read.key);
    } else {
      workspace.match_expressions.push_back(std::move(read));
    }
  }
}

void ReadAnnotations(const kube::Object& object, Workspace& workspace) {
  const auto annotations = object.annotations();
  workspace.load_balancer = IsTrue(object.annotation("kaito.sh/enablelb")) ||
                            IsTrue(object.annotation("kaito.sh/enable-lb"));
  workspace.bypass_resource_checks = annotations.contains("kaito.sh/bypass-resource-checks");
  workspace.transformers_runtime = object.annotation("kaito.sh/runtime") == "transformers";
  workspace.use_local_weights = IsTrue(object.annotation("kaito.sh/use-local-weights"));
  workspace.node_image_family = object.annotation(kImageFamilyAnnotation);
  workspace.api_keys_secret = object.annotation("kaito.sh/api-keys-secret");
}

// Written through the seed's version, which had a default type. The server stores one version, so
// only what kubectl noted down tells.
bool WasAppliedAsV1Alpha1(const kube::Object& object) {
  return absl::StrContains(
      std::string(object.annotation("kubectl.kubernetes.io/last-applied-configuration")),
      "\"apiVersion\":\"kaito.sh/v1alpha1\"");
}

}  // namespace

bool IsReservedLabel(std::string_view key) {
  const std::string_view prefix = key.substr(0, key.find('/'));
  if (prefix == key) return false;  // No prefix at all.
  return prefix == "kaito.sh" || prefix.ends_with(".kaito.sh") || prefix.ends_with(".kaito.io") ||
         prefix == "karpenter.sh";
}

std::string Workspace::workload_name() const {
  return name.size() > kWorkloadNameMax ? Shortened(name) : name;
}

std::string Workspace::headless_service_name() const {
  std::string headless = name + "-headless";
  return headless.size() > kLabelMax ? Shortened(headless) : headless;
}

std::string Workspace::config_name() const {
  if (inference && !inference->config.empty()) return inference->config;
  return std::string(kConfigTemplateName);
}

bool Workspace::Selects(const std::map<std::string, std::string>& labels) const {
  for (const auto& [key, value] : match_labels) {
    const auto found = labels.find(key);
    if (found == labels.end() || found->second != value) return false;
  }
  for (const MatchExpression& expression : match_expressions) {
    const auto found = labels.find(expression.key);
    if (found == labels.end()) return false;
    if (std::ranges::find(expression.values, found->second) == expression.values.end()) {
      return false;
    }
  }
  return true;
}

Workspace ReadWorkspace(const kube::Object& object, const WorkspaceDefaults& defaults) {
  const json::value& value = object.json();
  Workspace workspace{
      .object = object,
      .name = std::string(object.name()),
      .namespace_name = std::string(object.namespace_name()),
      .uid = std::string(object.uid()),
      .generation = object.generation(),
      .instance_type = std::string(object.StringAt({"resource", "instanceType"})),
      .count =
          static_cast<int>(std::clamp<int64_t>(object.IntAt({"resource", "count"}, 1), 1, 100'000)),
      .preferred_nodes = kube::StringsAt(value, {"resource", "preferredNodes"}),
      .has_tuning = object.Find({"tuning"}) != nullptr,
      .worker_nodes = kube::StringsAt(value, {"status", "workerNodes"}),
      .state = std::string(object.StringAt({"status", "state"})),
  };
  if (workspace.instance_type.empty() && defaults.nodes_are_provisioned &&
      WasAppliedAsV1Alpha1(object)) {
    workspace.instance_type = defaults.instance_type;
  }
  if (const json::value* selector = object.Find({"resource", "labelSelector"})) {
    ReadSelector(*selector, workspace);
  }
  if (object.Find({"resource", "partition"}) != nullptr) {
    workspace.partition =
        Partition{.mode = std::string(object.StringAt({"resource", "partition", "mode"})),
                  .profile = std::string(object.StringAt({"resource", "partition", "profile"})),
                  .count = static_cast<int>(object.IntAt({"resource", "partition", "count"}))};
  }
  if (const json::value* inference = object.Find({"inference"})) {
    workspace.inference = ReadInference(*inference);
  }
  ReadAnnotations(object, workspace);
  return workspace;
}

}  // namespace workspace_controller

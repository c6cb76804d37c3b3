#include "workspace-controller/desired_objects.h"

#include "boost/json.hpp"
#include "workspace-controller/object_parts.h"

namespace workspace_controller {
namespace {

namespace json = boost::json;

json::object Requirement(std::string_view key, std::string_view value) {
  return {{"key", key}, {"operator", "In"}, {"values", json::array{value}}};
}

// Labels that a claim hands to its node: the selector's, where it names one value.
json::object SelectorLabels(const Workspace& workspace) {
  json::object labels;
  for (const auto& [key, value] : workspace.match_labels) labels[key] = value;
  for (const MatchExpression& expression : workspace.match_expressions) {
    if (expression.values.size() == 1) labels[expression.key] = expression.values.front();
  }
  return labels;
}

json::array Requirements(const Workspace& workspace, const Observed& observed,
                         const ObjectOptions& options) {
  // The cloud's own spelling, where the user wrote another case.
  const std::string& type =
      observed.type != nullptr ? observed.type->name : workspace.instance_type;
  json::array requirements{Requirement("karpenter.sh/nodepool", "kaito"),
                           Requirement("node.kubernetes.io/instance-type", type),
                           Requirement("kubernetes.io/os", "linux")};
  if (options.cloud_provider == "azure") {
    requirements.push_back(Requirement("karpenter.azure.com/sku-name", type));
  } else if (options.cloud_provider == "aws") {
    requirements.push_back({{"key", "karpenter.k8s.aws/instance-gpu-count"},
                            {"operator", "Gt"},
                            {"values", json::array{"0"}}});
  }
  return requirements;
}

}  // namespace

json::object Metadata(const Workspace& workspace, std::string_view name) {
  return {{"name", name},
          {"namespace", workspace.namespace_name},
          {"labels", {{kWorkspaceLabel, workspace.name}}}};
}

void SetOwner(const Workspace& workspace, json::object& metadata) {
  metadata["ownerReferences"] = json::array{{{"apiVersion", "kaito.sh/v1beta1"},
                                             {"kind", "Workspace"},
                                             {"name", workspace.name},
                                             {"uid", workspace.uid},
                                             {"controller", true},
                                             {"blockOwnerDeletion", true}}};
}

kube::Object Made(std::string_view api_version, std::string_view kind, json::object metadata,
                  std::string_view member, json::value content) {
  return kube::Object(json::object{{"apiVersion", api_version},
                                   {"kind", kind},
                                   {"metadata", std::move(metadata)},
                                   {member, std::move(content)}});
}

std::string DiskFor(const Observed& observed) {
  if (observed.preset != nullptr && !observed.preset->disk.empty()) return observed.preset->disk;
  return "80Gi";
}

kube::Object NodeClaimFor(const Workspace& workspace, const std::string& name,
                          const Observed& observed, const ObjectOptions& options) {
  json::object labels = SelectorLabels(workspace);
  labels["karpenter.sh/nodepool"] = "kaito";
  labels[kWorkspaceLabel] = workspace.name;
  labels[kWorkspaceNamespaceLabel] = workspace.namespace_name;
  json::object annotations{{"karpenter.sh/do-not-disrupt", "true"},
                           {kWorkspaceUidAnnotation, workspace.uid}};
  if (!workspace.node_image_family.empty()) {
    annotations[kImageFamilyAnnotation] = workspace.node_image_family;
  }
  json::object spec{
      {"nodeClassRef", {{"group", "kaito.sh"}, {"kind", "KaitoNodeClass"}, {"name", "default"}}},
      {"requirements", Requirements(workspace, observed, options)},
      {"resources", {{"requests", {{"storage", DiskFor(observed)}}}}},
      {"taints", json::array{{{"key", "sku"}, {"value", "gpu"}, {"effect", "NoSchedule"}}}},
      {"expireAfter", "Never"}};
  return Made(
      "karpenter.sh/v1", "NodeClaim",
      {{"name", name}, {"labels", std::move(labels)}, {"annotations", std::move(annotations)}},
      "spec", std::move(spec));
}

kube::Object ServiceFor(const Workspace& workspace) {
  json::array ports{
      {{"name", "http"}, {"port", 80}, {"protocol", "TCP"}, {"targetPort", kGatewayPort}}};
  if (!workspace.load_balancer) {
    ports.push_back(
        {{"name", "torch"}, {"port", 29500}, {"protocol", "TCP"}, {"targetPort", kRankPort}});
  }
  json::object metadata = Metadata(workspace, workspace.name);
  SetOwner(workspace, metadata);
  return Made(
      "v1", "Service", std::move(metadata), "spec",
      json::object{{"type", workspace.load_balancer ? "LoadBalancer" : "ClusterIP"},
                   {"ports", std::move(ports)},
                   {"selector",
                    {{kWorkspaceLabel, workspace.name},
                     {"statefulset.kubernetes.io/pod-name", workspace.workload_name() + "-0"}}}});
}

kube::Object HeadlessServiceFor(const Workspace& workspace) {
  json::object metadata = Metadata(workspace, workspace.headless_service_name());
  SetOwner(workspace, metadata);
  return Made("v1", "Service", std::move(metadata), "spec",
              json::object{{"clusterIP", "None"},
                           {"publishNotReadyAddresses", true},
                           {"ports", json::array{{{"name", "ranks"},
                                                  {"port", kRankPort},
                                                  {"protocol", "TCP"},
                                                  {"targetPort", kRankPort}}}},
                           {"selector", {{kWorkspaceLabel, workspace.name}}}});
}

kube::Object ConfigTemplateFor(const Workspace& workspace) {
  return Made("v1", "ConfigMap",
              {{"name", kConfigTemplateName}, {"namespace", workspace.namespace_name}}, "data",
              json::object{{kInferenceConfigKey, DefaultInferenceConfig()}});
}

}  // namespace workspace_controller

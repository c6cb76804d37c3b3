#include "workspace-controller/process_flags.h"

#include <algorithm>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"

#include "common/base/status_macros.h"

namespace workspace_controller {
namespace {

absl::Status OneOf(std::string_view flag, const std::string& value,
                   const std::vector<std::string>& allowed) {
  if (std::ranges::find(allowed, value) != allowed.end()) return absl::OkStatus();
  std::string list;
  for (const std::string& name : allowed) list += (list.empty() ? "" : ", ") + name;
  return absl::InvalidArgumentError(
      absl::StrFormat("--%s=%s: must be one of %s", flag, value, list));
}

// Gates of the original. Those that are not built yet are accepted, so that its charts start.
absl::StatusOr<bool> NodesAreProvisioned(const std::vector<std::string>& gates) {
  static const auto* const known = new std::set<std::string>{"vLLM",
                                                             "disableNodeAutoProvisioning",
                                                             "gatewayAPIInferenceExtension",
                                                             "enableInferenceSetController",
                                                             "enableMIG",
                                                             "enableAccelerator",
                                                             "enableMultiRoleInferenceController",
                                                             "ModelMirror",
                                                             "ModelStreaming",
                                                             "enableBaseImageAutoUpgrade",
                                                             "Karpenter"};
  bool provisioned = true;
  for (const std::string& gate : gates) {
    const size_t equals = gate.find('=');
    const std::string name = gate.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : gate.substr(equals + 1);
    if (!known->contains(name)) {
      return absl::InvalidArgumentError(
          absl::StrFormat("--feature-gates: unknown gate \"%s\"; nearest known: %s", name,
                          base::NearestName(name, {known->begin(), known->end()})));
    }
    RETURN_IF_ERROR(OneOf("feature-gates " + name, value, {"true", "false"}));
    if (name == "disableNodeAutoProvisioning") provisioned = value == "false";
  }
  return provisioned;
}

std::string ImageOr(const std::string& given, const std::string& registry, std::string_view name) {
  if (!given.empty()) return given;
  return registry.empty() ? std::string(name) : absl::StrFormat("%s/%s", registry, name);
}

}  // namespace

void DefineFlags(base::FlagSet& set, ProcessFlags& flags) {
  set.Add("kubeconfig", &flags.kubeconfig,
          "kubeconfig file; empty: in-cluster, else ~/.kube/config");
  set.Add("cloud_provider", &flags.cloud_provider, "azure, aws, arc or local; CLOUD_PROVIDER");
  set.Add("node_provisioner", &flags.node_provisioner,
          "who makes nodes: azure-gpu-provisioner, or byo for nodes that users bring");
  set.Add("presets_dir", &flags.presets_dir, "folder of model presets");
  set.Add("gpu_types_dir", &flags.gpu_types_dir, "folder of GPU types");
  set.Add("provisioner", &flags.provisioner,
          "gRPC target of gpu-provisioner, for advice; empty: it is not asked");
  set.Add("pod_bind", &flags.pod_bind,
          "where servers in pods listen: all, or pod-ip where pods share a network");
  set.Add("webhook", &flags.webhook,
          "admission webhook; not served by this version, the CRD and the controller validate");
  set.Add("metrics_bind_address", &flags.metrics_bind_address, "address of /metrics; 0: none");
  set.Add("health_probe_bind_address", &flags.health_probe_bind_address,
          "address of /healthz and /readyz; 0: none");
  set.Add("leader_elect", &flags.leader_elect, "reconcile only while holding the Lease");
  set.Add("leader_election_namespace", &flags.leader_election_namespace,
          "namespace of the Lease; RELEASE_NAMESPACE");
  set.Add("preset_registry", &flags.preset_registry,
          "registry and path of our images; PRESET_REGISTRY_NAME");
  set.Add("model_server_image", &flags.model_server_image,
          "image of model-server; empty: from the registry");
  set.Add("gateway_image", &flags.gateway_image, "image of gateway; empty: from the registry");
  set.Add("image_pull_policy", &flags.image_pull_policy,
          "Always, IfNotPresent, Never; empty: the cluster's default");
  set.Add("probe_period", &flags.probe_period,
          "startup and readiness probes; 0: 1s with --pod_bind=pod-ip, else 10s and 5s");
  set.Add("default_instance_type", &flags.default_instance_type,
          "for v1alpha1 Workspaces that name none");
  set.Add("max_nodes_per_workspace", &flags.max_nodes_per_workspace,
          "more only if the Workspace's resource.count agrees");
  set.Add("served_architectures", &flags.served_architectures,
          "model architectures that the model server runs; empty: all");
  set.Add("feature_gates", &flags.feature_gates, "name=true|false, comma-separated");
  set.Add("kube_client_qps", &flags.kube_client_qps, "calls per second to the API server; 0: any");
  set.Add("kube_client_burst", &flags.kube_client_burst, "calls at once, with a limit");
  set.Add("workers", &flags.workers, "Workspaces reconciled at the same time");
  set.Add("log_level", &flags.log_level, "debug, info, warning, error");
  set.Add("log_format", &flags.log_format, "json or text");
  for (const char* name : {"strict_admission", "claim_kind", "tuner_image", "reap_leaked_nodes",
                           "default_node_image_family"}) {
    set.AddIgnored(name);
  }
  set.AddExample("workspace-controller --kubeconfig ~/.kube/config --cloud_provider azure");
}

absl::StatusOr<ReconcilerOptions> OptionsFrom(const ProcessFlags& flags) {
  RETURN_IF_ERROR(OneOf("cloud_provider", flags.cloud_provider, {"azure", "aws", "arc", "local"}));
  RETURN_IF_ERROR(
      OneOf("node_provisioner", flags.node_provisioner, {"azure-gpu-provisioner", "byo"}));
  RETURN_IF_ERROR(OneOf("pod_bind", flags.pod_bind, {"all", "pod-ip"}));
  RETURN_IF_ERROR(OneOf("log_format", flags.log_format, {"json", "text"}));
  if (flags.workers < 1 || flags.workers > 64) {
    return absl::InvalidArgumentError("--workers: must be from 1 to 64");
  }
  if (flags.max_nodes_per_workspace < 1) {
    return absl::InvalidArgumentError("--max_nodes_per_workspace: must be at least 1");
  }
  ASSIGN_OR_RETURN(bool provisioned, NodesAreProvisioned(flags.feature_gates));
  provisioned = provisioned && flags.node_provisioner != "byo";

  ReconcilerOptions options;
  options.defaults = {.nodes_are_provisioned = provisioned,
                      .instance_type = flags.default_instance_type};
  options.decision.validation = {.cloud_provider = flags.cloud_provider,
                                 .nodes_are_provisioned = provisioned,
                                 .served_architectures = flags.served_architectures};
  options.decision.nodes_max = flags.max_nodes_per_workspace;
  options.objects = {
      .cloud_provider = flags.cloud_provider,
      .model_server_image =
          ImageOr(flags.model_server_image, flags.preset_registry, "model-server"),
      .gateway_image = ImageOr(flags.gateway_image, flags.preset_registry, "gateway"),
      .image_pull_policy = flags.image_pull_policy,
      .bind_pod_ip = flags.pod_bind == "pod-ip",
      .probe_period = flags.probe_period};
  if (options.objects.bind_pod_ip && flags.probe_period == absl::ZeroDuration()) {
    options.objects.probe_period = absl::Seconds(1);
  }
  options.status.nodes_are_provisioned = provisioned;
  return options;
}

absl::StatusOr<BindAddress> ParseBindAddress(std::string_view text) {
  if (text.empty() || text == "0") return BindAddress{.port = -1};
  const size_t colon = text.rfind(':');
  int port = 0;
  if (colon == std::string_view::npos ||
      !absl::SimpleAtoi(std::string(text.substr(colon + 1)), &port) || port < 0 || port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrFormat("\"%s\" is no address such as 127.0.0.1:8080", text));
  }
  std::string host(text.substr(0, colon));
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  return BindAddress{.host = host.empty() ? "0.0.0.0" : host, .port = port};
}

}  // namespace workspace_controller

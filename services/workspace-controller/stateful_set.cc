#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/net/digest.h"
#include "workspace-controller/desired_objects.h"
#include "workspace-controller/object_parts.h"

namespace workspace_controller {
namespace {

namespace json = boost::json;

constexpr int kGrpcPort = 8001;
constexpr int kOpsPort = 8002;
constexpr std::string_view kWeightsVolume = "model-weights-volume";
// Where pods share a network the proxies hear of an ending pod at once: no need to serve on for as
// long as a cluster's endpoints take.
constexpr std::string_view kQuickDrain = "--drain_grace=500ms";
constexpr std::string_view kWeightsPath = "/workspace/weights";

std::string ServedName(const Workspace& workspace, const Observed& observed) {
  if (observed.preset != nullptr) return observed.preset->short_name();
  return workspace.inference->preset_name;
}

// The folder of the node that holds a model's files.
std::string LocalWeightsPath(const Workspace& workspace, const Observed& observed) {
  std::string id = ServedName(workspace, observed);
  absl::AsciiStrToLower(&id);
  std::ranges::replace_if(id, [](char c) { return c == '/' || c == '\\'; }, '-');
  return "/opt/kaito/models/" + id;
}

json::array Volumes(const Workspace& workspace, const Observed& observed) {
  json::array volumes{{{"name", "dshm"}, {"emptyDir", {{"medium", "Memory"}}}},
                      {{"name", "config"}, {"configMap", {{"name", workspace.config_name()}}}}};
  json::object weights{{"name", kWeightsVolume}};
  if (workspace.use_local_weights) {
    weights["hostPath"] = {{"path", LocalWeightsPath(workspace, observed)}, {"type", "Directory"}};
  } else {
    weights["emptyDir"] = json::object();
  }
  volumes.push_back(std::move(weights));
  if (!workspace.api_keys_secret.empty()) {
    volumes.push_back(
        {{"name", "api-keys"}, {"secret", {{"secretName", workspace.api_keys_secret}}}});
  }
  return volumes;
}

json::object Mount(std::string_view name, std::string_view path, bool read_only) {
  json::object mount{{"name", name}, {"mountPath", path}};
  if (read_only) mount["readOnly"] = true;
  return mount;
}

json::object Probe(std::string_view path, int port, absl::Duration period, int failures) {
  return {{"httpGet", {{"path", path}, {"port", port}}},
          {"periodSeconds", std::max<int64_t>(1, absl::ToInt64Seconds(period))},
          {"failureThreshold", failures},
          {"timeoutSeconds", 5}};
}

json::object SecurityContext() {
  return {{"allowPrivilegeEscalation", false},
          {"capabilities", {{"drop", json::array{"ALL"}}}},
          {"readOnlyRootFilesystem", true},
          {"runAsNonRoot", true},
          {"seccompProfile", {{"type", "RuntimeDefault"}}}};
}

json::object FieldEnv(std::string_view name, std::string_view field) {
  return {{"name", name}, {"valueFrom", {{"fieldRef", {{"fieldPath", field}}}}}};
}

json::object Container(std::string_view name, std::string_view image,
                       const ObjectOptions& options) {
  json::object container{{"name", name}, {"image", image}, {"securityContext", SecurityContext()}};
  if (!options.image_pull_policy.empty()) container["imagePullPolicy"] = options.image_pull_policy;
  return container;
}

json::array ServerArgs(const Workspace& workspace, const Observed& observed,
                       const ObjectOptions& options) {
  const std::string_view address = options.bind_pod_ip ? "$(POD_IP)" : "0.0.0.0";
  json::array args{absl::StrFormat("--model=%s", kWeightsPath),
                   absl::StrFormat("--served_model_name=%s", ServedName(workspace, observed)),
                   absl::StrFormat("--bind_address=%s", address),
                   absl::StrFormat("--grpc_port=%d", kGrpcPort),
                   absl::StrFormat("--ops_port=%d", kOpsPort)};
  if (options.bind_pod_ip) args.emplace_back(kQuickDrain);
  if (observed.config.max_model_len > 0) {
    args.emplace_back(absl::StrFormat("--max_model_len=%d", observed.config.max_model_len));
  }
  return args;
}

json::array ServerEnv(const Workspace& workspace, const Decision& decision) {
  json::array env{FieldEnv("POD_IP", "status.podIP")};
  if (!workspace.inference->model_access_secret.empty()) {
    env.push_back(json::object{{"name", "HF_TOKEN"},
                               {"valueFrom",
                                {{"secretKeyRef",
                                  {{"name", workspace.inference->model_access_secret},
                                   {"key", "HF_TOKEN"},
                                   {"optional", true}}}}}});
  }
  if (decision.plan->nodes > 1) {
    env.push_back(FieldEnv("POD_INDEX", "metadata.labels['apps.kubernetes.io/pod-index']"));
  }
  return env;
}

json::object ModelServer(const Workspace& workspace, const Observed& observed,
                         const Decision& decision, const ObjectOptions& options) {
  json::object container =
      Container(workspace.workload_name(), options.model_server_image, options);
  container["args"] = ServerArgs(workspace, observed, options);
  container["env"] = ServerEnv(workspace, decision);
  container["ports"] = json::array{{{"name", "grpc"}, {"containerPort", kGrpcPort}},
                                   {{"name", "ops"}, {"containerPort", kOpsPort}},
                                   {{"name", "ranks"}, {"containerPort", kRankPort}}};
  container["volumeMounts"] =
      json::array{Mount("dshm", "/dev/shm", false),
                  Mount(kWeightsVolume, kWeightsPath, workspace.use_local_weights),
                  Mount("config", "/mnt/config", true)};
  if (decision.plan->gpus_per_node > 0) {
    const json::object gpus{{"nvidia.com/gpu", std::to_string(decision.plan->gpus_per_node)}};
    container["resources"] = {{"limits", gpus}, {"requests", gpus}};
  }
  const bool quick = options.probe_period > absl::ZeroDuration();
  const absl::Duration startup = quick ? options.probe_period : absl::Seconds(10);
  const absl::Duration readiness = quick ? options.probe_period : absl::Seconds(5);
  absl::Duration limit =
      StartupLimit(observed.preset != nullptr ? observed.preset->weights_bytes : 0);
  if (observed.preset != nullptr && observed.preset->ready_minutes > 0) {
    limit = absl::Minutes(observed.preset->ready_minutes);
  }
  const auto tries = static_cast<int>(absl::Ceil(limit, startup) / startup);
  container["startupProbe"] = Probe("/readyz", kOpsPort, startup, tries);
  container["livenessProbe"] = Probe("/livez", kOpsPort, absl::Seconds(10), 3);
  container["readinessProbe"] = Probe("/readyz", kOpsPort, readiness, 3);
  return container;
}

json::object Gateway(const Workspace& workspace, const ObjectOptions& options) {
  const std::string_view address = options.bind_pod_ip ? "$(POD_IP)" : "0.0.0.0";
  const std::string_view server = options.bind_pod_ip ? "$(POD_IP)" : "127.0.0.1";
  json::object container = Container("gateway", options.gateway_image, options);
  json::array args{absl::StrFormat("--model_server=%s:%d", server, kGrpcPort),
                   absl::StrFormat("--bind_address=%s", address),
                   absl::StrFormat("--port=%d", kGatewayPort)};
  if (workspace.api_keys_secret.empty()) {
    args.emplace_back("--allow_anonymous");
  } else {
    args.emplace_back("--api_keys_file=/mnt/api-keys/keys");
    container["volumeMounts"] = json::array{Mount("api-keys", "/mnt/api-keys", true)};
  }
  if (options.bind_pod_ip) args.emplace_back(kQuickDrain);
  container["args"] = std::move(args);
  container["env"] = json::array{FieldEnv("POD_IP", "status.podIP")};
  container["ports"] = json::array{{{"name", "http"}, {"containerPort", kGatewayPort}}};
  const bool quick = options.probe_period > absl::ZeroDuration();
  const absl::Duration readiness = quick ? options.probe_period : absl::Seconds(5);
  container["livenessProbe"] = Probe("/livez", kGatewayPort, absl::Seconds(10), 3);
  container["readinessProbe"] = Probe("/livez", kGatewayPort, readiness, 3);
  return container;
}

json::array Tolerations() {
  return {{{"key", "nvidia.com/gpu"}, {"operator", "Exists"}},
          {{"key", "sku"}, {"operator", "Equal"}, {"value", "gpu"}, {"effect", "NoSchedule"}}};
}

json::object InExpression(std::string_view key, json::array values) {
  return {{"key", key}, {"operator", "In"}, {"values", std::move(values)}};
}

// Only the nodes that this Workspace holds, by host name, and one pod on each.
json::object Affinity(const Workspace& workspace, const Decision& decision) {
  json::array expressions;
  for (const auto& [key, value] : workspace.match_labels) {
    expressions.push_back(InExpression(key, json::array{value}));
  }
  for (const MatchExpression& expression : workspace.match_expressions) {
    json::array values(expression.values.begin(), expression.values.end());
    expressions.push_back(InExpression(expression.key, std::move(values)));
  }
  std::set<std::string> hosts;
  for (const NodeView& node : decision.nodes) {
    const std::string host = node.label("kubernetes.io/hostname");
    hosts.insert(host.empty() ? node.name : host);
  }
  expressions.push_back(
      InExpression("kubernetes.io/hostname", json::array(hosts.begin(), hosts.end())));
  json::object affinity{
      {"nodeAffinity",
       {{"requiredDuringSchedulingIgnoredDuringExecution",
         {{"nodeSelectorTerms", json::array{{{"matchExpressions", std::move(expressions)}}}}}}}}};
  if (decision.plan->nodes > 1) {
    affinity["podAntiAffinity"] = {
        {"requiredDuringSchedulingIgnoredDuringExecution",
         json::array{{{"labelSelector", {{"matchLabels", {{kWorkspaceLabel, workspace.name}}}}},
                      {"topologyKey", "kubernetes.io/hostname"}}}}};
  }
  return affinity;
}

json::array PullSecrets(const Workspace& workspace) {
  json::array secrets;
  for (const std::string& name : workspace.inference->image_pull_secrets) {
    secrets.push_back(json::object{{"name", name}});
  }
  return secrets;
}

json::object PresetPodSpec(const Workspace& workspace, const Observed& observed,
                           const Decision& decision, const ObjectOptions& options) {
  json::object spec{{"containers", json::array{ModelServer(workspace, observed, decision, options),
                                               Gateway(workspace, options)}},
                    {"volumes", Volumes(workspace, observed)},
                    {"automountServiceAccountToken", false},
                    {"terminationGracePeriodSeconds", 30}};
  if (json::array secrets = PullSecrets(workspace); !secrets.empty()) {
    spec["imagePullSecrets"] = std::move(secrets);
  }
  return spec;
}

// The user's pod spec as it is, but on the nodes of this Workspace.
json::object TemplatePodSpec(const Workspace& workspace) {
  const json::value* spec = workspace.object.Find({"inference", "template", "spec"});
  return spec != nullptr && spec->is_object() ? spec->get_object() : json::object();
}

json::object TemplateLabels(const Workspace& workspace) {
  json::object labels;
  const json::value* given = workspace.object.Find({"inference", "template", "metadata", "labels"});
  if (given != nullptr && given->is_object()) labels = given->get_object();
  labels[kWorkspaceLabel] = workspace.name;
  return labels;
}

}  // namespace

kube::Object StatefulSetFor(const Workspace& workspace, const Observed& observed,
                            const Decision& decision, const ObjectOptions& options) {
  const bool is_template = workspace.inference->has_template;
  json::object pod = is_template ? TemplatePodSpec(workspace)
                                 : PresetPodSpec(workspace, observed, decision, options);
  json::array tolerations = Tolerations();
  if (const auto* own = pod.if_contains("tolerations"); own != nullptr && own->is_array()) {
    for (const json::value& toleration : own->get_array()) tolerations.push_back(toleration);
  }
  pod["tolerations"] = std::move(tolerations);
  pod["affinity"] = Affinity(workspace, decision);
  json::object pod_metadata{
      {"labels",
       is_template ? TemplateLabels(workspace) : json::object{{kWorkspaceLabel, workspace.name}}},
      {"annotations",
       {{"kaito.sh/config-hash", net::Sha256Hex(observed.config_text).substr(0, 16)}}}};

  json::object metadata = Metadata(workspace, workspace.workload_name());
  metadata["annotations"] = {{"workspace.kaito.io/plan-hash", decision.plan_hash}};
  SetOwner(workspace, metadata);
  return Made("apps/v1", "StatefulSet", std::move(metadata), "spec",
              json::object{
                  {"replicas", decision.plan->nodes},
                  {"serviceName", workspace.headless_service_name()},
                  {"podManagementPolicy", "Parallel"},
                  {"selector", {{"matchLabels", {{kWorkspaceLabel, workspace.name}}}}},
                  {"template", {{"metadata", std::move(pod_metadata)}, {"spec", std::move(pod)}}}});
}

absl::Duration StartupLimit(int64_t weights_bytes) {
  if (weights_bytes <= 0) return absl::Minutes(30);
  const double gib = static_cast<double>(weights_bytes) / (1 << 30);
  const absl::Duration limit = absl::Minutes(15) + gib * absl::Seconds(18);
  return std::clamp(limit, absl::Minutes(30), absl::Minutes(180));
}

}  // namespace workspace_controller

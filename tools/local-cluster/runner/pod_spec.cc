#include "local-cluster/runner/pod_spec.h"

#include <algorithm>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/status_macros.h"
#include "common/kube/json.h"

namespace local_cluster {
namespace {

namespace json = boost::json;

using Ports = std::map<std::string, int, std::less<>>;

const json::array& ArrayAt(const json::value& value, std::initializer_list<std::string_view> path) {
  static const json::array kEmpty;
  const json::value* found = kube::FindPath(value, path);
  return found != nullptr && found->is_array() ? found->get_array() : kEmpty;
}

const json::value* ObjectAt(const json::value& value, std::string_view member) {
  const json::value* found = kube::FindPath(value, {member});
  return found != nullptr && found->is_object() ? found : nullptr;
}

absl::StatusOr<int> ResolvePort(const json::value& action, const Ports& ports) {
  const json::value* port = kube::FindPath(action, {"port"});
  if (port == nullptr) return absl::InvalidArgumentError("a probe without a port");
  if (port->is_string()) {
    const std::string_view name(port->get_string().data(), port->get_string().size());
    const auto found = ports.find(name);
    if (found != ports.end()) return found->second;
    return absl::InvalidArgumentError(
        absl::StrFormat("a probe names port %s, which the container does not have", name));
  }
  const int64_t number = kube::IntAt(action, {"port"});
  if (number < 1 || number > 65535) return absl::InvalidArgumentError("a probe's port is no port");
  return static_cast<int>(number);
}

absl::StatusOr<ActionSpec> ParseHttpGet(const json::value& http, const Ports& ports) {
  ActionSpec action;
  action.kind = ActionSpec::Kind::kHttpGet;
  action.scheme = kube::StringAt(http, {"scheme"}, "HTTP");
  action.host = kube::StringAt(http, {"host"});
  action.path = kube::StringAt(http, {"path"}, "/");
  for (const json::value& header : ArrayAt(http, {"httpHeaders"})) {
    action.headers.emplace_back(kube::StringAt(header, {"name"}),
                                kube::StringAt(header, {"value"}));
  }
  ASSIGN_OR_RETURN(action.port, ResolvePort(http, ports));
  return action;
}

absl::StatusOr<std::optional<ActionSpec>> ParseAction(const json::value& handler,
                                                      const Ports& ports) {
  ActionSpec action;
  if (const json::value* exec = ObjectAt(handler, "exec")) {
    action.command = kube::StringsAt(*exec, {"command"});
    return action;
  }
  if (const json::value* http = ObjectAt(handler, "httpGet")) {
    ASSIGN_OR_RETURN(action, ParseHttpGet(*http, ports));
    return action;
  }
  if (const json::value* tcp = ObjectAt(handler, "tcpSocket")) {
    action.kind = ActionSpec::Kind::kTcpSocket;
    action.host = kube::StringAt(*tcp, {"host"});
    ASSIGN_OR_RETURN(action.port, ResolvePort(*tcp, ports));
    return action;
  }
  if (const json::value* grpc = ObjectAt(handler, "grpc")) {
    action.kind = ActionSpec::Kind::kGrpc;
    action.service = kube::StringAt(*grpc, {"service"});
    ASSIGN_OR_RETURN(action.port, ResolvePort(*grpc, ports));
    return action;
  }
  if (const json::value* sleep = ObjectAt(handler, "sleep")) {
    action.kind = ActionSpec::Kind::kSleep;
    action.sleep = absl::Seconds(kube::IntAt(*sleep, {"seconds"}));
    return action;
  }
  return std::nullopt;
}

absl::StatusOr<std::optional<ProbeSpec>> ParseProbe(const json::value& container,
                                                    std::string_view member, const Ports& ports) {
  const json::value* value = ObjectAt(container, member);
  if (value == nullptr) return std::nullopt;
  ASSIGN_OR_RETURN(const std::optional<ActionSpec> action, ParseAction(*value, ports));
  if (!action) return std::nullopt;
  const auto seconds = [&](std::string_view name, int64_t otherwise, int64_t least) {
    return absl::Seconds(std::max(least, kube::IntAt(*value, {name}, otherwise)));
  };
  const auto count = [&](std::string_view name, int64_t otherwise) {
    return static_cast<int>(
        std::clamp<int64_t>(kube::IntAt(*value, {name}, otherwise), 1, 1 << 20));
  };
  ProbeSpec probe;
  probe.action = *action;
  probe.initial_delay = seconds("initialDelaySeconds", 0, 0);
  probe.period = seconds("periodSeconds", 10, 1);
  probe.timeout = seconds("timeoutSeconds", 1, 1);
  probe.success_threshold = count("successThreshold", 1);
  probe.failure_threshold = count("failureThreshold", 3);
  return probe;
}

std::vector<MountSpec> ParseMounts(const json::value& container) {
  std::vector<MountSpec> mounts;
  for (const json::value& mount : ArrayAt(container, {"volumeMounts"})) {
    mounts.push_back({.volume = std::string(kube::StringAt(mount, {"name"})),
                      .path = std::string(kube::StringAt(mount, {"mountPath"})),
                      .sub_path = std::string(kube::StringAt(mount, {"subPath"})),
                      .read_only = kube::BoolAt(mount, {"readOnly"})});
  }
  return mounts;
}

absl::StatusOr<ContainerSpec> ParseContainer(const json::value& value, bool init) {
  ContainerSpec container;
  container.init = init;
  container.sidecar = init && kube::StringAt(value, {"restartPolicy"}) == "Always";
  container.name = kube::StringAt(value, {"name"});
  container.image = kube::StringAt(value, {"image"});
  container.command = kube::StringsAt(value, {"command"});
  container.args = kube::StringsAt(value, {"args"});
  container.working_dir = kube::StringAt(value, {"workingDir"});
  container.mounts = ParseMounts(value);
  container.termination_message_path =
      kube::StringAt(value, {"terminationMessagePath"}, "/dev/termination-log");
  container.message_from_logs =
      kube::StringAt(value, {"terminationMessagePolicy"}) == "FallbackToLogsOnError";
  container.memory_limit_bytes = static_cast<int64_t>(
      kube::ParseQuantity(kube::StringAt(value, {"resources", "limits", "memory"})).value_or(0));

  Ports ports;
  for (const json::value& port : ArrayAt(value, {"ports"})) {
    ports.emplace(kube::StringAt(port, {"name"}),
                  static_cast<int>(kube::IntAt(port, {"containerPort"})));
  }
  ASSIGN_OR_RETURN(container.startup, ParseProbe(value, "startupProbe", ports));
  ASSIGN_OR_RETURN(container.liveness, ParseProbe(value, "livenessProbe", ports));
  ASSIGN_OR_RETURN(container.readiness, ParseProbe(value, "readinessProbe", ports));
  if (const json::value* hook = kube::FindPath(value, {"lifecycle", "preStop"})) {
    ASSIGN_OR_RETURN(container.pre_stop, ParseAction(*hook, ports));
  }
  return container;
}

}  // namespace

const ContainerSpec* PodSpec::Find(std::string_view name) const {
  const auto found = std::ranges::find(containers, name, &ContainerSpec::name);
  return found == containers.end() ? nullptr : &*found;
}

absl::StatusOr<PodSpec> ParsePodSpec(const kube::Object& pod) {
  PodSpec spec;
  for (const bool init : {true, false}) {
    for (const json::value& value :
         ArrayAt(pod.json(), {"spec", init ? "initContainers" : "containers"})) {
      ASSIGN_OR_RETURN(ContainerSpec container, ParseContainer(value, init));
      spec.containers.push_back(std::move(container));
    }
  }
  const std::string_view policy = pod.StringAt({"spec", "restartPolicy"});
  spec.restart_policy = policy == "Never"       ? RestartPolicy::kNever
                        : policy == "OnFailure" ? RestartPolicy::kOnFailure
                                                : RestartPolicy::kAlways;
  spec.grace = absl::Seconds(pod.IntAt({"spec", "terminationGracePeriodSeconds"}, 30));
  if (const int64_t seconds = pod.IntAt({"spec", "activeDeadlineSeconds"}); seconds > 0) {
    spec.active_deadline = absl::Seconds(seconds);
  }
  spec.host_network = pod.BoolAt({"spec", "hostNetwork"});
  return spec;
}

}  // namespace local_cluster

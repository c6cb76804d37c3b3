#include "local-cluster/azure/node_writer.h"

#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/log.h"
#include "common/base/status_macros.h"

namespace local_cluster::azure {
namespace {

using boost::json::array;
using boost::json::object;
using boost::json::value;

object Resources(int gpus) {
  struct sysinfo info{};
  sysinfo(&info);
  object resources{{"cpu", absl::StrFormat("%d", sysconf(_SC_NPROCESSORS_ONLN))},
                   {"memory", absl::StrFormat("%dKi", info.totalram * info.mem_unit / 1024)},
                   {"ephemeral-storage", "100Gi"},
                   {"pods", "250"}};
  if (gpus > 0) resources["nvidia.com/gpu"] = absl::StrFormat("%d", gpus);
  return resources;
}

object Condition(std::string_view type, bool value, std::string_view reason, absl::Time now) {
  return {{"type", std::string(type)},
          {"status", value ? "True" : "False"},
          {"reason", std::string(reason)},
          {"message", ""},
          {"lastHeartbeatTime", kube::FormatTime(now)},
          {"lastTransitionTime", kube::FormatTime(now)}};
}

object ReadyStatus(bool ready, absl::Time now) {
  return {{"conditions",
           array{Condition("MemoryPressure", false, "KubeletHasSufficientMemory", now),
                 Condition("DiskPressure", false, "KubeletHasNoDiskPressure", now),
                 Condition("PIDPressure", false, "KubeletHasSufficientPID", now),
                 Condition("Ready", ready, ready ? "KubeletReady" : "KubeletNotReady", now)}}};
}

object NodeStatus(const NodeSpec& node, absl::Time now) {
  utsname system{};
  uname(&system);
  object status = ReadyStatus(true, now);
  status["capacity"] = status["allocatable"] = Resources(node.with_gpu ? node.gpus : 0);
  status["addresses"] = array{object{{"type", "InternalIP"}, {"address", "127.0.0.1"}},
                              object{{"type", "Hostname"}, {"address", node.name}}};
  status["nodeInfo"] = object{{"architecture", node.arch},
                              {"operatingSystem", "linux"},
                              {"osImage", node.image_version},
                              {"kernelVersion", system.release},
                              {"kubeletVersion", "v1.33.0"},
                              {"kubeProxyVersion", "v1.33.0"},
                              {"containerRuntimeVersion", "local://1"},
                              {"machineID", node.name},
                              {"systemUUID", node.name},
                              {"bootID", node.name}};
  return status;
}

// "key=value:effect"; nullptr when it is none.
value TaintOf(const std::string& text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) return nullptr;
  const size_t equals = text.find('=');
  const bool has_value = equals != std::string::npos && equals < colon;
  object taint{{"key", text.substr(0, has_value ? equals : colon)},
               {"effect", text.substr(colon + 1)}};
  if (has_value && equals + 1 < colon) taint["value"] = text.substr(equals + 1, colon - equals - 1);
  return taint;
}

}  // namespace

void NodeWriter::Push(NodeAction action) {
  absl::MutexLock lock(&mutex_);
  actions_.push_back(std::move(action));
}

bool NodeWriter::empty() const {
  absl::MutexLock lock(&mutex_);
  return actions_.empty();
}

bool NodeWriter::Flush() {
  while (true) {
    NodeAction action;
    {
      absl::MutexLock lock(&mutex_);
      if (actions_.empty()) return true;
      action = actions_.front();
    }
    const absl::Status status = Write(action);
    const bool settled = status.ok() || absl::IsNotFound(status) || absl::IsAlreadyExists(status) ||
                         absl::IsInvalidArgument(status);
    if (!settled) {
      base::LogWarning("node could not be written",
                       {{"node", action.node.name}, {"error", status}});
      return false;
    }
    if (absl::IsInvalidArgument(status)) {
      base::LogError("node is refused by the API server",
                     {{"node", action.node.name}, {"error", status}});
    }
    absl::MutexLock lock(&mutex_);
    actions_.pop_front();
  }
}

absl::Status NodeWriter::Create(const NodeSpec& node) {
  object labels;
  for (const auto& [key, text] : node.labels) labels[key] = text;
  array taints;
  for (const std::string& text : node.taints) {
    if (const value taint = TaintOf(text); taint.is_object()) taints.push_back(taint);
  }
  kube::Object json(
      object{{"apiVersion", "v1"},
             {"kind", "Node"},
             {"metadata", object{{"name", node.name}, {"labels", std::move(labels)}}},
             {"spec", object{{"providerID", node.provider_id}, {"taints", std::move(taints)}}}});
  const auto created = client_.Create(kube::resources::kNodes, json);
  // After a restart of the cluster the Node may be there already.
  if (!absl::IsAlreadyExists(created.status())) RETURN_IF_ERROR(created.status());
  return client_
      .Patch(kube::resources::kNodes, {"", node.name}, kube::PatchType::kMerge,
             object{{"status", NodeStatus(node, clock_.Now())}}, {}, "status")
      .status();
}

absl::Status NodeWriter::Write(const NodeAction& action) {
  const kube::ObjectKey key{"", action.node.name};
  object status;
  switch (action.kind) {
    case NodeAction::Kind::kCreate:
      return Create(action.node);
    case NodeAction::Kind::kDelete:
      return client_.Delete(kube::resources::kNodes, key);
    case NodeAction::Kind::kSetReady:
      status = ReadyStatus(action.value, clock_.Now());
      break;
    case NodeAction::Kind::kSetGpu: {
      status["capacity"] = Resources(action.value ? action.node.gpus : 0);
      if (!action.value) status["capacity"].as_object()["nvidia.com/gpu"] = nullptr;
      status["allocatable"] = status["capacity"];
      break;
    }
    case NodeAction::Kind::kEvict:
      status["conditions"] =
          array{Condition("VMEventScheduled", true, "PreemptScheduled", clock_.Now()),
                Condition("Ready", false, "KubeletNotReady", clock_.Now())};
      break;
  }
  return client_
      .Patch(kube::resources::kNodes, key, kube::PatchType::kMerge, object{{"status", status}}, {},
             "status")
      .status();
}

}  // namespace local_cluster::azure

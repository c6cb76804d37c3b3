#include "local-cluster/runner/node_heartbeat.h"

#include <utility>
#include <vector>

#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

#include "boost/json.hpp"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/base/thread.h"
#include "common/kube/json.h"

namespace local_cluster {
namespace {

namespace json = boost::json;

constexpr absl::Duration kInterval = absl::Seconds(10);
constexpr int kLeaseSeconds = 40;
constexpr char kLeaseNamespace[] = "kube-node-lease";

json::value ReadyCondition(absl::Time now) {
  return json::object{{"type", "Ready"},
                      {"status", "True"},
                      {"reason", "KubeletReady"},
                      {"message", "kubelet is posting ready status"},
                      {"lastHeartbeatTime", kube::FormatTime(now)},
                      {"lastTransitionTime", kube::FormatTime(now)}};
}

json::value LocalNodeStatus() {
  struct sysinfo info{};
  sysinfo(&info);
  utsname system{};
  uname(&system);
  const json::object resources{
      {"cpu", std::to_string(sysconf(_SC_NPROCESSORS_ONLN))},
      {"memory", absl::StrFormat("%dKi", info.totalram * info.mem_unit / 1024)},
      {"ephemeral-storage", "100Gi"},
      {"pods", "250"}};
  return json::object{
      {"capacity", resources},
      {"allocatable", resources},
      {"addresses", json::array{json::object{{"type", "InternalIP"}, {"address", "127.0.0.1"}},
                                json::object{{"type", "Hostname"}, {"address", "local"}}}},
      {"nodeInfo", json::object{{"architecture", "amd64"},
                                {"operatingSystem", "linux"},
                                {"osImage", system.sysname},
                                {"kernelVersion", system.release},
                                {"kubeletVersion", "v1.33.0"},
                                {"kubeProxyVersion", "v1.33.0"},
                                {"containerRuntimeVersion", "local://1"},
                                {"machineID", ""},
                                {"systemUUID", ""},
                                {"bootID", ""}}},
      {"conditions", json::array{ReadyCondition(absl::Now())}}};
}

}  // namespace

bool IsLocalNode(const kube::Object& node) {
  const std::string_view provider = node.StringAt({"spec", "providerID"});
  return provider.starts_with("azure:///") || provider.starts_with("local:///");
}

NodeHeartbeat::NodeHeartbeat(kube::Client& client, kube::Informer& nodes)
    : client_(client), nodes_(nodes) {
  nodes_.AddHandler([this](const kube::InformerEvent& event) {
    // A new Node is greeted at once.
    if (event.change != kube::Change::kAdded) return;
    absl::MutexLock lock(&mutex_);
    changed_ = true;
  });
}

NodeHeartbeat::~NodeHeartbeat() {
  absl::MutexLock lock(&mutex_);
  stopping_ = true;
}

void NodeHeartbeat::Start() {
  thread_ = base::StartThread("node-heartbeat", [this](const std::stop_token& stop) { Run(stop); });
}

void NodeHeartbeat::Run(const std::stop_token& stop) {
  const auto wake = [this]()
                        ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return changed_ || stopping_; };
  while (!stop.stop_requested()) {
    {
      absl::MutexLock lock(&mutex_);
      mutex_.AwaitWithTimeout(absl::Condition(&wake), kInterval);
      if (stopping_) return;
      changed_ = false;
    }
    for (const kube::Object& node : nodes_.Snapshot()->All()) {
      if (!IsLocalNode(node) || node.being_deleted()) continue;
      Beat(node);
      KeepReady(node);
    }
  }
}

void NodeHeartbeat::Beat(const kube::Object& node) {
  const kube::ObjectKey key{kLeaseNamespace, std::string(node.name())};
  const json::object spec{{"holderIdentity", std::string(node.name())},
                          {"leaseDurationSeconds", kLeaseSeconds},
                          {"renewTime", kube::FormatMicroTime(absl::Now())}};
  absl::Status status = client_
                            .Patch(kube::resources::kLeases, key, kube::PatchType::kMerge,
                                   json::object{{"spec", spec}}, {.field_manager = "kubelet"})
                            .status();
  if (absl::IsNotFound(status)) {
    kube::Object lease(json::object{
        {"apiVersion", "coordination.k8s.io/v1"},
        {"kind", "Lease"},
        {"metadata", json::object{{"name", key.name}, {"namespace", key.namespace_name}}},
        {"spec", spec}});
    lease.AddOwnerReference(
        {.api_version = "v1", .kind = "Node", .name = key.name, .uid = std::string(node.uid())});
    status = client_.Create(kube::resources::kLeases, lease, {.field_manager = "kubelet"}).status();
  }
  if (!status.ok() && !absl::IsCancelled(status)) {
    base::LogWarning("node lease not renewed", {{"node", key.name}, {"error", status}});
  }
}

void NodeHeartbeat::KeepReady(const kube::Object& node) {
  const json::value* conditions = node.Find({"status", "conditions"});
  if (conditions == nullptr || !conditions->is_array()) return;  // Its maker has not finished.
  json::array changed = conditions->get_array();
  for (json::value& condition : changed) {
    if (kube::StringAt(condition, {"type"}) != "Ready") continue;
    // Unknown is what a node lifecycle loop writes about a node that was silent; False is meant.
    if (kube::StringAt(condition, {"status"}) != "Unknown") return;
    condition = ReadyCondition(absl::Now());
    const absl::Status status =
        client_
            .Patch(kube::resources::kNodes, node.key(), kube::PatchType::kMerge,
                   json::object{{"status", json::object{{"conditions", changed}}}},
                   {.field_manager = "kubelet"}, "status")
            .status();
    if (!status.ok()) {
      base::LogWarning("node status not written", {{"node", node.name()}, {"error", status}});
    }
    return;
  }
}

absl::Status EnsureLocalNode(kube::Client& client, const std::string& name) {
  const kube::Object node(json::object{
      {"apiVersion", "v1"},
      {"kind", "Node"},
      {"metadata", json::object{{"name", name},
                                {"labels", json::object{{"kubernetes.io/hostname", name},
                                                        {"kubernetes.io/os", "linux"},
                                                        {"kubernetes.io/arch", "amd64"}}}}},
      {"spec", json::object{{"providerID", "local:///" + name}}}});
  const absl::Status created = client.Create(kube::resources::kNodes, node).status();
  if (!created.ok() && !absl::IsAlreadyExists(created)) return created;
  return client
      .Patch(kube::resources::kNodes, {"", name}, kube::PatchType::kMerge,
             json::object{{"status", LocalNodeStatus()}}, {.field_manager = "kubelet"}, "status")
      .status();
}

}  // namespace local_cluster

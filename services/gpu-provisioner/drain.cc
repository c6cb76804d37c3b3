#include "gpu-provisioner/drain.h"

#include <algorithm>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/status_macros.h"
#include "common/kube/json.h"
#include "gpu-provisioner/node_claim.h"

namespace gpu_provisioner {
namespace {

constexpr std::string_view kDisrupted = "karpenter.sh/disrupted";
constexpr std::string_view kNoBalancer = "node.kubernetes.io/exclude-from-external-load-balancers";
constexpr absl::Duration kDeadKubelet = absl::Minutes(1);

bool ToleratesDisruption(const kube::Object& pod) {
  const auto* const tolerations = pod.Find({"spec", "tolerations"});
  if (tolerations == nullptr || !tolerations->is_array()) return false;
  return std::ranges::any_of(tolerations->get_array(), [](const auto& toleration) {
    const std::string_view key = kube::StringAt(toleration, {"key"});
    const std::string_view effect = kube::StringAt(toleration, {"effect"});
    const bool exists = kube::StringAt(toleration, {"operator"}, "Equal") == "Exists";
    if (!effect.empty() && effect != "NoSchedule") return false;
    if (key.empty()) return exists;
    return key == kDisrupted && (exists || kube::StringAt(toleration, {"value"}).empty());
  });
}

bool IsCritical(const kube::Object& pod) {
  const std::string_view name = pod.StringAt({"spec", "priorityClassName"});
  return name == "system-cluster-critical" || name == "system-node-critical";
}

bool OfDaemonSet(const kube::Object& pod) {
  const auto owners = pod.owner_references();
  return std::ranges::any_of(owners, [](const auto& owner) { return owner.kind == "DaemonSet"; });
}

absl::Status MarkDisrupted(kube::Client& client, const kube::Object& node) {
  const std::vector<Taint> taints = ParseTaints(node, {"spec", "taints"});
  const bool tainted =
      std::ranges::any_of(taints, [](const auto& t) { return t.key == kDisrupted; });
  if (tainted && node.label(kNoBalancer) == "karpenter") return absl::OkStatus();
  boost::json::array wanted;
  if (const auto* const list = node.Find({"spec", "taints"}); list && list->is_array()) {
    wanted = list->get_array();
  }
  if (!tainted) {
    wanted.push_back(
        boost::json::object{{"key", "karpenter.sh/disrupted"}, {"effect", "NoSchedule"}});
  }
  const boost::json::value patch = boost::json::object{
      {"metadata",
       boost::json::object{{"resourceVersion", std::string(node.resource_version())},
                           {"labels", boost::json::object{{"node.kubernetes.io/"
                                                           "exclude-from-external-load-balancers",
                                                           "karpenter"}}}}},
      {"spec", boost::json::object{{"taints", std::move(wanted)}}}};
  return client.Patch(kube::resources::kNodes, node.key(), kube::PatchType::kMerge, patch).status();
}

absl::Duration GraceOf(const kube::Object& pod) {
  return absl::Seconds(
      std::clamp<int64_t>(pod.IntAt({"spec", "terminationGracePeriodSeconds"}, 30), 0, 1'000'000));
}

// True when the pod goes; false when a disruption budget forbids it for now.
absl::StatusOr<bool> Evict(kube::Client& client, const kube::Object& pod) {
  const boost::json::value body = boost::json::object{
      {"apiVersion", "policy/v1"},
      {"kind", "Eviction"},
      {"metadata", boost::json::object{{"name", std::string(pod.name())},
                                       {"namespace", std::string(pod.namespace_name())}}},
      {"deleteOptions",
       boost::json::object{
           {"preconditions", boost::json::object{{"uid", std::string(pod.uid())}}}}}};
  net::Request request{.method = "POST",
                       .target = kube::resources::kPods.Path(pod.key(), "eviction"),
                       .body = boost::json::serialize(body)};
  request.headers.Set("Content-Type", "application/json");
  ASSIGN_OR_RETURN(const net::Response response, client.Raw(request));
  if (response.status == 429) return false;
  // Gone, or another of the same name: done either way.
  if (response.status == 404 || response.status == 409) return true;
  RETURN_IF_ERROR(kube::StatusOfResponse(response, "evict pod " + pod.key().ToString()));
  return true;
}

absl::StatusOr<std::vector<kube::Object>> PodsOn(kube::Client& client, const kube::Object& node) {
  ASSIGN_OR_RETURN(kube::ObjectList list,
                   client.List(kube::resources::kPods, {.field_selector = absl::StrFormat(
                                                            "spec.nodeName=%s", node.name())}));
  return std::move(list.items);
}

// Volumes that are still attached to the Node.
absl::StatusOr<std::vector<std::string>> Attachments(kube::Client& client,
                                                     const kube::Object& node) {
  const auto list = client.List(kube::resources::kVolumeAttachments);
  if (absl::IsNotFound(list.status())) return std::vector<std::string>();  // Not served here.
  RETURN_IF_ERROR(list.status());
  std::vector<std::string> names;
  for (const kube::Object& attachment : list->items) {
    if (attachment.StringAt({"spec", "nodeName"}) == node.name()) {
      names.emplace_back(attachment.name());
    }
  }
  return names;
}

// Evicts or deletes one pod, as far as it may go now.
absl::Status Push(kube::Client& client, const kube::Object& pod, std::optional<absl::Time> deadline,
                  absl::Time now, DrainProgress& progress) {
  const std::string name = pod.key().ToString();
  if (pod.being_deleted()) {
    progress.blockers.push_back(absl::StrFormat("pod %s: is ending", name));
    return absl::OkStatus();
  }
  // Forced, budget or not, so that the pod still gets its own grace before the deadline.
  if (deadline && now >= *deadline - GraceOf(pod)) {
    progress.blockers.push_back(absl::StrFormat("pod %s: is ending", name));
    return client.Delete(kube::resources::kPods, pod.key(), {.uid = std::string(pod.uid())});
  }
  if (pod.annotation("karpenter.sh/do-not-disrupt") == "true" ||
      pod.annotation("karpenter.sh/do-not-evict") == "true") {
    progress.blockers.push_back(
        absl::StrFormat("pod %s: has annotation karpenter.sh/do-not-disrupt", name));
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const bool goes, Evict(client, pod));
  progress.blockers.push_back(absl::StrFormat(
      "pod %s: %s", name, goes ? "is ending" : "a disruption budget forbids its eviction"));
  if (!goes) progress.refused.push_back(name);
  return absl::OkStatus();
}

}  // namespace

std::optional<int> DrainGroup(const kube::Object& pod, absl::Time now) {
  const std::string_view phase = pod.StringAt({"status", "phase"});
  if (phase == "Succeeded" || phase == "Failed") return std::nullopt;
  if (!pod.annotation("kubernetes.io/config.mirror").empty()) return std::nullopt;
  if (ToleratesDisruption(pod)) return std::nullopt;
  // deletionTimestamp is when its grace ends.
  const auto deleted = pod.deletion_time();
  if (deleted && now > *deleted + kDeadKubelet) return std::nullopt;
  return (IsCritical(pod) ? 2 : 0) + (OfDaemonSet(pod) ? 1 : 0);
}

absl::StatusOr<DrainProgress> DrainNode(kube::Client& client, const kube::Object& node,
                                        std::optional<absl::Time> deadline, absl::Time now) {
  RETURN_IF_ERROR(MarkDisrupted(client, node));
  ASSIGN_OR_RETURN(const std::vector<kube::Object> pods, PodsOn(client, node));
  DrainProgress progress;
  int first_group = 4;
  for (const kube::Object& pod : pods) {
    first_group = std::min(first_group, DrainGroup(pod, now).value_or(4));
  }
  for (const kube::Object& pod : pods) {
    const auto group = DrainGroup(pod, now);
    if (first_group == 4 || group != first_group) continue;
    RETURN_IF_ERROR(Push(client, pod, deadline, now, progress));
  }
  if (first_group < 4) {
    progress.drained =
        Unknown("Draining", absl::StrFormat("%d pods left: %s", static_cast<int>(pods.size()),
                                            progress.blockers.front()));
    return progress;
  }
  progress.drained = {"True", "Drained", ""};
  ASSIGN_OR_RETURN(const std::vector<std::string> attached, Attachments(client, node));
  if (attached.empty()) {
    progress.volumes = {"True", "VolumesDetached", ""};
    progress.done = true;
  } else if (deadline && now >= *deadline) {
    progress.volumes = False("TerminationGracePeriodElapsed", "volumes are still attached");
    progress.done = true;
  } else {
    progress.volumes =
        Unknown("AwaitingVolumeDetachment",
                absl::StrFormat("%d volumes are attached, the first is %s",
                                static_cast<int>(attached.size()), attached.front()));
    for (const std::string& name : attached) progress.blockers.push_back("volume " + name);
  }
  return progress;
}

}  // namespace gpu_provisioner

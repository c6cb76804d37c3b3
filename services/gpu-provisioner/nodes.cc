#include "gpu-provisioner/nodes.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/kube/json.h"
#include "gpu-provisioner/arm/agent_pool.h"

namespace gpu_provisioner {
namespace {

constexpr std::string_view kEphemeralTaints[] = {"node.kubernetes.io/not-ready",
                                                 "node.kubernetes.io/unreachable",
                                                 "node.cloudprovider.kubernetes.io/uninitialized"};
constexpr std::string_view kUnregisteredTaint = "karpenter.sh/unregistered";

boost::json::value TaintJson(const Taint& taint) {
  boost::json::object json{{"key", taint.key}, {"effect", taint.effect}};
  if (!taint.value.empty()) json["value"] = taint.value;
  return json;
}

bool HasTaint(const std::vector<Taint>& taints, const Taint& wanted) {
  return std::ranges::any_of(taints, [&](const Taint& taint) {
    return taint.key == wanted.key && taint.effect == wanted.effect;
  });
}

// The Node's taints as they should be; nullopt when they are.
std::optional<boost::json::array> WantedTaints(const kube::Object& node, const NodeRequest& claim) {
  const std::vector<Taint> present = ParseTaints(node, {"spec", "taints"});
  boost::json::array wanted;
  bool differs = false;
  if (const auto* const list = node.Find({"spec", "taints"}); list && list->is_array()) {
    for (const auto& entry : list->get_array()) {
      if (kube::StringAt(entry, {"key"}) == kUnregisteredTaint) {
        differs = true;
      } else {
        wanted.push_back(entry);
      }
    }
  }
  const bool first_time = node.label("karpenter.sh/registered") != "true";
  const auto add = [&](const std::vector<Taint>& taints) {
    for (const Taint& taint : taints) {
      if (HasTaint(present, taint)) continue;
      wanted.push_back(TaintJson(taint));
      differs = true;
    }
  };
  if (node.label("karpenter.sh/do-not-sync-taints") != "true") {
    // Both only once: afterwards others may take them off.
    if (first_time) {
      add(claim.taints);
      add(claim.startup_taints);
    }
  }
  if (!differs) return std::nullopt;
  return wanted;
}

boost::json::object MissingTexts(const std::map<std::string, std::string>& present,
                                 const std::map<std::string, std::string>& wanted) {
  boost::json::object missing;
  for (const auto& [key, value] : wanted) {
    const auto found = present.find(key);
    if (found == present.end() || found->second != value) missing[key] = value;
  }
  return missing;
}

std::map<std::string, std::string> WantedLabels(const kube::Object& node,
                                                const NodeRequest& claim) {
  std::map<std::string, std::string> labels;
  for (const auto& [key, value] : claim.object.labels()) {
    // What kubelet and the cloud wrote on the Node is the truth.
    if (IsReservedNodeLabel(key) && !node.label(key).empty()) continue;
    labels[key] = value;
  }
  labels["karpenter.sh/registered"] = "true";
  if (!claim.node_class.empty()) labels["kaito.sh/kaitonodeclass"] = claim.node_class;
  return labels;
}

std::map<std::string, std::string> WantedAnnotations(const NodeRequest& claim) {
  std::map<std::string, std::string> annotations = claim.object.annotations();
  std::erase_if(annotations, [](const auto& entry) {
    return absl::StartsWith(entry.first, absl::string_view(kOwnPrefix.data(), kOwnPrefix.size())) ||
           absl::StartsWith(entry.first, "kubectl.kubernetes.io/");
  });
  return annotations;
}

boost::json::value OwnerJson(const NodeRequest& claim) {
  return boost::json::object{{"apiVersion", "karpenter.sh/v1"},
                             {"kind", "NodeClaim"},
                             {"name", claim.name},
                             {"uid", claim.uid},
                             {"blockOwnerDeletion", true}};
}

double AllocatableOf(const kube::Object& node, std::string_view resource) {
  const auto* const amount = node.Find({"status", "allocatable", resource});
  if (amount == nullptr) return 0;
  if (amount->is_int64()) return static_cast<double>(amount->get_int64());
  if (!amount->is_string()) return 0;
  return kube::ParseQuantity(amount->get_string().c_str()).value_or(0);
}

bool HasGpuResource(const kube::Object& node) {
  const auto* const allocatable = node.Find({"status", "allocatable"});
  if (allocatable == nullptr || !allocatable->is_object()) return false;
  return std::ranges::any_of(allocatable->get_object(), [&](const auto& entry) {
    const std::string name(entry.key());
    const bool gpu = name == "nvidia.com/gpu" || name == "amd.com/gpu" ||
                     absl::StartsWith(name, "nvidia.com/mig-");
    return gpu && AllocatableOf(node, name) > 0;
  });
}

std::string MissingResource(const kube::Object& node, const NodeRequest& claim) {
  for (const auto& [resource, amount] : claim.requests) {
    const bool extended = absl::StrContains(resource, "/");
    if (extended && amount > 0 && AllocatableOf(node, resource) <= 0) return resource;
  }
  return "";
}

}  // namespace

std::string PoolOfNode(const kube::Object& node) {
  std::string_view pool = node.label("kubernetes.azure.com/agentpool");
  if (pool.empty()) pool = node.label("agentpool");
  return Folded(pool);
}

bool IsNodeReady(const kube::Object& node) { return kube::IsConditionTrue(node, "Ready"); }

bool IsManagedNode(const kube::Object& node) {
  const auto labels = node.labels();
  const bool labelled = labels.contains("kaito.sh/workspace") ||
                        labels.contains("kaito.sh/ragengine") ||
                        labels.contains("kaito.sh/kaitonodeclass");
  return labelled && node.HasFinalizer(kFinalizer);
}

std::optional<boost::json::value> RegistrationPatch(const kube::Object& node,
                                                    const NodeRequest& claim) {
  boost::json::object metadata;
  boost::json::object spec;
  auto labels = MissingTexts(node.labels(), WantedLabels(node, claim));
  if (!labels.empty()) metadata["labels"] = std::move(labels);
  auto annotations = MissingTexts(node.annotations(), WantedAnnotations(claim));
  if (!annotations.empty()) metadata["annotations"] = std::move(annotations);
  // A Node that is being deleted takes no new finalizer.
  if (!node.HasFinalizer(kFinalizer) && !node.being_deleted()) {
    boost::json::array finalizers;
    for (const std::string& finalizer : node.finalizers()) finalizers.emplace_back(finalizer);
    finalizers.emplace_back(boost::json::string_view(kFinalizer.data(), kFinalizer.size()));
    metadata["finalizers"] = std::move(finalizers);
  }
  const auto owners = node.owner_references();
  if (std::ranges::none_of(owners, [&](const auto& owner) { return owner.uid == claim.uid; })) {
    metadata["ownerReferences"] = boost::json::array{OwnerJson(claim)};
  }
  if (auto taints = WantedTaints(node, claim)) spec["taints"] = *std::move(taints);

  if (metadata.empty() && spec.empty()) return std::nullopt;
  metadata["resourceVersion"] = std::string(node.resource_version());
  boost::json::object patch{{"metadata", std::move(metadata)}};
  if (!spec.empty()) patch["spec"] = std::move(spec);
  return patch;
}

Verdict InitializedVerdict(const kube::Object& node, const NodeRequest& claim, bool gpu_size) {
  const std::string name(node.name());
  if (!IsNodeReady(node)) {
    return Unknown("NodeNotReady", absl::StrFormat("node %s is not ready", name));
  }
  const std::vector<Taint> taints = ParseTaints(node, {"spec", "taints"});
  for (const Taint& taint : claim.startup_taints) {
    if (!HasTaint(taints, taint)) continue;
    return Unknown("StartupTaintsExist",
                   absl::StrFormat("node %s still has taint %s:%s", name, taint.key, taint.effect));
  }
  for (const Taint& taint : taints) {
    if (std::ranges::find(kEphemeralTaints, taint.key) == std::end(kEphemeralTaints)) continue;
    return Unknown("KnownEphemeralTaintsExist",
                   absl::StrFormat("node %s still has taint %s", name, taint.key));
  }
  const std::string missing = MissingResource(node, claim);
  if (!missing.empty()) {
    return Unknown("ResourceNotRegistered",
                   absl::StrFormat("node %s does not offer %s yet", name, missing));
  }
  if (gpu_size && !HasGpuResource(node)) {
    return Unknown("ResourceNotRegistered",
                   absl::StrFormat("node %s does not offer its GPU yet: no nvidia.com/gpu, "
                                   "nvidia.com/mig-* or amd.com/gpu in allocatable",
                                   name));
  }
  return True();
}

}  // namespace gpu_provisioner

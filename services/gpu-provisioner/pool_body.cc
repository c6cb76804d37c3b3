#include "gpu-provisioner/pool_body.h"

#include "absl/strings/str_format.h"

namespace gpu_provisioner {
namespace {

std::string OwnAnnotation(const NodeRequest& claim, std::string_view name) {
  return std::string(claim.object.annotation(std::string(kOwnPrefix) + std::string(name)));
}

std::map<std::string, std::string> NodeLabels(const NodeRequest& claim, const Offering& offering) {
  std::map<std::string, std::string> labels = {{"karpenter.sh/nodepool", "kaito"}};
  for (const auto& [key, value] : claim.free_labels) labels[key] = value;
  for (const auto& [key, value] : claim.object.labels()) {
    if (!IsReservedNodeLabel(key)) labels[key] = value;
  }
  const bool gpu = IsGpuSize(offering.type, offering.ref.size);
  labels["kaito.sh/machine-type"] = gpu ? "gpu" : "cpu";
  labels["kaito.sh/creation-timestamp"] = CreationStamp(claim.created);
  // The device plugin selects it; set later, both sides would wait for each other.
  const bool nvidia = gpu && (offering.type == nullptr || offering.type->vendor == "nvidia");
  if (nvidia) labels["accelerator"] = "nvidia";
  return labels;
}

std::string Capitalised(std::string text) {
  if (!text.empty() && text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 32);
  return text;
}

}  // namespace

AgentPoolSpec PoolSpecOf(const NodeRequest& claim, const Offering& offering,
                         const PoolDefaults& defaults) {
  AgentPoolSpec spec;
  spec.vm_size = offering.ref.size;
  spec.os_sku = claim.azure_linux ? "AzureLinux" : "Ubuntu";
  spec.os_disk_gib = claim.storage_gib;
  spec.os_disk_type = Capitalised(OwnAnnotation(claim, "os-disk-type"));
  if (!offering.ref.zone.empty()) spec.zones = {offering.ref.zone};
  spec.spot = offering.ref.capacity_type == "spot";
  if (IsGpuSize(offering.type, offering.ref.size)) {
    spec.gpu_driver = OwnAnnotation(claim, "gpu-driver") == "none" ? "None" : "Install";
  }
  spec.gpu_instance_profile = OwnAnnotation(claim, "mig-profile");
  spec.capacity_reservation_group = OwnAnnotation(claim, "capacity-reservation-group");
  spec.subnet_id = OwnAnnotation(claim, "subnet-id");
  if (spec.subnet_id.empty()) spec.subnet_id = defaults.subnet_id;
  spec.artifact_streaming = OwnAnnotation(claim, "artifact-streaming") == "true";
  spec.labels = NodeLabels(claim, offering);
  // startupTaints are put on the Node: AKS would restore them whenever it reconciles the pool.
  for (const Taint& taint : claim.taints) {
    spec.taints.push_back(absl::StrFormat("%s=%s:%s", taint.key, taint.value, taint.effect));
  }
  spec.tags = defaults.tags;
  spec.tags[std::string(kTagClaimName)] = claim.name;
  spec.tags[std::string(kTagClaimUid)] = claim.uid;
  spec.tags[std::string(kTagManagedBy)] = "gpu-provisioner";
  return spec;
}

std::string CreationStamp(absl::Time created) {
  return absl::FormatTime("%Y-%m-%dT%H-%M-%SZ", created, absl::UTCTimeZone());
}

bool IsPoolOf(const AgentPool& pool, const NodeRequest& claim) {
  if (!pool.claim_uid().empty()) return pool.claim_uid() == claim.uid;
  const auto stamp = pool.labels.find("kaito.sh/creation-timestamp");
  return EqualFolded(pool.name, claim.name) && stamp != pool.labels.end() &&
         stamp->second == CreationStamp(claim.created);
}

std::map<std::string, std::string> ClaimLabelsOf(const Offering& offering,
                                                 std::string_view location) {
  const std::string place(location);
  return {{"node.kubernetes.io/instance-type", offering.ref.size},
          {"karpenter.sh/capacity-type", offering.ref.capacity_type},
          {"topology.kubernetes.io/region", place},
          {"topology.kubernetes.io/zone",
           offering.ref.zone.empty() ? "0" : place + "-" + offering.ref.zone},
          {"kubernetes.io/arch", offering.type == nullptr ? "amd64" : offering.type->arch},
          {"kubernetes.io/os", "linux"}};
}

}  // namespace gpu_provisioner

// An AKS agent pool as ARM writes and reads it. Pure.

#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "gpu-provisioner/arm/arm_error.h"

namespace gpu_provisioner {

// Tags by which a pool is known to be ours. Labels prove nothing: a user may write them.
inline constexpr std::string_view kTagClaimName = "karpenter.sh_nodeclaim";
inline constexpr std::string_view kTagClaimUid = "karpenter.sh_nodeclaim-uid";
inline constexpr std::string_view kTagManagedBy = "managed-by";

// A pool that ARM told us of. Names are kept as ARM spells them and compared without case.
struct AgentPool {
  std::string name;
  std::string id;
  std::string etag;
  std::string vm_size;
  std::string state;  // provisioningState. A value unknown here counts as running.
  std::string power_state;
  std::string priority = "Regular";
  std::string node_image_version;
  int count = 0;
  std::vector<std::string> zones;
  std::map<std::string, std::string> labels;
  std::map<std::string, std::string> tags;
  std::optional<CloudError> provisioning_error;

  std::string_view claim_uid() const;  // "" when the pool is not ours.
  std::string_view claim_name() const;
  bool succeeded() const { return state == "Succeeded"; }
  bool failed() const { return state == "Failed" || state == "Canceled"; }
  bool deleting() const { return state == "Deleting"; }
  bool creating() const { return state == "Creating"; }
  // Somebody reworks it: no timer runs, and Nodes may change.
  bool being_reworked() const;

  bool operator==(const AgentPool&) const = default;
};

// kInvalidArgument when `json` is no agent pool.
absl::StatusOr<AgentPool> ParseAgentPool(std::string_view json);

struct AgentPoolPage {
  std::vector<AgentPool> pools;
  std::string next_link;  // Also on the last page: it leads to an empty one.
};
absl::StatusOr<AgentPoolPage> ParseAgentPoolPage(std::string_view json);

// What we ask for.
struct AgentPoolSpec {
  std::string vm_size;
  std::string os_sku = "Ubuntu";
  int os_disk_gib = 0;
  std::string os_disk_type;        // Empty: AKS decides.
  std::vector<std::string> zones;  // "1"; empty: regional.
  bool spot = false;
  std::string gpu_driver;  // "Install", "None"; empty: not sent (no GPU).
  std::string gpu_instance_profile;
  std::string capacity_reservation_group;
  std::string subnet_id;
  bool artifact_streaming = false;
  std::map<std::string, std::string> labels;
  std::vector<std::string> taints;  // "key=value:effect"
  std::map<std::string, std::string> tags;
};

std::string AgentPoolBody(const AgentPoolSpec& spec);

// "wsab12cd34e" of ".../virtualMachineScaleSets/aks-wsab12cd34e-12345678-vmss/virtualMachines/0";
// empty when `provider_id` is not of that form.
std::string PoolOfProviderId(std::string_view provider_id);

// Equal but for case, as ARM compares names and ids.
bool EqualFolded(std::string_view a, std::string_view b);
std::string Folded(std::string_view text);

}  // namespace gpu_provisioner

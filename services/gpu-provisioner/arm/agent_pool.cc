#include "gpu-provisioner/arm/agent_pool.h"

#include <algorithm>
#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/status_macros.h"

namespace gpu_provisioner {
namespace {

using boost::json::object;
using boost::json::value;

constexpr int kDepthMax = 64;

std::string Text(const object& from, const char* name) {
  const value* const member = from.if_contains(name);
  if (member == nullptr || !member->is_string()) return "";
  return std::string(member->get_string().data(), member->get_string().size());
}

const object* Member(const object& from, const char* name) {
  const value* const member = from.if_contains(name);
  return member == nullptr ? nullptr : member->if_object();
}

std::map<std::string, std::string> TextMap(const object& from, const char* name) {
  std::map<std::string, std::string> result;
  const object* const member = Member(from, name);
  if (member == nullptr) return result;
  for (const auto& entry : *member) {
    if (!entry.value().is_string()) continue;
    const auto& text = entry.value().get_string();
    result.emplace(std::string(entry.key()), std::string(text.data(), text.size()));
  }
  return result;
}

std::vector<std::string> TextList(const object& from, const char* name) {
  std::vector<std::string> result;
  const value* const member = from.if_contains(name);
  if (member == nullptr || !member->is_array()) return result;
  for (const value& entry : member->get_array()) {
    if (entry.is_string()) result.emplace_back(entry.get_string().c_str());
  }
  return result;
}

std::optional<CloudError> ProvisioningError(const object& properties) {
  const object* const status = Member(properties, "status");
  if (status == nullptr) return std::nullopt;
  const object* error = Member(*status, "provisioningError");
  if (error == nullptr) return std::nullopt;
  if (const object* const inner = Member(*error, "error")) error = inner;
  CloudError result{Text(*error, "code"), Text(*error, "message")};
  // Details are kept as text: the parser of errors finds them there again.
  if (const value* const details = error->if_contains("details")) {
    if (details->is_array() && !details->get_array().empty()) {
      result.message += " " + boost::json::serialize(object{{"details", *details}});
    }
  }
  if (result.code.empty() && result.message.empty()) return std::nullopt;
  return result;
}

absl::StatusOr<AgentPool> PoolOf(const value& json) {
  const object* const root = json.if_object();
  const object* const properties = root == nullptr ? nullptr : Member(*root, "properties");
  if (properties == nullptr || Text(*root, "name").empty()) {
    return absl::InvalidArgumentError("agent pool: no name or no properties in the answer");
  }
  AgentPool pool;
  pool.name = Text(*root, "name");
  pool.id = Text(*root, "id");
  pool.etag = Text(*properties, "eTag");
  pool.vm_size = Text(*properties, "vmSize");
  pool.state = Text(*properties, "provisioningState");
  if (const object* const power = Member(*properties, "powerState")) {
    pool.power_state = Text(*power, "code");
  }
  // Absent means Regular.
  if (EqualFolded(Text(*properties, "scaleSetPriority"), "Spot")) pool.priority = "Spot";
  pool.node_image_version = Text(*properties, "nodeImageVersion");
  if (const value* const count = properties->if_contains("count"); count && count->is_int64()) {
    pool.count = static_cast<int>(std::clamp<int64_t>(count->get_int64(), 0, 100'000));
  }
  pool.zones = TextList(*properties, "availabilityZones");
  pool.labels = TextMap(*properties, "nodeLabels");
  pool.tags = TextMap(*properties, "tags");
  pool.provisioning_error = ProvisioningError(*properties);
  return pool;
}

absl::StatusOr<value> Parse(std::string_view json) {
  boost::system::error_code error;
  boost::json::parse_options options;
  options.max_depth = kDepthMax;
  value parsed =
      boost::json::parse(boost::json::string_view(json.data(), json.size()), error, {}, options);
  if (error) return absl::InvalidArgumentError("the answer is not JSON");
  return parsed;
}

object TextObject(const std::map<std::string, std::string>& texts) {
  object result;
  for (const auto& [key, text] : texts) result.emplace(key, text);
  return result;
}

void AddSpot(object& properties) {
  properties["scaleSetPriority"] = "Spot";
  properties["scaleSetEvictionPolicy"] = "Delete";
  properties["spotMaxPrice"] = -1.0;  // A decimal, whatever the schema says.
}

}  // namespace

std::string_view AgentPool::claim_uid() const {
  const auto tag = tags.find(std::string(kTagClaimUid));
  return tag == tags.end() ? std::string_view() : std::string_view(tag->second);
}

std::string_view AgentPool::claim_name() const {
  const auto tag = tags.find(std::string(kTagClaimName));
  return tag == tags.end() ? std::string_view() : std::string_view(tag->second);
}

bool AgentPool::being_reworked() const {
  static constexpr std::array<std::string_view, 5> kStates = {
      "Upgrading", "UpgradingNodeImageVersion", "Updating", "Starting", "Stopping"};
  return power_state == "Stopped" || std::ranges::find(kStates, state) != kStates.end();
}

absl::StatusOr<AgentPool> ParseAgentPool(std::string_view json) {
  ASSIGN_OR_RETURN(const value parsed, Parse(json));
  return PoolOf(parsed);
}

absl::StatusOr<AgentPoolPage> ParseAgentPoolPage(std::string_view json) {
  ASSIGN_OR_RETURN(const value parsed, Parse(json));
  const object* const root = parsed.if_object();
  const value* const list = root == nullptr ? nullptr : root->if_contains("value");
  if (list == nullptr || !list->is_array()) {
    return absl::InvalidArgumentError("list agent pools: no value in the answer");
  }
  AgentPoolPage page;
  for (const value& entry : list->get_array()) {
    ASSIGN_OR_RETURN(AgentPool pool, PoolOf(entry));
    page.pools.push_back(std::move(pool));
  }
  page.next_link = Text(*root, "nextLink");
  return page;
}

std::string AgentPoolBody(const AgentPoolSpec& spec) {
  object properties{{"count", 1},
                    {"mode", "User"},
                    {"type", "VirtualMachineScaleSets"},
                    {"vmSize", spec.vm_size},
                    {"osType", "Linux"},
                    {"osSKU", spec.os_sku},
                    {"osDiskSizeGB", spec.os_disk_gib},
                    {"scaleSetPriority", "Regular"},
                    {"scaleDownMode", "Delete"},
                    {"nodeLabels", TextObject(spec.labels)},
                    {"tags", TextObject(spec.tags)}};
  if (spec.spot) AddSpot(properties);
  if (!spec.os_disk_type.empty()) properties["osDiskType"] = spec.os_disk_type;
  if (!spec.zones.empty()) {
    properties["availabilityZones"] = boost::json::array(spec.zones.begin(), spec.zones.end());
  }
  if (!spec.gpu_driver.empty()) properties["gpuProfile"] = object{{"driver", spec.gpu_driver}};
  if (!spec.gpu_instance_profile.empty()) {
    properties["gpuInstanceProfile"] = spec.gpu_instance_profile;
  }
  if (!spec.capacity_reservation_group.empty()) {
    properties["capacityReservationGroupID"] = spec.capacity_reservation_group;
  }
  if (!spec.subnet_id.empty()) properties["vnetSubnetID"] = spec.subnet_id;
  if (spec.artifact_streaming) properties["artifactStreamingProfile"] = object{{"enabled", true}};
  properties["nodeTaints"] = boost::json::array(spec.taints.begin(), spec.taints.end());
  return boost::json::serialize(object{{"properties", std::move(properties)}});
}

std::string PoolOfProviderId(std::string_view provider_id) {
  constexpr std::string_view kScheme = "azure://";
  const std::string folded = Folded(provider_id);
  if (folded.rfind(kScheme, 0) != 0) return "";
  constexpr std::string_view kScaleSets = "/virtualmachinescalesets/aks-";
  const size_t at = folded.find(kScaleSets);
  if (at == std::string::npos) return "";
  const size_t start = at + kScaleSets.size();
  const size_t end = folded.find('-', start);
  if (end == std::string::npos) return "";
  return folded.substr(start, end - start);
}

bool EqualFolded(std::string_view a, std::string_view b) {
  return a.size() == b.size() && Folded(a) == Folded(b);
}

std::string Folded(std::string_view text) {
  std::string folded(text);
  absl::AsciiStrToLower(&folded);
  return folded;
}

}  // namespace gpu_provisioner

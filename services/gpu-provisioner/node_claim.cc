#include "gpu-provisioner/node_claim.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/kube/conditions.h"
#include "common/kube/json.h"
#include "gpu-provisioner/arm/agent_pool.h"

namespace gpu_provisioner {
namespace {

constexpr std::string_view kInstanceType = "node.kubernetes.io/instance-type";
constexpr std::string_view kSkuName = "karpenter.azure.com/sku-name";
constexpr std::string_view kCapacityType = "karpenter.sh/capacity-type";
constexpr std::string_view kZone = "topology.kubernetes.io/zone";
constexpr size_t kRequirementsMax = 100;
constexpr double kGib = 1024.0 * 1024.0 * 1024.0;

struct Requirement {
  std::string key;
  std::string op;
  std::vector<std::string> values;
};

std::vector<Requirement> ParseRequirements(const kube::Object& claim) {
  std::vector<Requirement> requirements;
  const auto* const list = claim.Find({"spec", "requirements"});
  if (list == nullptr || !list->is_array()) return requirements;
  for (const auto& entry : list->get_array()) {
    if (requirements.size() >= kRequirementsMax) break;
    requirements.push_back({std::string(kube::StringAt(entry, {"key"})),
                            std::string(kube::StringAt(entry, {"operator"})),
                            kube::StringsAt(entry, {"values"})});
  }
  return requirements;
}

bool ContainsFolded(const std::vector<std::string>& values, std::string_view wanted) {
  return std::ranges::any_of(values,
                             [&](const std::string& value) { return EqualFolded(value, wanted); });
}

// All requirements on one key, as the values that In leaves and a test for the others.
class KeyRule {
 public:
  KeyRule(const std::vector<Requirement>& requirements, std::string_view key) {
    for (const Requirement& requirement : requirements) {
      if (requirement.key != key) continue;
      present_ = true;
      if (requirement.op == "In") {
        Intersect(requirement.values);
      } else if (requirement.op == "NotIn") {
        excluded_.insert(excluded_.end(), requirement.values.begin(), requirement.values.end());
      } else if (requirement.op == "DoesNotExist") {
        in_ = std::vector<std::string>();
      }
    }
  }

  bool present() const { return present_; }
  bool has_in() const { return in_.has_value(); }

  bool Admits(std::string_view value) const {
    return (!in_ || ContainsFolded(*in_, value)) && !ContainsFolded(excluded_, value);
  }
  // What In names, less what NotIn takes away.
  std::vector<std::string> Values() const {
    std::vector<std::string> values;
    for (const std::string& value : in_.value_or(std::vector<std::string>())) {
      if (Admits(value) && !ContainsFolded(values, value)) values.push_back(value);
    }
    return values;
  }

 private:
  void Intersect(const std::vector<std::string>& values) {
    if (!in_) {
      in_ = values;
      return;
    }
    std::erase_if(*in_, [&](const std::string& value) { return !ContainsFolded(values, value); });
  }

  bool present_ = false;
  std::optional<std::vector<std::string>> in_;
  std::vector<std::string> excluded_;
};

std::string CheckName(std::string_view name) {
  const bool fits = !name.empty() && name.size() <= 12 && absl::ascii_islower(name[0]) &&
                    std::ranges::all_of(name, [](char c) {
                      return absl::ascii_islower(c) || absl::ascii_isdigit(c);
                    });
  if (fits) return "";
  return absl::StrFormat(
      "metadata.name: %s cannot be an agent pool's name: a letter, then up to 11 letters and "
      "digits",
      name);
}

std::string ReadSizes(const std::vector<Requirement>& requirements, NodeRequest& request) {
  const KeyRule types(requirements, kInstanceType);
  const KeyRule skus(requirements, kSkuName);
  if (!types.has_in()) {
    return absl::StrFormat("requirement %s: needs operator In with at least one size",
                           kInstanceType);
  }
  for (const std::string& size : types.Values()) {
    if (skus.Admits(size)) request.sizes.push_back(size);
  }
  if (!request.sizes.empty()) return "";
  if (types.Values().empty()) {
    return absl::StrFormat("requirement %s: no size is left", kInstanceType);
  }
  return absl::StrFormat("requirement %s: no size of %s is in it", kSkuName, kInstanceType);
}

std::string ReadCapacityTypes(const std::vector<Requirement>& requirements, NodeRequest& request) {
  const KeyRule rule(requirements, kCapacityType);
  for (const std::string& value : rule.Values()) {
    if (value != "on-demand" && value != "spot" && value != "reserved") {
      return absl::StrFormat("requirement %s: %s is none of on-demand, spot, reserved",
                             kCapacityType, value);
    }
  }
  for (const char* type : {"reserved", "spot", "on-demand"}) {
    const bool allowed = rule.has_in() ? rule.Admits(type)
                                       : std::string_view(type) == "on-demand" && rule.Admits(type);
    if (allowed) request.capacity_types.emplace_back(type);
  }
  if (!request.capacity_types.empty()) return "";
  return absl::StrFormat("requirement %s: nothing is left", kCapacityType);
}

std::string ReadZones(const std::vector<Requirement>& requirements, std::string_view location,
                      NodeRequest& request) {
  const KeyRule rule(requirements, kZone);
  if (!rule.has_in()) return "";
  const std::string prefix = Folded(location) + "-";
  for (const std::string& value : rule.Values()) {
    const std::string folded = Folded(value);
    if (folded == "0") {
      request.zones.emplace_back("0");
    } else if (absl::StartsWith(folded, prefix) && folded.size() > prefix.size()) {
      request.zones.push_back(folded.substr(prefix.size()));
    } else {
      return absl::StrFormat("requirement %s: %s is not a zone of %s", kZone, value, location);
    }
  }
  if (!request.zones.empty()) return "";
  return absl::StrFormat("requirement %s: no zone is left", kZone);
}

std::string ReadPlatform(const std::vector<Requirement>& requirements, NodeRequest& request) {
  if (!KeyRule(requirements, "kubernetes.io/os").Admits("linux")) {
    return "requirement kubernetes.io/os: must admit linux";
  }
  const KeyRule arch(requirements, "kubernetes.io/arch");
  if (!arch.present()) return "";
  for (const char* name : {"amd64", "arm64"}) {
    if (arch.Admits(name)) request.archs.insert(name);
  }
  return request.archs.empty() ? "requirement kubernetes.io/arch: must admit amd64 or arm64" : "";
}

std::string ReadResources(const kube::Object& claim, NodeRequest& request) {
  const auto* const requests = claim.Find({"spec", "resources", "requests"});
  double storage = 0;
  if (requests != nullptr && requests->is_object()) {
    for (const auto& entry : requests->get_object()) {
      std::optional<double> amount;
      if (entry.value().is_int64()) amount = static_cast<double>(entry.value().get_int64());
      if (entry.value().is_string())
        amount = kube::ParseQuantity(entry.value().get_string().c_str());
      const std::string name(entry.key());
      if (!amount || *amount < 0) {
        return absl::StrFormat("spec.resources.requests.%s: is no amount", name);
      }
      if (name == "storage") {
        storage = *amount;
      } else {
        request.requests[name] = *amount;
      }
    }
  }
  // Rounded up: 0 would mean "the default" to AKS.
  const double gib = std::ceil(storage / kGib);
  if (gib < 1 || gib > 2048) {
    return "spec.resources.requests.storage: must be more than 0 and at most 2048Gi";
  }
  request.storage_gib = static_cast<int>(gib);
  return "";
}

std::string CheckLabels(const NodeRequest& request) {
  for (const auto& [key, value] : request.object.labels()) {
    if (absl::StartsWith(key, "kubernetes.azure.com/")) {
      return absl::StrFormat("metadata.labels: %s is AKS's own", key);
    }
  }
  return "";
}

std::string ReadAnnotations(const kube::Object& claim, NodeRequest& request) {
  const std::string family = Folded(claim.annotation("kaito.sh/node-image-family"));
  if (!family.empty() && family != "ubuntu" && family != "azurelinux") {
    return "annotation kaito.sh/node-image-family: must be ubuntu or azurelinux";
  }
  request.azure_linux = family == "azurelinux";

  const std::string_view price = claim.annotation("gpu-provisioner.kaito.sh/max-usd-per-hour");
  double usd = 0;
  if (price.empty()) return "";
  if (!absl::SimpleAtod(absl::string_view(price.data(), price.size()), &usd) || !(usd > 0)) {
    return "annotation gpu-provisioner.kaito.sh/max-usd-per-hour: must be a number above 0";
  }
  request.usd_per_hour_max = usd;
  return "";
}

void ReadFreeLabels(const std::vector<Requirement>& requirements, NodeRequest& request) {
  for (const Requirement& requirement : requirements) {
    const std::string& key = requirement.key;
    const bool free = !IsReservedNodeLabel(key) && !absl::StartsWith(key, "karpenter.") &&
                      !absl::StrContains(key, "/machine-type");
    if (free && requirement.op == "In" && requirement.values.size() == 1) {
      request.free_labels[key] = requirement.values.front();
    }
  }
}

void ReadWrittenAnnotations(const kube::Object& claim, NodeRequest& request) {
  request.offering = OfferingRef::Parse(claim.annotation(kAnnotationOffering));
  const std::string_view attempt = claim.annotation(kAnnotationAttempt);
  int number = 0;
  if (absl::SimpleAtoi(absl::string_view(attempt.data(), attempt.size()), &number)) {
    request.attempt = std::max(0, number);
  }
  request.not_before = kube::ParseTime(claim.annotation(kAnnotationNotBefore));
  request.last_error = std::string(claim.annotation(kAnnotationLastError));
  request.retry = std::string(claim.annotation("gpu-provisioner.kaito.sh/retry"));
}

void ReadIdentity(const kube::Object& claim, NodeRequest& request) {
  request.name = std::string(claim.name());
  request.uid = std::string(claim.uid());
  request.generation = claim.generation();
  request.created = claim.creation_time().value_or(absl::UnixEpoch());
  request.deleted = claim.deletion_time();
  request.has_finalizer = claim.HasFinalizer(kFinalizer);
  request.node_class = std::string(claim.StringAt({"spec", "nodeClassRef", "name"}));
  for (const kube::OwnerReference& owner : claim.owner_references()) {
    if (owner.kind == "NodePool") request.nodepool_owned = true;
  }
  request.provider_id = std::string(claim.StringAt({"status", "providerID"}));
  request.node_name = std::string(claim.StringAt({"status", "nodeName"}));
  const std::string_view grace = claim.StringAt({"spec", "terminationGracePeriod"});
  absl::Duration duration;
  if (absl::ParseDuration(absl::string_view(grace.data(), grace.size()), &duration)) {
    request.grace_period = duration;
  }
}

}  // namespace

std::string OfferingRef::ToString() const {
  return absl::StrFormat("%s/%s/%s", size, zone.empty() ? "regional" : zone, capacity_type);
}

std::optional<OfferingRef> OfferingRef::Parse(std::string_view text) {
  const size_t first = text.find('/');
  const size_t second = first == std::string_view::npos ? first : text.find('/', first + 1);
  if (second == std::string_view::npos || first == 0) return std::nullopt;
  OfferingRef offering{std::string(text.substr(0, first)),
                       std::string(text.substr(first + 1, second - first - 1)),
                       std::string(text.substr(second + 1))};
  if (offering.zone == "regional") offering.zone.clear();
  return offering;
}

bool NodeRequest::registered() const { return kube::IsConditionTrue(object, "Registered"); }

bool IsOurs(const kube::Object& claim) {
  const bool kaito_class = claim.StringAt({"spec", "nodeClassRef", "group"}) == "kaito.sh" &&
                           claim.StringAt({"spec", "nodeClassRef", "kind"}) == "KaitoNodeClass";
  if (kaito_class) return true;
  for (const kube::OwnerReference& owner : claim.owner_references()) {
    if (owner.kind == "NodePool") return false;
  }
  const auto labels = claim.labels();
  return labels.contains("kaito.sh/workspace") || labels.contains("kaito.sh/ragengine");
}

NodeRequest ParseNodeClaim(const kube::Object& claim, std::string_view location) {
  NodeRequest request;
  request.object = claim;
  ReadIdentity(claim, request);
  ReadWrittenAnnotations(claim, request);
  request.taints = ParseTaints(claim, {"spec", "taints"});
  request.startup_taints = ParseTaints(claim, {"spec", "startupTaints"});

  const std::vector<Requirement> requirements = ParseRequirements(claim);
  ReadFreeLabels(requirements, request);
  // Every part is read, so that a claim that became invalid can still be deleted; the first problem
  // is the one shown.
  for (const std::string& problem :
       {CheckName(request.name), ReadSizes(requirements, request),
        ReadCapacityTypes(requirements, request), ReadZones(requirements, location, request),
        ReadPlatform(requirements, request), ReadResources(claim, request), CheckLabels(request),
        ReadAnnotations(claim, request)}) {
    if (request.invalid.empty()) request.invalid = problem;
  }
  return request;
}

std::vector<Taint> ParseTaints(const kube::Object& object,
                               std::initializer_list<std::string_view> path) {
  std::vector<Taint> taints;
  const auto* const list = object.Find(path);
  if (list == nullptr || !list->is_array()) return taints;
  for (const auto& entry : list->get_array()) {
    Taint taint{std::string(kube::StringAt(entry, {"key"})),
                std::string(kube::StringAt(entry, {"value"})),
                std::string(kube::StringAt(entry, {"effect"}))};
    if (!taint.key.empty() && !taint.effect.empty()) taints.push_back(std::move(taint));
  }
  return taints;
}

bool IsReservedNodeLabel(std::string_view key) {
  const std::string_view domain = key.substr(0, key.find('/'));
  if (domain.size() == key.size()) return false;
  const absl::string_view text(domain.data(), domain.size());
  return absl::EndsWith(text, "kubernetes.io") || absl::EndsWith(text, "k8s.io") ||
         text == "kubernetes.azure.com";
}

}  // namespace gpu_provisioner

#include "local-cluster/azure/compute.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "local-cluster/azure/answers.h"

namespace local_cluster::azure {
namespace {

constexpr char kRegion[] = "cores";
constexpr char kSpot[] = "lowPriorityCores";

}  // namespace

Compute::Compute(catalog::GpuTypes types, std::string location, int family_cores, int region_cores)
    : types_(std::move(types)), location_(std::move(location)), family_cores_(family_cores) {
  quotas_[Lower(kRegion)] = {.limit = region_cores};
  quotas_[Lower(kSpot)] = {.limit = region_cores};
  spelling_[Lower(kRegion)] = kRegion;
  spelling_[Lower(kSpot)] = kSpot;
  for (const catalog::GpuType* type : types_.All("azure")) {
    if (!type->quota_family.empty()) Family(type->quota_family);
  }
}

Compute::Quota& Compute::Family(const std::string& name) {
  spelling_.try_emplace(Lower(name), name);
  return quotas_.try_emplace(Lower(name), Quota{.limit = family_cores_}).first->second;
}

const catalog::GpuType* Compute::FindSize(std::string_view size) const {
  if (const auto* type = types_.Find("azure", size)) return type;
  if (Lower(size) == "standard_nd96asr_v4") return types_.Find("azure", "Standard_ND96asr_A100_v4");
  return nullptr;
}

std::optional<net::Response> Compute::Refuse(const std::string& name, std::string_view shown,
                                             int64_t cores) {
  const Quota& quota = quotas_[Lower(name)];
  if (quota.used + cores <= quota.limit) return std::nullopt;
  return ErrorAnswer(
      409, "OperationNotAllowed",
      absl::StrFormat(
          "Operation could not be completed as it results in exceeding approved %s quota. "
          "Additional details - Deployment Model: Resource Manager, Location: %s, Current Limit: "
          "%d, Current Usage: %d, Additional Required: %d, (Minimum) New Limit Required: %d. "
          "Submit "
          "a request for Quota increase at https://aka.ms/ProdportalCRP",
          shown, location_, quota.limit, quota.used, cores, quota.used + cores));
}

std::optional<net::Response> Compute::Take(const catalog::GpuType& type, bool spot) {
  const int64_t cores = type.vcpus;
  if (spot) {
    if (auto refusal = Refuse(kSpot, "LowPriorityCores", cores)) return refusal;
    quotas_[Lower(kSpot)].used += cores;
    return std::nullopt;
  }
  Quota& family = Family(type.quota_family);
  if (auto refusal = Refuse(type.quota_family, type.quota_family + " Cores", cores)) return refusal;
  if (auto refusal = Refuse(kRegion, "Total Regional Cores", cores)) return refusal;
  family.used += cores;
  quotas_[kRegion].used += cores;
  return std::nullopt;
}

void Compute::GiveBack(const catalog::GpuType& type, bool spot) {
  const auto less = [&](Quota& quota) {
    quota.used = std::max<int64_t>(0, quota.used - type.vcpus);
  };
  if (spot) return less(quotas_[Lower(kSpot)]);
  less(Family(type.quota_family));
  less(quotas_[kRegion]);
}

bool Compute::Allocate(std::string_view size, const std::string& zone) {
  const auto room = capacity_.find({Lower(size), zone});
  if (room == capacity_.end()) return true;
  if (room->second <= 0) return false;
  --room->second;
  return true;
}

void Compute::Deallocate(std::string_view size, const std::string& zone) {
  const auto room = capacity_.find({Lower(size), zone});
  if (room != capacity_.end()) ++room->second;
}

void Compute::SetQuota(const std::string& family, std::optional<int64_t> limit,
                       std::optional<int64_t> used) {
  Quota& quota = Family(family);
  if (limit) quota.limit = *limit;
  if (used) quota.used = *used;
}

void Compute::SetCapacity(std::string_view size, const std::string& zone, int64_t free) {
  capacity_[{Lower(size), zone}] = free;
}

net::Response Compute::Usages() const {
  boost::json::array list;
  for (const auto& [name, quota] : quotas_) {
    list.push_back(boost::json::object{
        {"unit", "Count"},
        {"currentValue", quota.used},
        {"limit", quota.limit},
        {"name", boost::json::object{{"value", spelling_.at(name)},
                                     {"localizedValue", spelling_.at(name) + " vCPUs"}}}});
  }
  return JsonAnswer(200, boost::json::object{{"value", std::move(list)}});
}

net::Response Compute::Skus() const {
  boost::json::array list;
  for (const catalog::GpuType* type : types_.All("azure")) {
    boost::json::array zones;
    for (const std::string& zone : type->zones) zones.emplace_back(zone);
    boost::json::array capabilities{
        boost::json::object{{"name", "vCPUs"}, {"value", absl::StrFormat("%d", type->vcpus)}},
        boost::json::object{{"name", "MemoryGB"},
                            {"value", absl::StrFormat("%g", type->host_memory_gib)}}};
    if (type->gpus > 0) {
      capabilities.push_back(
          boost::json::object{{"name", "GPUs"}, {"value", absl::StrFormat("%d", type->gpus)}});
    }
    list.push_back(boost::json::object{
        {"resourceType", "virtualMachines"},
        {"name", type->name},
        {"tier", "Standard"},
        {"family", type->quota_family},
        {"locations", boost::json::array{location_}},
        {"locationInfo",
         boost::json::array{boost::json::object{{"location", location_}, {"zones", zones}}}},
        {"capabilities", std::move(capabilities)},
        {"restrictions", boost::json::array{}}});
  }
  return JsonAnswer(200, boost::json::object{{"value", std::move(list)}});
}

}  // namespace local_cluster::azure

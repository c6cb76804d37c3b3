#include "gpu-provisioner/offerings.h"

#include <algorithm>
#include <limits>
#include <tuple>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"

namespace gpu_provisioner {
namespace {

constexpr absl::Duration kShortMark = absl::Minutes(3);

std::string SizeKey(const OfferingRef& offering, std::string_view zone) {
  return Folded(absl::StrFormat("%s/%s/%s", offering.capacity_type, offering.size, zone));
}

std::string FamilyKey(std::string_view family, std::string_view capacity_type) {
  return Folded(absl::StrFormat("family/%s/%s", capacity_type, family));
}

// What a class marks, and for how long.
struct MarkRule {
  std::string key;
  absl::Duration lasts;
};

std::optional<MarkRule> RuleOf(const OfferingRef& offering, const QuotaNeed& need,
                               const ArmFailure& failure) {
  const bool spot = offering.capacity_type == "spot";
  const std::string any_zone = SizeKey(offering, "*");
  switch (failure.error_class) {
    case ErrorClass::kQuotaFamily: {
      const bool none = failure.quota && failure.quota->limit == 0;
      return MarkRule{FamilyKey(need.family, offering.capacity_type),
                      none ? absl::Hours(1) : absl::Minutes(10)};
    }
    case ErrorClass::kQuotaRegion:
      return MarkRule{"region/" + offering.capacity_type, absl::Minutes(10)};
    case ErrorClass::kQuotaSpot:
      return MarkRule{"region/spot", absl::Hours(1)};
    case ErrorClass::kSkuRestricted:
    case ErrorClass::kSkuNotAvailable:
      return MarkRule{any_zone, spot ? absl::Hours(1) : absl::Hours(23)};
    case ErrorClass::kAllocation:
      return MarkRule{any_zone, absl::Hours(1)};
    case ErrorClass::kAllocationZone:
      return MarkRule{SizeKey(offering, offering.zone), absl::Hours(1)};
    case ErrorClass::kSpotPrice:
      return MarkRule{any_zone, absl::Hours(1)};
    case ErrorClass::kReconcileInternal:
      return MarkRule{SizeKey(offering, offering.zone), kShortMark};
    default:
      return std::nullopt;
  }
}

bool IsQuota(ErrorClass error_class) {
  return error_class == ErrorClass::kQuotaFamily || error_class == ErrorClass::kQuotaRegion ||
         error_class == ErrorClass::kQuotaSpot;
}

// Places of a size in the order of trying; "" is regional.
std::vector<std::string> PlacesOf(const NodeRequest& request, const SkuFacts* sku,
                                  const catalog::GpuType* type, bool zonal_first) {
  std::vector<std::string> zones = sku != nullptr ? sku->zones : std::vector<std::string>();
  if (zones.empty() && type != nullptr) zones = type->zones;
  std::vector<std::string> places;
  if (!request.zones.empty()) {
    // A zone requirement binds, whatever the table knows.
    for (const std::string& zone : request.zones) places.push_back(zone == "0" ? "" : zone);
    std::ranges::sort(places, [](const auto& a, const auto& b) {
      return std::pair(a.empty(), a) < std::pair(b.empty(), b);
    });
    return places;
  }
  if (zonal_first) places = zones;
  places.emplace_back("");
  return places;
}

bool CanServe(const NodeRequest& request, const catalog::GpuType* type) {
  if (type == nullptr) return true;
  if (!request.archs.empty() && !request.archs.contains(type->arch)) return false;
  const auto exceeds = [&](const char* resource, double has) {
    const auto wanted = request.requests.find(resource);
    return wanted != request.requests.end() && has > 0 && wanted->second > has;
  };
  if (exceeds("cpu", type->vcpus)) return false;
  if (exceeds("memory", type->host_memory_gib * 1024 * 1024 * 1024)) return false;
  const auto gpus = request.requests.find("nvidia.com/gpu");
  return gpus == request.requests.end() || gpus->second <= type->gpus;
}

std::string QuotaMessage(const QuotaCheck& check, const Offering& offering,
                         std::string_view location) {
  return absl::StrFormat("quota of %s in %s: limit %d, used %d, need %d for %s", check.exhausted,
                         location, check.limit, check.used + check.reserved, offering.need.cores,
                         offering.ref.size);
}

void Block(Offering& offering, BlockedBy by, std::string message, ErrorClass error_class,
           absl::Duration until) {
  offering.blocked_by = by;
  offering.blocked_message = std::move(message);
  offering.mark_class = error_class;
  offering.blocked_until = until;
}

void Judge(Offering& offering, const NodeRequest& request, const SkuFacts* sku,
           const OfferingInputs& inputs) {
  offering.quota =
      inputs.quota == nullptr ? QuotaCheck{} : inputs.quota->Check(offering.need, request.uid);
  const auto mark = inputs.marks == nullptr
                        ? std::nullopt
                        : inputs.marks->Find(offering.ref, offering.need.family, inputs.now);
  const bool zone_restricted =
      sku != nullptr &&
      std::ranges::find(sku->restricted_zones, offering.ref.zone) != sku->restricted_zones.end();
  if (sku != nullptr && (sku->restricted || zone_restricted)) {
    Block(offering, BlockedBy::kRestriction,
          absl::StrFormat("%s is not available to this subscription in %s", offering.ref.size,
                          inputs.location),
          ErrorClass::kSkuRestricted, absl::InfiniteDuration());
  } else if (mark) {
    Block(offering, BlockedBy::kMark, mark->message, mark->error_class, mark->until);
    offering.mark_code = mark->code;
  } else if (offering.quota.known && !offering.quota.enough) {
    const bool region = offering.quota.exhausted == "cores";
    Block(offering, BlockedBy::kQuota, QuotaMessage(offering.quota, offering, inputs.location),
          region ? ErrorClass::kQuotaRegion : ErrorClass::kQuotaFamily, absl::InfiniteDuration());
  } else if (request.usd_per_hour_max && offering.usd_per_hour &&
             *offering.usd_per_hour > *request.usd_per_hour_max) {
    Block(offering, BlockedBy::kPrice,
          absl::StrFormat("%s costs %.3f USD/h, allowed are %.3f", offering.ref.size,
                          *offering.usd_per_hour, *request.usd_per_hour_max),
          ErrorClass::kNone, absl::InfiniteDuration());
  } else if (inputs.pool_limit_reached) {
    Block(offering, BlockedBy::kPoolLimit,
          absl::StrFormat("the cluster has %d agent pools, which is all it may have",
                          inputs.pools_max),
          ErrorClass::kPoolLimit, absl::InfiniteDuration());
  }
}

int CapacityRank(std::string_view capacity_type) {
  if (capacity_type == "reserved") return 0;
  return capacity_type == "spot" ? 1 : 2;
}

}  // namespace

bool Marks::Add(const OfferingRef& offering, const QuotaNeed& need, const ArmFailure& failure,
                std::string message, absl::Duration now) {
  const auto rule = RuleOf(offering, need, failure);
  if (!rule) return false;
  Mark mark{.error_class = failure.error_class,
            .code = failure.code,
            .message = std::move(message),
            .until = now + rule->lasts};
  if (IsQuota(failure.error_class)) mark.quota_need = need;
  absl::MutexLock lock(&mutex_);
  marks_[rule->key] = std::move(mark);
  return true;
}

std::optional<Mark> Marks::Find(const OfferingRef& offering, std::string_view family,
                                absl::Duration now) const {
  absl::MutexLock lock(&mutex_);
  std::optional<Mark> longest;
  for (const std::string& key :
       {SizeKey(offering, offering.zone), SizeKey(offering, "*"),
        FamilyKey(family, offering.capacity_type), "region/" + offering.capacity_type}) {
    const auto mark = marks_.find(key);
    if (mark == marks_.end() || mark->second.until <= now) continue;
    if (!longest || mark->second.until > longest->until) longest = mark->second;
  }
  return longest;
}

bool Marks::EndWhereRoom(const Quota& quota) {
  absl::MutexLock lock(&mutex_);
  return std::erase_if(marks_, [&](const auto& entry) {
           if (!entry.second.quota_need) return false;
           const QuotaCheck check = quota.Check(*entry.second.quota_need, "");
           return check.known && check.enough;
         }) > 0;
}

std::map<std::string, Mark> Marks::All(absl::Duration now) const {
  absl::MutexLock lock(&mutex_);
  std::map<std::string, Mark> standing = marks_;
  std::erase_if(standing, [&](const auto& entry) { return entry.second.until <= now; });
  return standing;
}

std::vector<Offering> PlanOfferings(const NodeRequest& request, const OfferingInputs& inputs) {
  std::vector<Offering> offerings;
  for (const std::string& capacity_type : request.capacity_types) {
    for (const std::string& size : request.sizes) {
      const catalog::GpuType* const type = FindSize(*inputs.types, size);
      if (!CanServe(request, type)) continue;
      const SkuFacts* sku = nullptr;
      if (inputs.skus != nullptr) {
        const auto found = inputs.skus->find(Folded(size));
        if (found != inputs.skus->end()) sku = &found->second;
      }
      const std::string lower = Folded(size);
      if (type == nullptr && sku == nullptr && !absl::StartsWith(lower, "standard_")) continue;
      for (const std::string& zone : PlacesOf(request, sku, type, inputs.zonal_first)) {
        Offering offering{.ref = {size, zone, capacity_type}, .type = type};
        if (type != nullptr) offering.usd_per_hour = type->usd_per_hour;
        offering.need = {.family = type != nullptr ? type->quota_family : "",
                         .cores = type != nullptr ? type->vcpus : 0,
                         .spot = capacity_type == "spot"};
        if (sku != nullptr && !sku->family.empty()) offering.need.family = sku->family;
        if (sku != nullptr && sku->vcpus > 0) offering.need.cores = sku->vcpus;
        offering.place = static_cast<int>(offerings.size());
        Judge(offering, request, sku, inputs);
        offerings.push_back(std::move(offering));
      }
    }
  }
  // Places keep their order within a size; an unknown price sorts last, it is not free.
  std::ranges::sort(offerings, [](const Offering& a, const Offering& b) {
    constexpr double kUnknown = std::numeric_limits<double>::infinity();
    return std::tuple(CapacityRank(a.ref.capacity_type), a.usd_per_hour.value_or(kUnknown),
                      Folded(a.ref.size), a.place) < std::tuple(CapacityRank(b.ref.capacity_type),
                                                                b.usd_per_hour.value_or(kUnknown),
                                                                Folded(b.ref.size), b.place);
  });
  return offerings;
}

const catalog::GpuType* FindSize(const catalog::GpuTypes& types, std::string_view size) {
  if (const auto* type = types.Find("azure", size)) return type;
  // ARM's name and that of the price list.
  if (EqualFolded(size, "Standard_ND96asr_v4")) {
    return types.Find("azure", "Standard_ND96asr_A100_v4");
  }
  if (EqualFolded(size, "Standard_ND96asr_A100_v4")) {
    return types.Find("azure", "Standard_ND96asr_v4");
  }
  return nullptr;
}

bool IsGpuSize(const catalog::GpuType* type, std::string_view size) {
  if (type != nullptr) return type->gpus > 0;
  return absl::StrContains(Folded(size), "standard_n");
}

}  // namespace gpu_provisioner

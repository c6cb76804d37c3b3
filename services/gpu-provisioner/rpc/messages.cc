#include "gpu-provisioner/rpc/messages.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/match.h"

#include "gpu-provisioner/arm/agent_pool.h"

namespace gpu_provisioner {
namespace {

namespace v1 = kaito::provisioner::v1;

v1::BlockedBy ToMessage(BlockedBy blocked_by) {
  switch (blocked_by) {
    case BlockedBy::kNothing:
      return v1::BLOCKED_BY_NOTHING;
    case BlockedBy::kQuota:
      return v1::BLOCKED_BY_QUOTA;
    case BlockedBy::kMark:
      return v1::BLOCKED_BY_MARK;
    case BlockedBy::kRestriction:
      return v1::BLOCKED_BY_RESTRICTION;
    case BlockedBy::kPrice:
      return v1::BLOCKED_BY_PRICE;
    case BlockedBy::kPoolLimit:
      return v1::BLOCKED_BY_POOL_LIMIT;
  }
  return v1::BLOCKED_BY_UNSPECIFIED;
}

int64_t UnixOf(absl::Duration until, absl::Duration now, absl::Time wall) {
  if (until == absl::InfiniteDuration() || until <= now) return 0;
  return absl::ToUnixSeconds(wall + (until - now));
}

uint32_t Positive(int64_t number) {
  return static_cast<uint32_t>(std::clamp<int64_t>(number, 0, UINT32_MAX));
}

// How many launches `quota` leaves room for; a large number where nothing is known.
int64_t RoomOf(const Offering& offering) {
  if (offering.blocked_by != BlockedBy::kNothing) return 0;
  if (!offering.quota.known || offering.need.cores <= 0) return 1'000'000;
  const int64_t left = offering.quota.limit - offering.quota.used - offering.quota.reserved;
  return std::max<int64_t>(0, left / offering.need.cores);
}

}  // namespace

v1::Offering ToMessage(const Offering& offering, absl::Duration now, absl::Time wall) {
  v1::Offering message = ToMessage(offering.ref);
  if (offering.usd_per_hour) message.set_usd_per_hour(*offering.usd_per_hour);
  if (offering.quota.known) {
    message.set_quota_limit(Positive(offering.quota.limit));
    message.set_quota_used(Positive(offering.quota.used));
    message.set_quota_reserved(Positive(offering.quota.reserved));
    message.set_quota_need(Positive(offering.need.cores));
  }
  message.set_blocked_by(ToMessage(offering.blocked_by));
  if (offering.blocked_by != BlockedBy::kNothing) {
    message.set_blocked_until(UnixOf(offering.blocked_until, now, wall));
  }
  return message;
}

v1::Offering ToMessage(const OfferingRef& offering) {
  v1::Offering message;
  message.set_instance_type(offering.size);
  message.set_zone(offering.zone);
  message.set_capacity_type(offering.capacity_type);
  return message;
}

v1::InstanceType ToMessage(const catalog::GpuType& type, const SkuFacts* sku) {
  v1::InstanceType message;
  message.set_name(type.name);
  message.set_gpus(Positive(type.gpus));
  message.set_gpu_model(type.model);
  message.set_gpu_memory_gib(type.memory_total_gib);
  message.set_compute_capability(type.compute_capability);
  message.set_architecture(type.arch);
  const std::vector<std::string>& zones =
      sku != nullptr && !sku->zones.empty() ? sku->zones : type.zones;
  for (const std::string& zone : zones) message.add_zones(zone);
  if (sku != nullptr && sku->restricted) message.add_restrictions("NotAvailableForSubscription");
  if (sku != nullptr) {
    for (const std::string& zone : sku->restricted_zones) {
      message.add_restrictions("zone " + zone + ": NotAvailableForSubscription");
    }
  }
  if (type.usd_per_hour) message.set_usd_per_hour(*type.usd_per_hour);
  message.set_quota_family(type.quota_family);
  message.set_vcpus(Positive(type.vcpus));
  return message;
}

v1::ExplainResponse ToExplanation(const ClaimState& state, absl::Duration, absl::Time) {
  v1::ExplainResponse message;
  message.set_phase(static_cast<v1::Phase>(state.phase));
  for (const NamedVerdict& condition : state.conditions) {
    v1::Condition& entry = *message.add_conditions();
    entry.set_type(condition.type);
    entry.set_status(condition.verdict.status);
    entry.set_reason(condition.verdict.reason);
    entry.set_message(condition.verdict.message);
  }
  message.set_pool_state(state.pool_state);
  for (const CloudError& error : state.errors) {
    v1::CloudError& entry = *message.add_errors();
    entry.set_code(error.code);
    entry.set_message(error.message.substr(0, 4096));
  }
  for (const TriedOffering& tried : state.tried) {
    v1::OfferingTried& entry = *message.add_tried();
    *entry.mutable_offering() = ToMessage(tried.offering);
    entry.set_error_class(std::string(ErrorClassName(tried.error_class)));
  }
  message.set_next_step(state.next_step);
  if (state.not_before != absl::InfinitePast()) {
    message.set_not_before(absl::ToUnixSeconds(state.not_before));
  }
  constexpr size_t kBlockersMax = 100;
  for (size_t i = 0; i < std::min(kBlockersMax, state.drain_blockers.size()); ++i) {
    message.add_drain_blockers(state.drain_blockers[i]);
  }
  return message;
}

v1::ClaimProgress ToProgress(const ClaimState& state, absl::Duration now,
                             std::optional<double> typical_seconds) {
  v1::ClaimProgress message;
  message.set_claim(state.claim);
  message.set_phase(static_cast<v1::Phase>(state.phase));
  message.set_reason(state.reason);
  message.set_message(state.message);
  message.set_attempt(Positive(state.attempt));
  if (state.offering) *message.mutable_offering() = ToMessage(*state.offering);
  const double seconds = absl::ToDoubleSeconds(now - state.since);
  message.set_seconds_in_phase(seconds);
  const bool on_its_way = state.phase == Phase::kLaunching || state.phase == Phase::kNodeJoining ||
                          state.phase == Phase::kRegistering || state.phase == Phase::kInitializing;
  message.set_seconds_left(on_its_way && typical_seconds ? std::max(0.0, *typical_seconds - seconds)
                                                         : -1);
  return message;
}

NodeRequest ToRequest(const v1::PlanRequest& request, std::string_view location) {
  NodeRequest claim;
  claim.name = "plan";
  claim.sizes.assign(request.instance_types().begin(), request.instance_types().end());
  claim.storage_gib =
      std::max(1, static_cast<int>(std::ceil(std::clamp(request.storage_gib(), 0.0, 1e6))));
  claim.azure_linux = EqualFolded(request.image_family(), "azurelinux");
  const auto has = [&](std::string_view type) {
    return std::ranges::any_of(request.capacity_types(),
                               [&](const std::string& entry) { return entry == type; });
  };
  for (const char* type : {"reserved", "spot", "on-demand"}) {
    if (has(type)) claim.capacity_types.emplace_back(type);
  }
  if (request.capacity_types().empty()) claim.capacity_types = {"on-demand"};
  const std::string prefix = Folded(location) + "-";
  for (const std::string& zone : request.zones()) {
    const std::string folded = Folded(zone);
    claim.zones.push_back(absl::StartsWith(folded, prefix) ? folded.substr(prefix.size()) : folded);
  }
  if (claim.sizes.empty()) claim.invalid = "instance_types: at least one is needed";
  if (claim.capacity_types.empty()) {
    claim.invalid = "capacity_types: must be on-demand, spot or reserved";
  }
  if (claim.storage_gib > 2048) claim.invalid = "storage_gib: at most 2048";
  return claim;
}

v1::PlanResponse ToPlan(const NodeRequest& request, const std::vector<Offering>& offerings,
                        int count, int pools_left, absl::Duration now, absl::Time wall) {
  v1::PlanResponse message;
  int64_t room = 0;
  std::set<std::string> families;  // One family's quota counts once.
  for (const Offering& offering : offerings) {
    *message.add_offerings() = ToMessage(offering, now, wall);
    const std::string family = Folded(offering.need.family) + offering.ref.capacity_type;
    if (offering.quota.known && offering.blocked_by == BlockedBy::kNothing &&
        !families.insert(family).second) {
      continue;
    }
    room += RoomOf(offering);
  }
  const int64_t startable = std::min<int64_t>({room, count, std::max(0, pools_left)});
  message.set_startable(Positive(startable));
  if (startable >= count) return message;
  if (!request.invalid.empty()) {
    message.set_reason("InvalidSpec");
    message.set_message(request.invalid);
  } else if (offerings.empty()) {
    message.set_reason("InvalidSpec");
    message.set_message("none of the sizes exists and fits the other requirements");
  } else if (startable == 0 && offerings.front().blocked_by != BlockedBy::kNothing) {
    const Offering& last = offerings.back();
    const Verdict verdict =
        VerdictOf({.error_class = last.mark_class, .code = last.mark_code}, last.ref, "");
    message.set_reason(last.blocked_by == BlockedBy::kPrice       ? "PriceLimit"
                       : last.blocked_by == BlockedBy::kPoolLimit ? "PoolLimitReached"
                                                                  : verdict.reason);
    message.set_message(last.blocked_message);
  } else {
    message.set_reason(room < count ? "QuotaExceeded" : "PoolLimitReached");
    message.set_message("only some of the claims can start now");
  }
  return message;
}

}  // namespace gpu_provisioner

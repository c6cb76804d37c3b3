#include "gpu-provisioner/conditions.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/kube/json.h"

namespace gpu_provisioner {
namespace {

constexpr size_t kMessageMax = 800;

struct Entry {
  std::string type;
  Verdict verdict;
  absl::Time transition;
  int64_t generation = 0;
};

std::vector<Entry> ExistingEntries(const kube::Object& claim) {
  std::vector<Entry> entries;
  const auto* const list = claim.Find({"status", "conditions"});
  if (list == nullptr || !list->is_array()) return entries;
  for (const auto& json : list->get_array()) {
    Entry entry{.type = std::string(kube::StringAt(json, {"type"})),
                .verdict = {std::string(kube::StringAt(json, {"status"}, "Unknown")),
                            std::string(kube::StringAt(json, {"reason"})),
                            std::string(kube::StringAt(json, {"message"}))},
                .generation = kube::IntAt(json, {"observedGeneration"})};
    entry.transition = kube::ParseTime(kube::StringAt(json, {"lastTransitionTime"}))
                           .value_or(claim.creation_time().value_or(absl::UnixEpoch()));
    if (!entry.type.empty()) entries.push_back(std::move(entry));
  }
  return entries;
}

Entry* FindEntry(std::vector<Entry>& entries, std::string_view type) {
  const auto found =
      std::ranges::find_if(entries, [&](const Entry& entry) { return entry.type == type; });
  return found == entries.end() ? nullptr : &*found;
}

Verdict ReadyVerdict(std::vector<Entry>& entries) {
  std::string missing;
  bool any_false = false;
  for (const char* type : {"Launched", "Registered", "Initialized"}) {
    const Entry& entry = *FindEntry(entries, type);
    if (entry.verdict.status == "True") continue;
    any_false = any_false || entry.verdict.status == "False";
    missing += absl::StrFormat("%s%s=%s", missing.empty() ? "" : ", ", type, entry.verdict.status);
  }
  if (missing.empty()) return {"True", "Ready", ""};
  return any_false ? False("UnhealthyDependents", missing)
                   : Unknown("ReconcilingDependents", missing);
}

void Apply(std::vector<Entry>& entries, const std::string& type, Verdict verdict,
           const kube::Object& claim, absl::Time now) {
  if (verdict.reason.empty()) verdict.reason = type;
  verdict.message = Bounded(verdict.message);
  Entry* entry = FindEntry(entries, type);
  if (entry == nullptr) {
    const absl::Time created = claim.creation_time().value_or(now);
    const bool starts = verdict.status == "Unknown";
    entries.push_back({.type = type, .transition = starts ? created : now});
    entry = &entries.back();
  } else if (entry->verdict.status != verdict.status) {
    entry->transition = now;
  }
  entry->verdict = std::move(verdict);
  entry->generation = claim.generation();
}

std::string QuotaMessage(const ArmFailure& failure, const OfferingRef& offering,
                         std::string_view location) {
  const QuotaNumbers numbers = failure.quota.value_or(QuotaNumbers{});
  std::string name = numbers.family;
  if (failure.error_class == ErrorClass::kQuotaRegion) name = "cores";
  if (failure.error_class == ErrorClass::kQuotaSpot) name = "lowPriorityCores";
  if (numbers.limit < 0) {
    return absl::StrFormat("quota of %s in %s is used up; needed for %s", name, location,
                           offering.size);
  }
  return absl::StrFormat("quota of %s in %s: limit %d, used %d, need %d for %s", name, location,
                         numbers.limit, numbers.used, numbers.need, offering.size);
}

std::string CapacityMessage(const ArmFailure& failure, const OfferingRef& offering,
                            std::string_view location) {
  return absl::StrFormat("no capacity in %s: %s %s %s", location, offering.size,
                         offering.zone.empty() ? "regional" : "zone " + offering.zone,
                         failure.code);
}

}  // namespace

boost::json::value ClaimConditions(const kube::Object& claim,
                                   const std::vector<NamedVerdict>& verdicts, absl::Time now) {
  std::vector<Entry> entries = ExistingEntries(claim);
  for (const char* type : {"Launched", "Registered", "Initialized"}) {
    if (FindEntry(entries, type) != nullptr) continue;
    Apply(entries, type, Unknown("AwaitingReconciliation", "not looked at yet"), claim, now);
  }
  for (const NamedVerdict& named : verdicts) Apply(entries, named.type, named.verdict, claim, now);
  Apply(entries, "Ready", ReadyVerdict(entries), claim, now);

  std::ranges::sort(entries, [](const Entry& a, const Entry& b) {
    const bool a_ready = a.type == "Ready";
    const bool b_ready = b.type == "Ready";
    if (a_ready != b_ready) return b_ready;
    return std::pair(a.transition, std::string_view(a.type)) <
           std::pair(b.transition, std::string_view(b.type));
  });
  boost::json::array list;
  for (const Entry& entry : entries) {
    list.push_back(boost::json::object{{"type", entry.type},
                                       {"status", entry.verdict.status},
                                       {"reason", entry.verdict.reason},
                                       {"message", entry.verdict.message},
                                       {"lastTransitionTime", kube::FormatTime(entry.transition)},
                                       {"observedGeneration", entry.generation}});
  }
  return list;
}

std::string FailureMessage(const ArmFailure& failure, const OfferingRef& offering,
                           std::string_view location) {
  switch (failure.error_class) {
    case ErrorClass::kQuotaFamily:
    case ErrorClass::kQuotaRegion:
    case ErrorClass::kQuotaSpot:
      return QuotaMessage(failure, offering, location);
    case ErrorClass::kAllocation:
    case ErrorClass::kAllocationZone:
    case ErrorClass::kSpotPrice:
      return CapacityMessage(failure, offering, location);
    case ErrorClass::kSkuRestricted:
    case ErrorClass::kSkuNotAvailable:
      return absl::StrFormat("%s is not available to this subscription in %s", offering.size,
                             location);
    case ErrorClass::kPolicy:
      return absl::StrFormat("refused by policy %s: %s", failure.policies, failure.message);
    case ErrorClass::kForbidden:
      if (failure.action.empty()) break;
      return absl::StrFormat("not allowed to do %s on %s; assign the role to the identity",
                             failure.action, failure.scope);
    case ErrorClass::kPoolLimit:
      return "the cluster has as many agent pools as it may have";
    case ErrorClass::kClusterGone:
      return "Azure does not know the cluster; check subscription, resource group and cluster name";
    default:
      break;
  }
  if (failure.code.empty()) return failure.message.empty() ? "no answer" : failure.message;
  return absl::StrFormat("%s: %s", failure.code, failure.message);
}

Verdict VerdictOf(const ArmFailure& failure, const OfferingRef& offering,
                  std::string_view location) {
  const std::string message = FailureMessage(failure, offering, location);
  switch (failure.error_class) {
    case ErrorClass::kThrottled:
      return Unknown("Throttled", "Azure asks to wait: too many requests");
    case ErrorClass::kQuotaFamily:
    case ErrorClass::kQuotaSpot:
      return False("QuotaExceeded", message);
    case ErrorClass::kQuotaRegion:
      return False("RegionalQuotaExceeded", message);
    case ErrorClass::kSkuRestricted:
    case ErrorClass::kSkuNotAvailable:
      return False("SkuNotAvailable", message);
    case ErrorClass::kAllocation:
    case ErrorClass::kAllocationZone:
    case ErrorClass::kSpotPrice:
      return False("InsufficientCapacity", message);
    case ErrorClass::kInProgressCreate:
      return Unknown("Launching", "its creation is running already");
    case ErrorClass::kInProgressOther:
    case ErrorClass::kSubnetBusy:
      return Unknown("WaitingForCluster", "another operation holds the cluster: " + message);
    case ErrorClass::kForbidden:
    case ErrorClass::kToken:
      return Unknown("AuthorizationFailed", message);
    case ErrorClass::kPoolLimit:
      return False("PoolLimitReached", message);
    case ErrorClass::kSubnetFull:
    case ErrorClass::kPolicy:
    case ErrorClass::kReconcileInternal:
    case ErrorClass::kInvalid:
      return False(ReasonOfCode(failure.code), message);
    case ErrorClass::kOverridden:
    case ErrorClass::kPrecondition:
      return Unknown("Launching", "another operation came between; looking again");
    default:
      return Unknown("LaunchFailed", message);
  }
}

std::string Bounded(std::string_view message) {
  std::string text(message.substr(0, kMessageMax));
  std::ranges::replace_if(text, [](char c) { return c == '\n' || c == '\r' || c == '\t'; }, ' ');
  // Not in the middle of a UTF-8 character.
  while (!text.empty() && text.size() == kMessageMax && (text.back() & 0xC0) == 0x80) {
    text.pop_back();
  }
  return text;
}

}  // namespace gpu_provisioner

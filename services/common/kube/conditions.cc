#include "common/kube/conditions.h"

#include <algorithm>
#include <utility>

#include "boost/json.hpp"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/kube/json.h"

namespace kube {
namespace {

namespace json = boost::json;

const json::value* FindConditionJson(const Object& object, std::string_view type) {
  const json::value* found = object.Find({"status", "conditions"});
  const json::array* conditions = found == nullptr ? nullptr : found->if_array();
  if (conditions == nullptr) return nullptr;
  for (const json::value& condition : *conditions) {
    if (StringAt(condition, {"type"}) == type) return &condition;
  }
  return nullptr;
}

// The merge patch that turns `before` into `after`.
json::value MergeDifference(const json::value& before, const json::value& after) {
  const json::object* old = before.if_object();
  const json::object* wanted = after.if_object();
  if (old == nullptr || wanted == nullptr) return after;
  json::object patch;
  for (const auto& [name, value] : *wanted) {
    const json::value* present = old->if_contains(name);
    if (present == nullptr) {
      patch[name] = value;
    } else if (*present != value) {
      patch[name] = MergeDifference(*present, value);
    }
  }
  for (const auto& member : *old) {
    if (!wanted->contains(member.key())) patch[member.key()] = nullptr;
  }
  return patch;
}

absl::StatusOr<Object> PatchFinalizers(Client& client, const Resource& resource,
                                       const Object& object,
                                       const std::vector<std::string>& finalizers) {
  json::value patch = json::object();
  MakePath(patch, {"metadata", "resourceVersion"}) = json::string_view(object.resource_version());
  MakePath(patch, {"metadata", "finalizers"}) = json::array(finalizers.begin(), finalizers.end());
  return client.Patch(resource, object.key(), PatchType::kMerge, patch);
}

}  // namespace

std::optional<Condition> FindCondition(const Object& object, std::string_view type) {
  const json::value* found = FindConditionJson(object, type);
  if (found == nullptr) return std::nullopt;
  return Condition{.type = std::string(type),
                   .status = std::string(StringAt(*found, {"status"}, "Unknown")),
                   .reason = std::string(StringAt(*found, {"reason"})),
                   .message = std::string(StringAt(*found, {"message"})),
                   .observed_generation = IntAt(*found, {"observedGeneration"})};
}

bool IsConditionTrue(const Object& object, std::string_view type) {
  const json::value* found = FindConditionJson(object, type);
  return found != nullptr && StringAt(*found, {"status"}) == "True";
}

json::value ConditionsJson(const Object& object, const std::vector<Condition>& wanted,
                           absl::Time now) {
  std::vector<const Condition*> sorted;
  sorted.reserve(wanted.size());
  for (const Condition& condition : wanted) sorted.push_back(&condition);
  std::ranges::sort(sorted, [](const auto* a, const auto* b) { return a->type < b->type; });
  json::array conditions;
  for (const Condition* condition : sorted) {
    CHECK(!condition->reason.empty());
    const json::value* before = FindConditionJson(object, condition->type);
    std::string since = kube::FormatTime(now);
    if (before != nullptr && StringAt(*before, {"status"}) == condition->status &&
        !StringAt(*before, {"lastTransitionTime"}).empty()) {
      since = StringAt(*before, {"lastTransitionTime"});
    }
    conditions.push_back({{"type", condition->type},
                          {"status", condition->status},
                          {"reason", condition->reason},
                          {"message", condition->message},
                          {"observedGeneration", condition->observed_generation},
                          {"lastTransitionTime", since}});
  }
  return conditions;
}

absl::StatusOr<StatusWritten> WriteStatus(Client& client, const Resource& resource,
                                          const Object& object, const json::value& status) {
  const json::value* present = object.Find({"status"});
  const json::value before = present == nullptr ? json::value(json::object()) : *present;
  if (before == status) return StatusWritten{.changed = false, .object = object};
  json::value patch = json::object();
  MakePath(patch, {"metadata", "resourceVersion"}) = json::string_view(object.resource_version());
  MakePath(patch, {"status"}) = MergeDifference(before, status);
  ASSIGN_OR_RETURN(Object stored,
                   client.Patch(resource, object.key(), PatchType::kMerge, patch,
                                {.field_manager = client.field_manager() + "-status"}, "status"));
  return StatusWritten{.changed = true, .object = std::move(stored)};
}

absl::StatusOr<Object> AddFinalizer(Client& client, const Resource& resource, const Object& object,
                                    std::string_view finalizer) {
  if (object.HasFinalizer(finalizer)) return object;
  std::vector<std::string> finalizers = object.finalizers();
  finalizers.emplace_back(finalizer);
  return PatchFinalizers(client, resource, object, finalizers);
}

absl::StatusOr<Object> RemoveFinalizer(Client& client, const Resource& resource,
                                       const Object& object, std::string_view finalizer) {
  if (!object.HasFinalizer(finalizer)) return object;
  std::vector<std::string> finalizers = object.finalizers();
  std::erase(finalizers, finalizer);
  return PatchFinalizers(client, resource, object, finalizers);
}

}  // namespace kube

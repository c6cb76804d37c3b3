// status.conditions and the writing of status.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/fwd.hpp>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "common/kube/client.h"

namespace kube {

struct Condition {
  std::string type;
  std::string status = "Unknown";  // True, False, Unknown.
  std::string reason;              // CamelCase; never empty.
  std::string message;
  int64_t observed_generation = 0;

  bool operator==(const Condition&) const = default;
};

// nullopt when the object has none of that type.
std::optional<Condition> FindCondition(const Object& object, std::string_view type);
bool IsConditionTrue(const Object& object, std::string_view type);

// The JSON of `wanted`, sorted by type. lastTransitionTime is taken from `object`'s own condition
// where the status has not changed, else it is `now`. Types not wanted are dropped.
boost::json::value ConditionsJson(const Object& object, const std::vector<Condition>& wanted,
                                  absl::Time now);

// Replaces `object`'s status through the subresource (merge patch; members that are gone become
// null), with the object's resource version as precondition. Writes nothing when `status` equals
// what the object has, and says so.
struct StatusWritten {
  bool changed = false;
  Object object;
};
absl::StatusOr<StatusWritten> WriteStatus(Client& client, const Resource& resource,
                                          const Object& object, const boost::json::value& status);

// Adds or removes a finalizer by a patch of its own with the resource version as precondition.
// Returns the object as stored; unchanged when there is nothing to do.
absl::StatusOr<Object> AddFinalizer(Client& client, const Resource& resource, const Object& object,
                                    std::string_view finalizer);
absl::StatusOr<Object> RemoveFinalizer(Client& client, const Resource& resource,
                                       const Object& object, std::string_view finalizer);

}  // namespace kube

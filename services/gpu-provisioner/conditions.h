// The conditions of a claim: what users and the Workspace controller read. Pure.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <boost/json/fwd.hpp>

#include "absl/time/time.h"

#include "common/kube/conditions.h"
#include "common/kube/object.h"
#include "gpu-provisioner/arm/arm_error.h"
#include "gpu-provisioner/node_claim.h"

namespace gpu_provisioner {

// One condition's content. A True without a reason gets the type's name.
struct Verdict {
  std::string status = "Unknown";
  std::string reason;
  std::string message;

  bool operator==(const Verdict&) const = default;
};

inline Verdict True() { return {.status = "True"}; }
inline Verdict Unknown(std::string_view reason, std::string_view message) {
  return {"Unknown", std::string(reason), std::string(message)};
}
inline Verdict False(std::string_view reason, std::string_view message) {
  return {"False", std::string(reason), std::string(message)};
}

struct NamedVerdict {
  std::string type;  // Launched, Registered, Initialized, Drained …
  Verdict verdict;
};

// status.conditions of `claim` with `verdicts` in place of those of their types; others stay.
// Launched, Registered, Initialized and Ready are always there; Ready is computed. The time of a
// transition moves only with the status and begins at the claim's creation. Sorted by it, Ready
// last.
boost::json::value ClaimConditions(const kube::Object& claim,
                                   const std::vector<NamedVerdict>& verdicts, absl::Time now);

// What a refusal or failure of a launch means to the user, when no other offering is left.
Verdict VerdictOf(const ArmFailure& failure, const OfferingRef& offering,
                  std::string_view location);

// The message of that verdict alone; also what a mark remembers.
std::string FailureMessage(const ArmFailure& failure, const OfferingRef& offering,
                           std::string_view location);

// At most 800 characters, on one line.
std::string Bounded(std::string_view message);

}  // namespace gpu_provisioner

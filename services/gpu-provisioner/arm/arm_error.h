// What Azure said was wrong: error bodies as a list of codes, and the list as one class.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"

namespace gpu_provisioner {

struct CloudError {
  std::string code;
  std::string message;

  bool operator==(const CloudError&) const = default;
};

// The errors in an answer's body, outer to inner: nested details, and the Compute errors that AKS
// wraps as text (Code="X" Message="…") or as JSON inside a message. At most 8 deep and 64 KiB. A
// body without JSON gives one error without a code.
std::vector<CloudError> ParseArmError(std::string_view body);

// The same for an error already read from elsewhere, such as a pool's provisioningError.
std::vector<CloudError> ExpandError(const CloudError& outer);

enum class ErrorClass {
  kNone,
  kThrottled,
  kQuotaFamily,
  kQuotaRegion,
  kQuotaSpot,
  kInProgressCreate,
  kInProgressOther,
  kPrecondition,
  kSkuRestricted,
  kSkuNotAvailable,
  kAllocation,
  kAllocationZone,
  kSpotPrice,
  kSubnetFull,
  kSubnetBusy,
  kPoolLimit,
  kPolicy,
  kForbidden,
  kToken,
  kPoolGone,
  kClusterGone,
  kNodeBoot,
  kOverridden,
  kReconcileInternal,
  kDrainBlocked,
  kUnknownOutcome,
  kInvalid,
  kUnclassified,
};

// "QuotaFamily", for metrics, annotations and Explain.
std::string_view ErrorClassName(ErrorClass error_class);

// Azure's numbers in a refusal for lack of quota; -1 where it gave none.
struct QuotaNumbers {
  std::string family;
  int64_t limit = -1;
  int64_t used = -1;
  int64_t need = -1;
};

struct ArmFailure {
  ErrorClass error_class = ErrorClass::kNone;
  std::string code;     // Azure's, of the error that decided.
  std::string message;  // Of that error.
  std::optional<QuotaNumbers> quota;
  std::string policies;  // Names of the policies that refused, if any.
  std::string action;    // Of a 403: what was not allowed,
  std::string scope;     // and where.
  absl::Duration retry_after = absl::ZeroDuration();

  bool ok() const { return error_class == ErrorClass::kNone; }
};

// Pure. `http_status` 0: the error came with an operation or a pool, not as an answer's status.
//
// HTTP 429 first, then the innermost code that is known, then fragments of messages without case,
// then the status. "409 on create means it exists" does not hold: 409 is quota, a create of our
// own, another pool, a busy cluster, or a size that is not available.
ArmFailure Classify(int http_status, const std::vector<CloudError>& errors,
                    bool failure_cause_gateway = false);

// Parse and classify an answer. `body` is what came with `http_status`.
ArmFailure ClassifyBody(int http_status, std::string_view body, bool failure_cause_gateway = false);

// An answer that is none: cut, time-out, or not what was asked for.
ArmFailure UnknownOutcome(std::string_view message);

// `code` as a condition's reason: letters, digits and '_' only, a letter first.
std::string ReasonOfCode(std::string_view code);

}  // namespace gpu_provisioner

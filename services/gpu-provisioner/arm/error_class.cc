// The classifier of arm_error.h: tables of codes and of fragments, in the order of precedence.

#include <array>
#include <cctype>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"

#include "gpu-provisioner/arm/arm_error.h"

namespace gpu_provisioner {
namespace {

struct CodeRule {
  std::string_view code;
  ErrorClass error_class;
};

// Codes that decide, wherever they stand in the chain.
constexpr CodeRule kCodes[] = {
    {"SkuNotAvailable", ErrorClass::kSkuNotAvailable},
    {"AllocationFailed", ErrorClass::kAllocation},
    {"ZonalAllocationFailed", ErrorClass::kAllocationZone},
    {"OverconstrainedZonalAllocationRequest", ErrorClass::kAllocationZone},
    {"OverconstrainedAllocationRequest", ErrorClass::kSpotPrice},
    {"SpotPriceTooLow", ErrorClass::kSpotPrice},
    {"InsufficientSubnetSize", ErrorClass::kSubnetFull},
    {"SetVNetOwnershipFailed", ErrorClass::kSubnetBusy},
    {"VirtualNetworkNotInSucceededState", ErrorClass::kSubnetBusy},
    {"MaxAgentPoolsReached", ErrorClass::kPoolLimit},
    {"RequestDisallowedByPolicy", ErrorClass::kPolicy},
    {"AuthorizationFailed", ErrorClass::kForbidden},
    {"ExpiredAuthenticationToken", ErrorClass::kToken},
    {"InvalidAuthenticationToken", ErrorClass::kToken},
    {"VMExtensionProvisioningError", ErrorClass::kNodeBoot},
    {"OperationPreempted", ErrorClass::kOverridden},
    {"PodDrainFailure", ErrorClass::kDrainBlocked},
    {"PreconditionFailed", ErrorClass::kPrecondition},
};

struct FragmentRule {
  std::string_view fragment;  // In lower case.
  ErrorClass error_class;
};

constexpr FragmentRule kFragments[] = {
    {"total regional cores quota", ErrorClass::kQuotaRegion},
    {"lowprioritycores quota", ErrorClass::kQuotaSpot},
    {"in progress create node pool operation", ErrorClass::kInProgressCreate},
    {"another agentpool operation (", ErrorClass::kInProgressOther},
    {"putextensionaddonhandler", ErrorClass::kInProgressOther},
    {"is not allowed in your subscription in location", ErrorClass::kSkuRestricted},
    {"is currently not available in location", ErrorClass::kSkuNotAvailable},
    {"overriden and canceled by a later operation", ErrorClass::kOverridden},
    {"overridden and canceled by a later operation", ErrorClass::kOverridden},
    {"without scale set", ErrorClass::kSpotPrice},
    {"agent pool not found", ErrorClass::kPoolGone},
};

// Codes that decide only when nothing inside them does.
constexpr CodeRule kOuterCodes[] = {
    {"ReconcileVMSSAgentPoolFailed", ErrorClass::kReconcileInternal},
    {"GatewayTimeout", ErrorClass::kUnknownOutcome},
    {"InternalServerError", ErrorClass::kUnknownOutcome},
    {"ResourceGroupNotFound", ErrorClass::kClusterGone},
    {"SubscriptionNotFound", ErrorClass::kClusterGone},
    {"ParentResourceNotFound", ErrorClass::kClusterGone},
    {"AgentPoolNotFound", ErrorClass::kPoolGone},
};

// True when `code` is one of the words of `text`: a code may come as "A / B".
bool HasCode(std::string_view text, std::string_view code) {
  size_t at = text.find(code);
  while (at != std::string_view::npos) {
    const bool starts = at == 0 || !absl::ascii_isalnum(text[at - 1]);
    const size_t end = at + code.size();
    if (starts && (end == text.size() || !absl::ascii_isalnum(text[end]))) return true;
    at = text.find(code, at + 1);
  }
  return false;
}

std::optional<ErrorClass> ClassOfFragments(std::string_view message) {
  std::string lower(message);
  absl::AsciiStrToLower(&lower);
  for (const FragmentRule& rule : kFragments) {
    if (lower.find(rule.fragment) != std::string::npos) return rule.error_class;
  }
  if (lower.find("exceeding approved") != std::string::npos &&
      lower.find("cores quota") != std::string::npos) {
    return ErrorClass::kQuotaFamily;
  }
  if (lower.find("another operation (") != std::string::npos &&
      lower.find("is in progress") != std::string::npos) {
    return ErrorClass::kInProgressOther;
  }
  return std::nullopt;
}

template <size_t kCount>
std::optional<ErrorClass> ClassOfCode(const CodeRule (&rules)[kCount], const CloudError& error) {
  for (const CodeRule& rule : rules) {
    if (HasCode(error.code, rule.code)) return rule.error_class;
  }
  return std::nullopt;
}

ErrorClass ClassOfStatus(int status) {
  if (status == 401) return ErrorClass::kToken;
  if (status == 403) return ErrorClass::kForbidden;
  if (status == 412) return ErrorClass::kPrecondition;
  if (status == 400 || status == 422) return ErrorClass::kInvalid;
  if (status >= 500 || (status >= 200 && status < 300)) return ErrorClass::kUnknownOutcome;
  return ErrorClass::kUnclassified;
}

// The number behind `label`, e.g. "Current Limit: 24".
int64_t NumberBehind(std::string_view message, std::string_view label) {
  const size_t at = message.find(label);
  if (at == std::string_view::npos) return -1;
  size_t start = at + label.size();
  while (start < message.size() && message[start] == ' ') ++start;
  size_t end = start;
  while (end < message.size() && absl::ascii_isdigit(message[end])) ++end;
  int64_t number = -1;
  const std::string_view digits = message.substr(start, end - start);
  if (!absl::SimpleAtoi(absl::string_view(digits.data(), digits.size()), &number)) return -1;
  return number;
}

std::string TextBetween(std::string_view message, std::string_view before, std::string_view after) {
  const size_t at = message.find(before);
  if (at == std::string_view::npos) return "";
  const size_t start = at + before.size();
  const size_t end = message.find(after, start);
  if (end == std::string_view::npos) return "";
  return std::string(message.substr(start, end - start));
}

QuotaNumbers NumbersOf(std::string_view message) {
  return {.family = TextBetween(message, "exceeding approved ", " Cores quota"),
          .limit = NumberBehind(message, "Current Limit:"),
          .used = NumberBehind(message, "Current Usage:"),
          .need = NumberBehind(message, "Additional Required:")};
}

// Which error of the chain decides, and as what.
struct Decision {
  ErrorClass error_class = ErrorClass::kUnclassified;
  const CloudError* error = nullptr;
};

Decision Decide(int status, const std::vector<CloudError>& errors, bool gateway) {
  for (auto error = errors.rbegin(); error != errors.rend(); ++error) {
    if (const auto found = ClassOfCode(kCodes, *error)) return {*found, &*error};
  }
  for (auto error = errors.rbegin(); error != errors.rend(); ++error) {
    if (const auto found = ClassOfFragments(error->message)) return {*found, &*error};
  }
  for (auto error = errors.rbegin(); error != errors.rend(); ++error) {
    if (const auto found = ClassOfCode(kOuterCodes, *error)) return {*found, &*error};
    const bool cluster = HasCode(error->code, "ResourceNotFound") &&
                         error->message.find("agentPools/") == std::string::npos;
    if (cluster) return {ErrorClass::kClusterGone, &*error};
  }
  const CloudError* const innermost = errors.empty() ? nullptr : &errors.back();
  if (status == 404) {
    const bool gone = !gateway && innermost != nullptr && HasCode(innermost->code, "NotFound");
    if (gateway) return {ErrorClass::kClusterGone, innermost};
    return {gone ? ErrorClass::kPoolGone : ErrorClass::kUnclassified, innermost};
  }
  return {ClassOfStatus(status), innermost};
}

void AddDetails(ArmFailure& failure) {
  switch (failure.error_class) {
    case ErrorClass::kQuotaFamily:
    case ErrorClass::kQuotaRegion:
    case ErrorClass::kQuotaSpot:
      failure.quota = NumbersOf(failure.message);
      break;
    case ErrorClass::kPolicy:
      failure.policies = TextBetween(failure.message, " (policies: ", ")");
      break;
    case ErrorClass::kForbidden:
      failure.action = TextBetween(failure.message, "perform action '", "'");
      failure.scope = TextBetween(failure.message, "over scope '", "'");
      break;
    default:
      break;
  }
}

}  // namespace

ArmFailure Classify(int http_status, const std::vector<CloudError>& errors,
                    bool failure_cause_gateway) {
  Decision decision = Decide(http_status, errors, failure_cause_gateway);
  if (http_status == 429) decision.error_class = ErrorClass::kThrottled;
  // A code that is known inside a 5xx says nothing of whether the work was done.
  if (http_status >= 500) decision.error_class = ErrorClass::kUnknownOutcome;
  // Failed extensions other than the bootstrap script are nothing a fresh pool would heal.
  const bool extension = decision.error_class == ErrorClass::kNodeBoot;
  if (extension && decision.error->message.find("vmssCSE") == std::string::npos) {
    decision.error_class = ErrorClass::kUnclassified;
  }
  if (http_status == 404 && failure_cause_gateway) decision.error_class = ErrorClass::kClusterGone;

  ArmFailure failure{.error_class = decision.error_class};
  if (decision.error != nullptr) {
    failure.code = decision.error->code;
    failure.message = decision.error->message;
  }
  AddDetails(failure);
  return failure;
}

ArmFailure ClassifyBody(int http_status, std::string_view body, bool failure_cause_gateway) {
  return Classify(http_status, ParseArmError(body), failure_cause_gateway);
}

ArmFailure UnknownOutcome(std::string_view message) {
  return {.error_class = ErrorClass::kUnknownOutcome, .message = std::string(message)};
}

std::string_view ErrorClassName(ErrorClass error_class) {
  static constexpr std::array<std::string_view, 28> kNames = {
      "None",          "Throttled",        "QuotaFamily",     "QuotaRegion",
      "QuotaSpot",     "InProgressCreate", "InProgressOther", "Precondition",
      "SkuRestricted", "SkuNotAvailable",  "Allocation",      "AllocationZone",
      "SpotPrice",     "SubnetFull",       "SubnetBusy",      "PoolLimit",
      "Policy",        "Forbidden",        "Token",           "PoolGone",
      "ClusterGone",   "NodeBoot",         "Overridden",      "ReconcileInternal",
      "DrainBlocked",  "UnknownOutcome",   "Invalid",         "Unclassified"};
  return kNames[static_cast<size_t>(error_class)];
}

}  // namespace gpu_provisioner

// What an API server's answer means: by the Status' reason, not by code and verb.

#include <array>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/kube/client.h"
#include "common/kube/json.h"

namespace kube {
namespace {

namespace json = boost::json;

struct ReasonCode {
  std::string_view reason;
  absl::StatusCode code;
};

constexpr std::array<ReasonCode, 18> kReasons = {
    {{"AlreadyExists", absl::StatusCode::kAlreadyExists},
     {"BadRequest", absl::StatusCode::kInvalidArgument},
     {"Conflict", absl::StatusCode::kAborted},
     {"Expired", absl::StatusCode::kOutOfRange},
     {"Forbidden", absl::StatusCode::kPermissionDenied},
     {"Gone", absl::StatusCode::kOutOfRange},
     {"InternalError", absl::StatusCode::kUnavailable},
     {"Invalid", absl::StatusCode::kInvalidArgument},
     {"MethodNotAllowed", absl::StatusCode::kInvalidArgument},
     {"NotAcceptable", absl::StatusCode::kInvalidArgument},
     {"NotFound", absl::StatusCode::kNotFound},
     {"RequestEntityTooLarge", absl::StatusCode::kInvalidArgument},
     {"ServerTimeout", absl::StatusCode::kUnavailable},
     {"ServiceUnavailable", absl::StatusCode::kUnavailable},
     {"Timeout", absl::StatusCode::kDeadlineExceeded},
     {"TooManyRequests", absl::StatusCode::kResourceExhausted},
     {"Unauthorized", absl::StatusCode::kUnauthenticated},
     {"UnsupportedMediaType", absl::StatusCode::kInvalidArgument}}};

const json::array* Causes(const json::value& status) {
  const json::value* causes = FindPath(status, {"details", "causes"});
  return causes == nullptr ? nullptr : causes->if_array();
}

bool HasCause(const json::value& status, std::string_view reason) {
  const json::array* causes = Causes(status);
  if (causes == nullptr) return false;
  for (const json::value& cause : *causes) {
    if (StringAt(cause, {"reason"}) == reason) return true;
  }
  return false;
}

// The message, and those causes that it does not name already.
std::string MessageOf(const json::value& status) {
  std::string message(StringAt(status, {"message"}));
  const json::array* causes = Causes(status);
  if (causes == nullptr) return message;
  for (const json::value& cause : *causes) {
    const std::string_view text = StringAt(cause, {"message"});
    if (text.empty() || message.find(text) != std::string::npos) continue;
    if (!message.empty()) message += "; ";
    const std::string_view field = StringAt(cause, {"field"});
    message += field.empty() ? std::string(text) : absl::StrFormat("%s: %s", field, text);
    if (message.size() > 8192) break;  // A hostile server must not fill the log.
  }
  return message;
}

}  // namespace

absl::Status StatusOfObject(const json::value& status, int code, std::string_view what) {
  code = static_cast<int>(IntAt(status, {"code"}, code));
  const std::string_view reason = StringAt(status, {"reason"});
  std::string message = MessageOf(status);
  if (message.empty()) message = reason;
  absl::StatusCode status_code = absl::StatusCode::kOk;
  for (const ReasonCode& known : kReasons) {
    if (known.reason == reason) status_code = known.code;
  }
  if (reason == "Forbidden" && HasCause(status, "NamespaceTerminating")) {
    status_code = absl::StatusCode::kFailedPrecondition;
  }
  if (status_code == absl::StatusCode::kOk) {
    // No reason, or one of another server's own. Code 0 and 2xx are no errors to ToStatus().
    const int error_code = code < 300 ? 500 : code;
    status_code = net::ToStatus({.status = error_code}, what).code();
  }
  return absl::Status(status_code, absl::StrFormat("%s: %d %s", what, code, message));
}

absl::Status StatusOfResponse(const net::Response& response, std::string_view what) {
  if (response.status >= 200 && response.status < 300) return absl::OkStatus();
  // Bodies of proxies are HTML or text; those of API servers a Status.
  if (response.body.starts_with('{')) {
    const absl::StatusOr<json::value> body = ParseJson(response.body);
    if (body.ok() && StringAt(*body, {"kind"}) == "Status") {
      return StatusOfObject(*body, response.status, what);
    }
  }
  if (response.status == 410) {
    return absl::OutOfRangeError(absl::StrFormat("%s: 410 Gone", what));
  }
  return net::ToStatus(response, what);
}

absl::Duration RetryAfter(const net::Response& response) {
  if (const auto header = response.headers.Find("Retry-After")) {
    int64_t seconds = 0;
    if (absl::SimpleAtoi(absl::string_view(header->data(), header->size()), &seconds)) {
      return absl::Seconds(std::max<int64_t>(seconds, 0));
    }
  }
  if (response.status < 400 || !response.body.starts_with('{')) return absl::ZeroDuration();
  const absl::StatusOr<json::value> body = ParseJson(response.body);
  if (!body.ok()) return absl::ZeroDuration();
  return absl::Seconds(std::max<int64_t>(IntAt(*body, {"details", "retryAfterSeconds"}), 0));
}

}  // namespace kube

#include "model-server/engine/request_error.h"

#include <charconv>

#include "absl/strings/cord.h"

namespace model_server {
namespace {

constexpr char kCode[] = "kaito.sh/error-code";
constexpr char kField[] = "kaito.sh/error-field";
constexpr char kRetry[] = "kaito.sh/retry-after-ms";

std::string Payload(const absl::Status& status, const char* url) {
  const auto payload = status.GetPayload(url);
  return payload.has_value() ? std::string(*payload) : "";
}

}  // namespace

absl::Status WithDetails(absl::Status status, const ErrorDetails& details) {
  if (!details.code.empty()) status.SetPayload(kCode, absl::Cord(details.code));
  if (!details.field.empty()) status.SetPayload(kField, absl::Cord(details.field));
  if (details.retry_after.has_value()) {
    status.SetPayload(kRetry,
                      absl::Cord(std::to_string(absl::ToInt64Milliseconds(*details.retry_after))));
  }
  return status;
}

ErrorDetails DetailsOf(const absl::Status& status) {
  ErrorDetails details{.code = Payload(status, kCode), .field = Payload(status, kField)};
  const std::string retry = Payload(status, kRetry);
  int64_t milliseconds = 0;
  if (std::from_chars(retry.data(), retry.data() + retry.size(), milliseconds).ec == std::errc()) {
    details.retry_after = absl::Milliseconds(milliseconds);
  }
  return details;
}

absl::Status InvalidField(std::string_view field, std::string_view message, std::string_view code) {
  return WithDetails(absl::InvalidArgumentError(absl::string_view(message.data(), message.size())),
                     {.code = std::string(code), .field = std::string(field)});
}

}  // namespace model_server

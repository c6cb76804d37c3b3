// Errors that a client sees: a Status that also says which field, which code, when to try again.

#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace model_server {

// What travels beside a Status' message.
struct ErrorDetails {
  std::string code;   // OpenAI's word: "context_length_exceeded".
  std::string field;  // A path: "messages[2].role".
  std::optional<absl::Duration> retry_after;
};

absl::Status WithDetails(absl::Status status, const ErrorDetails& details);
ErrorDetails DetailsOf(const absl::Status& status);

// kInvalidArgument with code "invalid_value" unless another is given.
absl::Status InvalidField(std::string_view field, std::string_view message,
                          std::string_view code = "invalid_value");

}  // namespace model_server

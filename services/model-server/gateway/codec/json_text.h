// JSON as text: a strict reader of requests, and appenders for answers.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <boost/json/fwd.hpp>

#include "absl/status/statusor.h"

namespace model_server::gateway {

inline constexpr int kJsonDepthMax = 64;

// RFC 8259 to the letter, at most 64 levels, no key twice in one object, valid UTF-8. The error
// says what is wrong and at which byte.
absl::StatusOr<boost::json::value> ParseJson(std::string_view text);

// "text" with quotes. Bytes that are no UTF-8 become U+FFFD.
void AppendJsonString(std::string_view text, std::string* out);
// null for "".
void AppendJsonStringOrNull(std::string_view text, std::string* out);
// The shortest digits that read back as the same float; null for what JSON cannot say.
void AppendJsonNumber(float number, std::string* out);

// Bytes as text, what is no UTF-8 replaced by U+FFFD.
std::string ToUtf8(std::string_view bytes);

}  // namespace model_server::gateway

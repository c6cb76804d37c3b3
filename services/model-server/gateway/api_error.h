// Why a request is refused, and the shape in which its route says so.

#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

#include "common/net/http.h"

namespace model_server::gateway {

// Which clients a route serves; each kind expects its own form of error.
enum class ErrorShape {
  kOpenAi,  // {"error":{"message","type","param","code"}}
  kDetail,  // {"detail":"…"}
};

struct ApiError {
  int status = 400;
  std::string message;
  std::string code;   // OpenAI's `code`; empty: null.
  std::string param;  // A path such as messages[2].role; empty: null.
  std::string type;   // Empty: that of `status`.
  int retry_after_seconds = 0;
  std::string allow;  // With 405.
};

// "invalid_request_error" for 400 and so on.
std::string_view ErrorType(int status);

// {"error":{…}} on one line, as used in answers and in events of a stream.
std::string OpenAiErrorJson(const ApiError& error);

net::Response ErrorResponse(const ApiError& error, ErrorShape shape);

// What the model server's trailing metadata adds to a status.
struct UpstreamErrorDetails {
  std::string code;   // `error-code`
  std::string field;  // `error-field`
  std::string retry_after_ms;
};

// The HTTP side of a gRPC status (the table in the contract). Messages of internal errors are
// replaced, so that no address or path leaves the host.
ApiError FromUpstream(const absl::Status& status, const UpstreamErrorDetails& details);

}  // namespace model_server::gateway

#include "model-server/gateway/api_error.h"

#include <algorithm>
#include <cstdlib>

#include "absl/strings/str_format.h"

#include "model-server/gateway/codec/json_text.h"

namespace model_server::gateway {
namespace {

constexpr int kRetryAfterMax = 60;

int RetryAfterSeconds(const std::string& milliseconds, int otherwise) {
  if (milliseconds.empty()) return otherwise;
  const long value = std::strtol(milliseconds.c_str(), nullptr, 10);
  return static_cast<int>(std::clamp<long>((value + 999) / 1000, 1, kRetryAfterMax));
}

}  // namespace

std::string_view ErrorType(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 429:
      return "requests";
    case 503:
      return "service_unavailable";
    default:
      return status >= 500 ? "server_error" : "invalid_request_error";
  }
}

std::string OpenAiErrorJson(const ApiError& error) {
  std::string out = "{\"error\":{\"message\":";
  AppendJsonString(error.message, &out);
  out += ",\"type\":";
  AppendJsonString(error.type.empty() ? ErrorType(error.status) : error.type, &out);
  out += ",\"param\":";
  AppendJsonStringOrNull(error.param, &out);
  out += ",\"code\":";
  AppendJsonStringOrNull(error.code, &out);
  out += "}}";
  return out;
}

net::Response ErrorResponse(const ApiError& error, ErrorShape shape) {
  net::Response response{.status = error.status, .headers = {{"Content-Type", "application/json"}}};
  if (shape == ErrorShape::kOpenAi) {
    response.body = OpenAiErrorJson(error);
  } else {
    response.body = "{\"detail\":";
    AppendJsonString(error.message, &response.body);
    response.body += "}";
  }
  if (error.retry_after_seconds > 0) {
    response.headers.Add("Retry-After", std::to_string(error.retry_after_seconds));
  }
  if (!error.allow.empty()) response.headers.Add("Allow", error.allow);
  if (error.status == 401) response.headers.Add("WWW-Authenticate", "Bearer");
  return response;
}

ApiError FromUpstream(const absl::Status& status, const UpstreamErrorDetails& details) {
  ApiError error{
      .message = std::string(status.message()), .code = details.code, .param = details.field};
  const auto set = [&error](int http, std::string_view code) {
    error.status = http;
    if (error.code.empty()) error.code = std::string(code);
  };
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
      set(400, "invalid_value");
      break;
    case absl::StatusCode::kUnauthenticated:
      set(401, "invalid_api_key");
      break;
    case absl::StatusCode::kPermissionDenied:
      set(403, "");
      break;
    case absl::StatusCode::kNotFound:
      set(404, "model_not_found");
      if (error.param.empty()) error.param = "model";
      break;
    case absl::StatusCode::kResourceExhausted:
      set(429, "rate_limit_exceeded");
      error.retry_after_seconds = RetryAfterSeconds(details.retry_after_ms, 1);
      break;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kFailedPrecondition:
      // Without a code the server never saw the request: gRPC's text would show its address.
      if (error.code.empty()) error.message = "the model server cannot be reached; try again";
      set(503, "engine_unavailable");
      error.retry_after_seconds =
          RetryAfterSeconds(details.retry_after_ms, error.code == "draining" ? 5 : 1);
      break;
    case absl::StatusCode::kDeadlineExceeded:
      set(504, "deadline_exceeded");
      error.message = "the request's deadline passed before its answer was complete";
      break;
    case absl::StatusCode::kCancelled:
      set(503, "aborted");
      error.message = "the request was ended by the server";
      error.retry_after_seconds = 1;
      break;
    case absl::StatusCode::kUnimplemented:
      set(501, "not_implemented");
      break;
    default:
      if (error.code != "numerical_error") error.message = "the model server had an internal error";
      set(500, "internal_error");
  }
  return error;
}

}  // namespace model_server::gateway

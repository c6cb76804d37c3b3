#include "model-server/rpc/call_status.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_format.h"
#include "grpcpp/server_context.h"

#include "common/net/grpc_server.h"
#include "model-server/engine/request_error.h"
#include "model-server/rpc/backend.h"

namespace model_server {

grpc::Status FailCall(const absl::Status& status, grpc::CallbackServerContext& call) {
  const ErrorDetails details = DetailsOf(status);
  if (!details.code.empty()) call.AddTrailingMetadata("error-code", details.code);
  if (!details.field.empty()) call.AddTrailingMetadata("error-field", details.field);
  if (details.retry_after.has_value()) {
    call.AddTrailingMetadata("retry-after-ms",
                             std::to_string(absl::ToInt64Milliseconds(*details.retry_after)));
  }
  return net::ToGrpcStatus(status);
}

absl::Status CheckServing(const ServiceContext& context) {
  const StateSnapshot now = context.state.Get();
  const bool drains = now.state == State::kDraining || now.state == State::kStopped;
  if (now.state == State::kServing || (drains && context.admitting)) {
    if (context.admitting && context.backend() != nullptr) return absl::OkStatus();
  }
  if (drains) {
    return WithDetails(absl::UnavailableError("the server is draining"),
                       {.code = "draining", .retry_after = absl::Seconds(5)});
  }
  if (now.state == State::kStalled) {
    return WithDetails(absl::UnavailableError("the engine makes no progress"),
                       {.code = "engine_unavailable", .retry_after = absl::Seconds(10)});
  }
  const double left = std::clamp(now.seconds_left, 1.0, 60.0);
  return WithDetails(
      absl::UnavailableError(absl::StrFormat("the model is loading (%.0f%%)", now.progress * 100)),
      {.code = "loading", .retry_after = absl::Seconds(left)});
}

absl::Status TooManyCalls() {
  return WithDetails(absl::ResourceExhaustedError("too many streams are open; try again later"),
                     {.code = "rate_limit_exceeded", .retry_after = absl::Seconds(1)});
}

}  // namespace model_server

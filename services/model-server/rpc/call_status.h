// absl::Status → what a gRPC client gets.

#pragma once

#include "absl/status/status.h"

namespace grpc {
class CallbackServerContext;
class Status;
}  // namespace grpc

namespace model_server {

class ServiceContext;

// Adds error-code, error-field and retry-after-ms to the call's trailing metadata.
grpc::Status FailCall(const absl::Status& status, grpc::CallbackServerContext& call);

// OK while requests are taken; else kUnavailable with the reason and a time to retry.
absl::Status CheckServing(const ServiceContext& context);

// kResourceExhausted: more streams are open than the server allows.
absl::Status TooManyCalls();

}  // namespace model_server

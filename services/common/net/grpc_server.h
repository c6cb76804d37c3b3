// Every gRPC server of the suite: health, limits and reflection set up one way.

#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace grpc {
class Channel;
class Server;
class Service;
class Status;
}  // namespace grpc

namespace net {

struct GrpcServerOptions {
  std::vector<std::string> addresses;  // "127.0.0.1:8001", "unix:/path"; port 0: any free one.
  bool reflection = false;
  int receive_bytes_max = 16 << 20;
  int metadata_bytes_max = 8 << 10;
  int streams_max = 4096;  // Per connection.
  absl::Duration keepalive_time = absl::Seconds(30);
  absl::Duration keepalive_timeout = absl::Seconds(10);
  absl::Duration client_ping_interval_min = absl::Seconds(10);
};

// A running server with grpc.health.v1. Health starts as NOT_SERVING for "" and each service.
class GrpcServer {
 public:
  // `services` are borrowed and must outlive the server. kAlreadyExists when a port is taken, with
  // the holder's name where it can be seen.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(
      const GrpcServerOptions& options, const std::vector<grpc::Service*>& services);
  ~GrpcServer();

  // The ports of `addresses`, in order; 0 for Unix sockets.
  const std::vector<int>& ports() const;

  // For "" and every service. `service` may also be a name of its own, such as "liveness".
  void SetServing(bool serving);
  void SetServing(const std::string& service, bool serving);

  // Refuses new calls and waits for running ones, at most `timeout`; then cuts them.
  void Shutdown(absl::Duration timeout);

 private:
  GrpcServer();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// A channel with our message limits, keep-alive and back-off 0.1 to 1 s. Does not connect yet.
std::shared_ptr<grpc::Channel> MakeGrpcChannel(const std::string& target);

// Between the two Status types: codes have the same numbers, messages pass through.
absl::Status FromGrpcStatus(const grpc::Status& status);
grpc::Status ToGrpcStatus(const absl::Status& status);

}  // namespace net

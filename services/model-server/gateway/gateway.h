// The HTTP front of a model server: routes in, gRPC out, nothing kept between requests.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "common/metrics/metrics.h"
#include "model-server/gateway/codec/seed_request.h"

namespace model_server::gateway {

struct GatewayOptions {
  std::string bind_address = "127.0.0.1";
  int port = 5000;           // 0: any free one, see port().
  std::string model_server;  // "host:port" or "unix:PATH".
  // Where the model server's own metrics are; empty: they are left out.
  std::string metrics_upstream;

  std::string api_keys_file;     // Empty: no keys.
  bool allow_anonymous = false;  // Without keys, also beyond loopback.
  bool metrics_auth = false;     // /metrics needs a key too.
  std::vector<std::string> cors_origins;

  std::string tls_certificate_file;  // Both: TLS. Read again when they change.
  std::string tls_private_key_file;
  std::string tls_client_ca_file;

  ChatPipeline chat_pipeline = ChatPipeline::kAuto;
  bool strict_fields = false;
  bool allow_request_templates = false;
  size_t body_bytes_max = 16 << 20;
  int connections_max = 4096;
  int io_threads = 0;  // 0: one per core, at most 4.
  absl::Duration request_deadline_default = absl::Seconds(600);
  std::string version = "dev";
};

// A running gateway. It answers before the model server does: health says what is missing.
class Gateway {
 public:
  // kInvalidArgument for options that do not fit together (bound beyond loopback without keys),
  // kAlreadyExists for a taken port. `registry` must outlive the gateway.
  static absl::StatusOr<std::unique_ptr<Gateway>> Start(const GatewayOptions& options,
                                                        metrics::Registry& registry);
  // Cuts what still runs.
  ~Gateway();

  int port() const;

  // Readiness turns to 503 at once; requests are still served.
  void BeginDrain();
  // New requests get 503 from here on.
  void RefuseNew();
  // Generated answers and other requests that run.
  int requests_open() const;
  // Ends running answers with an error.
  void EndRunning();

 private:
  Gateway();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace model_server::gateway

// Health and metrics on a port of their own, answered even when all else is stuck.

#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

#include "common/metrics/metrics.h"
#include "model-server/ops/server_state.h"

namespace net {
class HttpServer;
}

namespace model_server {

struct OpsOptions {
  std::string bind_address = "127.0.0.1";
  int port = 8002;  // 0: any free one.
};

// GET /livez: 200 unless `is_alive` says no. /readyz and /health: 200 while SERVING, else 503 with
// the state. /metrics: the registry. One thread of its own.
class OpsServer {
 public:
  // The references must outlive it. `is_alive` and `before_scrape` are called on the server's
  // thread and must not block.
  static absl::StatusOr<std::unique_ptr<OpsServer>> Start(const OpsOptions& options,
                                                          const ServerState& state,
                                                          metrics::Registry& registry,
                                                          std::function<bool()> is_alive,
                                                          std::function<void()> before_scrape);
  ~OpsServer();

  int port() const;

 private:
  OpsServer() = default;
  std::unique_ptr<net::HttpServer> server_;
};

}  // namespace model_server

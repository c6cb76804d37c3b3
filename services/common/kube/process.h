// What a controller process serves beside its work: /healthz, /readyz and /metrics.

#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace metrics {
class Registry;
}

namespace kube {

struct ProcessEndpointsOptions {
  // "127.0.0.1:8080", ":8080" (all addresses), "[::1]:0" (any free port). "" or "0": not served.
  // Equal addresses share one port.
  std::string metrics_address = ":8080";
  std::string health_address = ":8081";
};

// Answers from threads of its own, so that it works while the rest is stuck. Thread-safe.
//
// GET /healthz and /readyz run all checks of their kind: 200 "ok", or 503 with a line per check
// that failed; `?verbose` lists all; /healthz/NAME and /readyz/NAME run one.
class ProcessEndpoints {
 public:
  // OK: passed. Quick, called from a server thread at any time.
  using Check = std::function<absl::Status()>;

  // Listens at once; kAlreadyExists names who has the port. `registry` must outlive this.
  static absl::StatusOr<std::unique_ptr<ProcessEndpoints>> Start(
      const ProcessEndpointsOptions& options, const metrics::Registry& registry);
  ~ProcessEndpoints();

  void AddHealthCheck(const std::string& name, Check check);
  // Until the first one is added, /readyz fails.
  void AddReadyCheck(const std::string& name, Check check);

  int metrics_port() const;  // 0: not served.
  int health_port() const;

 private:
  ProcessEndpoints();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// "host:port" in its parts. kInvalidArgument unless the port is 0 to 65535.
struct BindAddress {
  std::string host;  // "0.0.0.0" when the text has none.
  int port = 0;
};
absl::StatusOr<BindAddress> ParseBindAddress(const std::string& text);

}  // namespace kube

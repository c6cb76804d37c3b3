#include "common/kube/process.h"

#include <map>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"

#include "common/base/status_macros.h"
#include "common/metrics/metrics.h"
#include "common/net/http_server.h"

namespace kube {

absl::StatusOr<BindAddress> ParseBindAddress(const std::string& text) {
  BindAddress address;
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos ||
      !absl::SimpleAtoi(absl::string_view(text).substr(colon + 1), &address.port) ||
      address.port < 0 || address.port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrFormat("\"%s\" is no address such as 127.0.0.1:8080 or :8080", text));
  }
  address.host = text.substr(0, colon);
  if (address.host.starts_with('[') && address.host.ends_with(']')) {
    address.host = address.host.substr(1, address.host.size() - 2);
  }
  if (address.host.empty()) address.host = "0.0.0.0";
  return address;
}

struct ProcessEndpoints::Impl {
  explicit Impl(const metrics::Registry& the_registry) : registry(the_registry) {}

  using Checks = std::map<std::string, Check>;

  void Handle(net::Exchange& exchange, bool serves_metrics, bool serves_health);
  net::Response RunChecks(const Checks& checks, std::string_view only, bool verbose) const;
  absl::StatusOr<std::unique_ptr<net::HttpServer>> Serve(const std::string& address,
                                                         bool serves_metrics, bool serves_health);

  const metrics::Registry& registry;
  absl::Mutex mutex;
  Checks health ABSL_GUARDED_BY(mutex);
  Checks ready ABSL_GUARDED_BY(mutex);
  std::unique_ptr<net::HttpServer> health_server;
  std::unique_ptr<net::HttpServer> metrics_server;
  int health_port = 0;
  int metrics_port = 0;
};

net::Response ProcessEndpoints::Impl::RunChecks(const Checks& checks, std::string_view only,
                                                bool verbose) const {
  std::string passed;
  std::string failed;
  bool found = only.empty();
  for (const auto& [name, check] : checks) {
    if (!only.empty() && name != only) continue;
    found = true;
    const absl::Status status = check();
    if (status.ok()) {
      passed += absl::StrFormat("[+]%s ok\n", name);
    } else {
      failed += absl::StrFormat("[-]%s failed: %s\n", name, status.message());
    }
  }
  net::Response response;
  response.headers.Set("Content-Type", "text/plain; charset=utf-8");
  if (!found) {
    response.status = 404;
    response.body = "no such check\n";
  } else if (!failed.empty()) {
    response.status = 503;
    response.body = passed + failed;
  } else {
    response.body = verbose ? passed + "ok\n" : "ok";
  }
  return response;
}

void ProcessEndpoints::Impl::Handle(net::Exchange& exchange, bool serves_metrics,
                                    bool serves_health) {
  const net::Request& request = exchange.request();
  if (request.method != "GET" && request.method != "HEAD") {
    return exchange.Send({.status = 405, .headers = {{"Allow", "GET, HEAD"}}});
  }
  const std::string_view path = request.path();
  if (serves_metrics && path == "/metrics") {
    return exchange.Send({.status = 200,
                          .headers = {{"Content-Type", std::string(metrics::kTextContentType)}},
                          .body = registry.Text()});
  }
  const bool verbose = net::QueryParameter(request.query(), "verbose").has_value();
  for (const std::string_view prefix : {"/healthz", "/livez", "/readyz"}) {
    if (!serves_health || !path.starts_with(prefix)) continue;
    std::string_view rest = path.substr(prefix.size());
    if (!rest.empty() && rest[0] != '/') continue;
    if (!rest.empty()) rest.remove_prefix(1);
    const bool is_ready = prefix == "/readyz";
    Checks checks;
    {
      absl::MutexLock lock(&mutex);
      checks = is_ready ? ready : health;
    }
    if (is_ready && checks.empty()) {
      checks["start"] = [] { return absl::UnavailableError("still starting"); };
    }
    return exchange.Send(RunChecks(checks, rest, verbose));
  }
  exchange.Send({.status = 404, .body = "not found\n"});
}

absl::StatusOr<std::unique_ptr<net::HttpServer>> ProcessEndpoints::Impl::Serve(
    const std::string& address, bool serves_metrics, bool serves_health) {
  ASSIGN_OR_RETURN(const BindAddress bind, ParseBindAddress(address));
  net::HttpServerOptions options;
  options.bind_address = bind.host;
  options.port = bind.port;
  options.connections_max = 64;
  options.body_bytes_max = 1 << 10;
  return net::HttpServer::Start(
      std::move(options),
      [this, serves_metrics, serves_health](const std::shared_ptr<net::Exchange>& exchange) {
        Handle(*exchange, serves_metrics, serves_health);
      });
}

absl::StatusOr<std::unique_ptr<ProcessEndpoints>> ProcessEndpoints::Start(
    const ProcessEndpointsOptions& options, const metrics::Registry& registry) {
  std::unique_ptr<ProcessEndpoints> endpoints(new ProcessEndpoints());
  endpoints->impl_ = std::make_unique<Impl>(registry);
  Impl& impl = *endpoints->impl_;
  const bool metrics_on = !options.metrics_address.empty() && options.metrics_address != "0";
  const bool health_on = !options.health_address.empty() && options.health_address != "0";
  const bool shared = metrics_on && options.metrics_address == options.health_address;
  if (metrics_on) {
    ASSIGN_OR_RETURN(impl.metrics_server, impl.Serve(options.metrics_address, true, shared));
    impl.metrics_port = impl.metrics_server->port();
  }
  if (shared) {
    impl.health_port = impl.metrics_port;
  } else if (health_on) {
    ASSIGN_OR_RETURN(impl.health_server, impl.Serve(options.health_address, false, true));
    impl.health_port = impl.health_server->port();
  }
  return endpoints;
}

ProcessEndpoints::ProcessEndpoints() = default;
ProcessEndpoints::~ProcessEndpoints() = default;

void ProcessEndpoints::AddHealthCheck(const std::string& name, Check check) {
  absl::MutexLock lock(&impl_->mutex);
  impl_->health[name] = std::move(check);
}

void ProcessEndpoints::AddReadyCheck(const std::string& name, Check check) {
  absl::MutexLock lock(&impl_->mutex);
  impl_->ready[name] = std::move(check);
}

int ProcessEndpoints::metrics_port() const { return impl_->metrics_port; }
int ProcessEndpoints::health_port() const { return impl_->health_port; }

}  // namespace kube

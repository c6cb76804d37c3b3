#include "model-server/ops/ops_server.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "boost/json.hpp"
#include "common/base/status_macros.h"
#include "common/net/http_server.h"

namespace model_server {
namespace {

net::Response Json(int status, const boost::json::object& body) {
  return {.status = status,
          .headers = {{"Content-Type", "application/json"}},
          .body = boost::json::serialize(body)};
}

net::Response Ready(const ServerState& state) {
  const StateSnapshot now = state.Get();
  const bool serving = now.state == State::kServing;
  const std::string_view name = StateName(now.state);
  net::Response response =
      Json(serving ? 200 : 503, {{"state", boost::json::string_view(name.data(), name.size())},
                                 {"progress", now.progress},
                                 {"reason", now.reason}});
  if (!serving) {
    const double seconds = now.state == State::kDraining ? 5 : std::ceil(now.seconds_left);
    response.headers.Add("Retry-After",
                         std::to_string(static_cast<int>(std::clamp(seconds, 1.0, 60.0))));
  }
  return response;
}

net::Response Live(bool alive) { return Json(alive ? 200 : 503, {{"alive", alive}}); }

}  // namespace

absl::StatusOr<std::unique_ptr<OpsServer>> OpsServer::Start(const OpsOptions& options,
                                                            const ServerState& state,
                                                            metrics::Registry& registry,
                                                            std::function<bool()> is_alive,
                                                            std::function<void()> before_scrape) {
  const auto handler = [&state, &registry, is_alive = std::move(is_alive),
                        before_scrape = std::move(before_scrape)](
                           const std::shared_ptr<net::Exchange>& exchange) {
    const net::Request& request = exchange->request();
    const std::string_view path = request.path();
    const bool known = path == "/livez" || path == "/readyz" || path == "/health" ||
                       path == "/healthz" || path == "/metrics";
    if (!known) {
      return exchange->Send(Json(404, {{"detail", "there is /livez, /readyz, /health, /metrics"}}));
    }
    if (request.method != "GET" && request.method != "HEAD") {
      net::Response refused = Json(405, {{"detail", "only GET and HEAD"}});
      refused.headers.Add("Allow", "GET, HEAD");
      return exchange->Send(std::move(refused));
    }
    if (path == "/livez") return exchange->Send(Live(is_alive()));
    if (path != "/metrics") return exchange->Send(Ready(state));
    before_scrape();
    exchange->Send({.status = 200,
                    .headers = {{"Content-Type", std::string(metrics::kTextContentType)}},
                    .body = registry.Text()});
  };
  net::HttpServerOptions http;
  http.bind_address = options.bind_address;
  http.port = options.port;
  http.connections_max = 256;
  http.body_bytes_max = 1 << 10;
  std::unique_ptr<OpsServer> server(new OpsServer());
  ASSIGN_OR_RETURN(server->server_, net::HttpServer::Start(std::move(http), handler));
  return server;
}

OpsServer::~OpsServer() = default;

int OpsServer::port() const { return server_->port(); }

}  // namespace model_server

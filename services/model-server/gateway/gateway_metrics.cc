#include "model-server/gateway/gateway_metrics.h"

namespace model_server::gateway {

GatewayMetrics::GatewayMetrics(metrics::Registry& registry)
    : first_byte_seconds(registry.GetHistogram("gateway_first_byte_seconds",
                                               "From the request to the first byte of its answer.",
                                               metrics::DurationBuckets())),
      in_flight(registry.GetGauge("gateway_in_flight", "Requests that are not answered yet.")),
      sse_events(registry.GetCounter("gateway_sse_events_total", "Server-sent events written.")),
      client_disconnects(registry.GetCounter("gateway_client_disconnects_total",
                                             "Clients that left before their answer ended.")),
      ignored_fields(registry.GetCounter("gateway_ignored_fields_total",
                                         "Unknown fields of requests that were ignored.")),
      ratelimit_rejected(registry.GetCounter("kaito_ratelimit_rejected_total",
                                             "Requests refused by a key's own limit.")),
      upstream_up(registry.GetGauge("gateway_upstream_up",
                                    "1 while the model server's metrics can be read.")),
      registry_(registry) {}

void GatewayMetrics::RequestFinished(std::string_view route, int status, double seconds) {
  registry_
      .GetCounter("gateway_http_requests_total", "Requests by route and status.",
                  {{"route", std::string(route)}, {"code", std::to_string(status)}})
      .Add();
  registry_
      .GetHistogram("gateway_request_seconds", "From the request to the end of its answer.",
                    metrics::DurationBuckets(), {{"route", std::string(route)}})
      .Observe(seconds);
}

void GatewayMetrics::Rejected(std::string_view reason) {
  registry_
      .GetCounter("gateway_rejected_total", "Requests refused by the gateway itself, by reason.",
                  {{"reason", std::string(reason)}})
      .Add();
}

}  // namespace model_server::gateway

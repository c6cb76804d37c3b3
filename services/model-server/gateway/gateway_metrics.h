// What the gateway counts about itself.

#pragma once

#include <string>
#include <string_view>

#include "common/metrics/metrics.h"

namespace model_server::gateway {

// Thread-safe. `registry` must outlive it.
class GatewayMetrics {
 public:
  explicit GatewayMetrics(metrics::Registry& registry);

  void RequestFinished(std::string_view route, int status, double seconds);
  void Rejected(std::string_view reason);

  metrics::Histogram& first_byte_seconds;
  metrics::Gauge& in_flight;
  metrics::Counter& sse_events;
  metrics::Counter& client_disconnects;
  metrics::Counter& ignored_fields;
  metrics::Counter& ratelimit_rejected;
  metrics::Gauge& upstream_up;

 private:
  metrics::Registry& registry_;
};

}  // namespace model_server::gateway

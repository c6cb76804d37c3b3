// /metrics: the gateway's own families and, with them, those of the model server.

#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "common/metrics/metrics.h"
#include "common/net/http_client.h"
#include "model-server/gateway/gateway_metrics.h"

namespace model_server::gateway {

// `text` without the families that `own` has too (process_*, build_info): one scrape must not give
// a family twice.
std::string WithoutFamiliesOf(std::string_view own, std::string_view text);

// Blocks: use it on a thread that may. Thread-safe.
class MetricsPage {
 public:
  // `upstream`: "http://host:port", or "" for none.
  MetricsPage(metrics::Registry& registry, GatewayMetrics& gateway, const std::string& upstream);

  // Waits at most 1 s for the model server; scrapes within 1 s share its answer.
  std::string Text();

 private:
  std::string UpstreamText();

  metrics::Registry& registry_;
  GatewayMetrics& gateway_;
  std::unique_ptr<net::HttpClient> client_;
  absl::Mutex mutex_;
  std::string cached_ ABSL_GUARDED_BY(mutex_);
  absl::Duration cached_until_ ABSL_GUARDED_BY(mutex_) = -absl::InfiniteDuration();
};

}  // namespace model_server::gateway

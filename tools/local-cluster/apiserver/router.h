// From a request to the part that answers it: health, discovery, objects.

#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"

#include "common/metrics/metrics.h"
#include "common/net/http_server.h"
#include "local-cluster/apiserver/authenticator.h"
#include "local-cluster/apiserver/object_reader.h"
#include "local-cluster/apiserver/subresources.h"
#include "local-cluster/apiserver/write_handler.h"

namespace local_cluster {

struct RouterParts {
  const ObjectReader& reader;
  const WriteHandler& writer;
  const Subresources& subresources;
  const Authenticator& authenticator;
  metrics::Registry& metrics;
  std::function<std::shared_ptr<const KindRegistry>()> kinds;
  int requests_max = 400;
};

// Thread-safe.
class Router {
 public:
  explicit Router(RouterParts parts);

  void Handle(const std::shared_ptr<net::Exchange>& exchange);

  void SetReady(bool ready, std::string reason);
  void Refuse() { refusing_ = true; }  // Everything is 503 from now on.

 private:
  absl::StatusOr<std::optional<net::Response>> Answer(
      const std::shared_ptr<net::Exchange>& exchange);
  absl::StatusOr<std::optional<net::Response>> AnswerResource(
      const std::shared_ptr<net::Exchange>& exchange, const std::vector<std::string>& segments,
      User user);
  net::Response Health(const net::Request& request) const;

  const RouterParts parts_;
  std::atomic<int> in_flight_ = 0;
  std::atomic<bool> refusing_ = false;
  mutable absl::Mutex mutex_;
  bool ready_ ABSL_GUARDED_BY(mutex_) = true;
  std::string not_ready_reason_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace local_cluster

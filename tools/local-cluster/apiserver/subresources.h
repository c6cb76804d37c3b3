// scale, binding, eviction, token, log and the connections into pods; and the reviews, which are
// answered but not stored.

#pragma once

#include <atomic>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"

#include "common/base/clock.h"
#include "common/net/http_server.h"
#include "local-cluster/apiserver/authenticator.h"
#include "local-cluster/apiserver/object_reader.h"
#include "local-cluster/apiserver/object_writer.h"
#include "local-cluster/apiserver/pod_streams.h"
#include "local-cluster/apiserver/request.h"

namespace local_cluster {

// Thread-safe.
class Subresources {
 public:
  Subresources(Store& store, ObjectWriter& writer, const Authenticator& authenticator,
               const base::Clock& clock);

  // True for what is answered here rather than by the usual reads and writes.
  static bool Handles(const ResourceRequest& request);

  // nullopt: `exchange` was or will be answered by a stream.
  absl::StatusOr<std::optional<net::Response>> Handle(
      const ResourceRequest& request, const std::shared_ptr<net::Exchange>& exchange) const;

  void SetPodStreams(PodStreams* streams) { streams_ = streams; }

 private:
  absl::StatusOr<net::Response> Scale(const ResourceRequest& request) const;
  absl::StatusOr<net::Response> Bind(const ResourceRequest& request) const;
  absl::StatusOr<net::Response> Evict(const ResourceRequest& request) const;
  absl::StatusOr<net::Response> Token(const ResourceRequest& request) const;
  absl::Status OpenLog(const ResourceRequest& request,
                       const std::shared_ptr<net::Exchange>& exchange) const;
  absl::Status OpenConnection(const ResourceRequest& request,
                              const std::shared_ptr<net::Exchange>& exchange) const;
  absl::StatusOr<net::Response> Review(const ResourceRequest& request) const;
  absl::Status TakeDisruption(const ResourceRequest& request, const boost::json::value& pod) const;

  Store& store_;
  ObjectWriter& writer_;
  const Authenticator& authenticator_;
  const base::Clock& clock_;
  std::atomic<PodStreams*> streams_ = nullptr;
};

}  // namespace local_cluster

// Getting, listing and watching objects.

#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"

#include "common/base/clock.h"
#include "common/net/http_server.h"
#include "local-cluster/apiserver/request.h"
#include "local-cluster/apiserver/storage/store.h"
#include "local-cluster/apiserver/watch_hub.h"

namespace local_cluster {

// Thread-safe.
class ObjectReader {
 public:
  ObjectReader(const Store& store, WatchHub& hub, const base::Clock& clock);

  absl::StatusOr<net::Response> Get(const ResourceRequest& request) const;
  // Blocks up to 3 s for a resourceVersion that is not there yet.
  absl::StatusOr<net::Response> List(const ResourceRequest& request) const;
  // Begins the answer of `exchange` and leaves the rest to the hub. An error: nothing was sent.
  absl::Status Watch(const ResourceRequest& request,
                     const std::shared_ptr<net::Exchange>& exchange) const;

  // All that a list selects now, in storage form.
  absl::StatusOr<ListResult> Select(const ResourceRequest& request) const;

 private:
  struct Position {
    uint64_t revision = 0;
    std::string after;
  };
  std::string Token(const Position& position) const;
  absl::StatusOr<Position> ParseToken(std::string_view token) const;
  absl::StatusOr<ListRange> Range(const ResourceRequest& request) const;

  const Store& store_;
  WatchHub& hub_;
  const base::Clock& clock_;
  const std::string token_key_;
};

}  // namespace local_cluster

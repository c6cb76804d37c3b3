// Who a request comes from: a client certificate, or a service account's token.

#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "common/base/clock.h"
#include "common/net/http_server.h"
#include "local-cluster/apiserver/request.h"
#include "local-cluster/apiserver/storage/store.h"

namespace local_cluster {

struct ServiceAccountToken {
  std::string namespace_name;
  std::string name;
  std::string uid;
};

// Tokens are JWTs signed with a key of this cluster. Thread-safe.
class Authenticator {
 public:
  // `store` tells whether a token's account still exists.
  Authenticator(const Store& store, const base::Clock& clock, std::string signing_key);

  // nullopt: nobody we know.
  std::optional<User> Identify(const net::Exchange& exchange) const;

  std::string Sign(const ServiceAccountToken& account, absl::Time expires) const;
  std::optional<User> Verify(std::string_view token) const;

 private:
  const Store& store_;
  const base::Clock& clock_;
  const std::string signing_key_;
};

}  // namespace local_cluster

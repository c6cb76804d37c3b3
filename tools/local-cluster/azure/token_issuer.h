// Bearer tokens: issued for one application, and accepted only if issued here.

#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/time/time.h"

#include "common/net/http.h"

namespace local_cluster::azure {

struct TokenIssuerOptions {
  std::string tenant_id;
  std::string client_id;
  std::string client_secret;
  std::string audience;
  absl::Duration lifetime = absl::Hours(1);
};

// Immutable; thread-safe.
class TokenIssuer {
 public:
  explicit TokenIssuer(TokenIssuerOptions options);

  // POST /{tenant}/oauth2/v2.0/token with a form: client secret, or any client assertion.
  net::Response Answer(std::string_view path, std::string_view form, absl::Time now) const;
  // What IMDS answers.
  net::Response AnswerImds(const net::Request& request, absl::Time now) const;

  // nullopt: accepted; else the refusal.
  std::optional<net::Response> Refuse(const net::Request& request, absl::Time now) const;

 private:
  std::string Issue(absl::Time now) const;
  std::string Sign(std::string_view payload) const;

  const TokenIssuerOptions options_;
  const std::string key_;
};

}  // namespace local_cluster::azure

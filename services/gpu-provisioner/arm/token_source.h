// Where bearer tokens for ARM come from.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "gpu-provisioner/arm/cloud.h"
#include "gpu-provisioner/arm/http_sender.h"

namespace gpu_provisioner {

struct FetchedToken {
  std::string token;
  absl::Duration lifetime;
};

// One try to get a token. Messages never hold a secret, an assertion or a token.
//
// Errors: kUnauthenticated (refused; an administrator must act), kUnavailable (try again).
class TokenSource {
 public:
  virtual ~TokenSource() = default;
  // `claims`: of a challenge that ARM sent, else empty. Blocks up to 20 s.
  virtual absl::StatusOr<FetchedToken> Fetch(const std::string& claims) = 0;
};

struct TokenSourceOptions {
  std::string auth;  // auto, workload-identity, managed-identity, service-principal, cli, none.
  std::string tenant_id;
  std::string client_id;
  std::string client_secret_file;    // Read anew at every fetch.
  std::string federated_token_file;  // Likewise.
  std::string authority_host;        // Empty: the cloud's.
  std::string imds_url = "http://169.254.169.254";
};

// `auto` is a federated token file if one is given, else managed identity. kInvalidArgument names
// the flag that is missing.
absl::StatusOr<std::unique_ptr<TokenSource>> MakeTokenSource(const TokenSourceOptions& options,
                                                             Cloud cloud,
                                                             HttpSenderFactory senders);

// The answer of a token endpoint or of IMDS, whose numbers are strings. kUnauthenticated carries
// the AADSTS code and what it means.
absl::StatusOr<FetchedToken> ParseTokenAnswer(const net::Response& response, std::string_view what);

}  // namespace gpu_provisioner

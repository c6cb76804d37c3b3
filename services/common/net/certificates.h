// Makes certificates: for the local cluster's own authority, and for tests of TLS.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace net {

// A certificate and its private key (P-256), both PEM.
struct CertificatePair {
  std::string certificate_pem;
  std::string private_key_pem;
};

struct CertificateRequest {
  std::string common_name;
  std::vector<std::string> organizations;  // In Kubernetes: the groups of a user.
  // DNS names and IP addresses that a server answers to, e.g. "localhost", "127.0.0.1", "::1".
  std::vector<std::string> subject_alternative_names;
  int days = 365;  // Valid from one hour ago, against clocks that differ.
};

// A self-signed authority.
absl::StatusOr<CertificatePair> MakeCa(std::string_view common_name, int days = 3650);

// A certificate for servers and clients, signed by `ca`. kInvalidArgument when `ca` is no usable
// pair or a name is malformed.
absl::StatusOr<CertificatePair> Issue(const CertificatePair& ca, const CertificateRequest& request);

}  // namespace net

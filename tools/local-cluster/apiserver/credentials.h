// The cluster's own authority, its certificates and the key of its tokens.

#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "common/net/certificates.h"

namespace local_cluster {

struct Credentials {
  net::CertificatePair ca;
  net::CertificatePair server;
  net::CertificatePair admin;
  std::string token_key;
};

// Reads them from `folder`, and makes what is missing, files 0600. Empty: made, and kept nowhere.
absl::StatusOr<Credentials> LoadCredentials(const std::string& folder);

// The text of a kubeconfig of one cluster, user and context, all called `name`.
std::string KubeconfigText(const Credentials& credentials, std::string_view name,
                           std::string_view url);

}  // namespace local_cluster

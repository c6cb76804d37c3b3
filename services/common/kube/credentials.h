// What proves who we are to an API server, and how it is renewed.

#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "common/base/clock.h"

namespace kube {

// What a call carries. Empty strings: nothing of the kind.
struct Credential {
  std::string authorization;  // The header's value: "Bearer …", "Basic …".
  std::string certificate_pem;
  std::string private_key_pem;

  bool operator==(const Credential&) const = default;
};

// Thread-safe.
class CredentialSource {
 public:
  virtual ~CredentialSource() = default;

  // From a cache while that is fresh. `renew`: the last one was refused, read again.
  virtual absl::StatusOr<Credential> Get(bool renew) = 0;
};

// Never changes.
std::unique_ptr<CredentialSource> MakeFixedCredential(Credential credential);

// Files that somebody rotates: read again when they are older than 60 s here. Empty paths: the
// value of `fixed` stays.
struct CredentialFiles {
  std::string token_path;
  std::string certificate_path;
  std::string private_key_path;
};
std::unique_ptr<CredentialSource> MakeFileCredential(CredentialFiles files, Credential fixed,
                                                     const base::Clock& clock = base::RealClock());

// A program that prints an ExecCredential (client.authentication.k8s.io/v1 or v1beta1).
struct ExecPlugin {
  std::string command;  // With a slash a path, else looked up in PATH.
  std::vector<std::string> arguments;
  std::map<std::string, std::string> environment;  // Beside our own.
  std::string api_version = "client.authentication.k8s.io/v1";
  std::string install_hint;       // Shown when the program is missing.
  std::string cluster_info_json;  // "spec.cluster" of what the program is told; "" for none.
  absl::Duration timeout = absl::Seconds(30);
};

// Kept until the program's own expirationTimestamp, or refused. Without a terminal: standard input
// is empty. kUnauthenticated with the program's last words when it fails.
std::unique_ptr<CredentialSource> MakeExecCredential(ExecPlugin plugin,
                                                     const base::Clock& clock = base::RealClock());

}  // namespace kube

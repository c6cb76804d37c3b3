// A Transport over HTTP, with credentials that are renewed.

#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"

#include "common/kube/client.h"
#include "common/kube/credentials.h"
#include "common/net/http_client.h"

namespace kube {

struct HttpTransportOptions {
  net::HttpClientOptions http;
  std::string ca_path;  // Read again every 60 s into http.tls.ca_pem; "": that stays.
  // Sent with every request: impersonation.
  std::vector<std::pair<std::string, std::string>> headers;
};

// Thread-safe. A 401 makes the credentials be read again, and the call repeated once.
class HttpTransport final : public Transport {
 public:
  HttpTransport(HttpTransportOptions options, std::unique_ptr<CredentialSource> credentials,
                const base::Clock& clock = base::RealClock());

  absl::StatusOr<net::Response> Send(const net::Request& request, absl::Duration timeout) override;
  absl::StatusOr<std::unique_ptr<net::HttpStream>> Open(const net::Request& request,
                                                        absl::Duration timeout) override;

 private:
  // `request` with what proves who we are; new connections then use current certificates.
  absl::StatusOr<net::Request> Authorize(const net::Request& request, bool renew);

  const HttpTransportOptions options_;
  const std::unique_ptr<CredentialSource> credentials_;
  const base::Clock& clock_;
  net::HttpClient http_;
  absl::Mutex mutex_;
  net::TlsOptions tls_ ABSL_GUARDED_BY(mutex_);
  absl::Duration ca_read_at_ ABSL_GUARDED_BY(mutex_) = -absl::InfiniteDuration();
};

}  // namespace kube

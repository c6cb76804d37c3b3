#include "common/kube/http_transport.h"

#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"

namespace kube {
namespace {

constexpr absl::Duration kReadAgain = absl::Seconds(60);

}  // namespace

HttpTransport::HttpTransport(HttpTransportOptions options,
                             std::unique_ptr<CredentialSource> credentials,
                             const base::Clock& clock)
    : options_(std::move(options)),
      credentials_(std::move(credentials)),
      clock_(clock),
      http_(options_.http),
      tls_(options_.http.tls) {}

absl::StatusOr<net::Request> HttpTransport::Authorize(const net::Request& request, bool renew) {
  ASSIGN_OR_RETURN(const Credential credential, credentials_->Get(renew));
  net::Request authorized = request;
  if (!credential.authorization.empty()) {
    authorized.headers.Set("Authorization", credential.authorization);
  }
  for (const auto& [name, value] : options_.headers) authorized.headers.Add(name, value);

  absl::MutexLock lock(&mutex_);
  bool changed = false;
  if (tls_.certificate_pem != credential.certificate_pem ||
      tls_.private_key_pem != credential.private_key_pem) {
    tls_.certificate_pem = credential.certificate_pem;
    tls_.private_key_pem = credential.private_key_pem;
    changed = true;
  }
  const absl::Duration now = clock_.Monotonic();
  if (!options_.ca_path.empty() && (renew || now - ca_read_at_ >= kReadAgain)) {
    const absl::StatusOr<std::string> ca = base::ReadFile(options_.ca_path, 1 << 20);
    if (ca.ok()) {
      changed = changed || *ca != tls_.ca_pem;
      tls_.ca_pem = *ca;
      ca_read_at_ = now;
    } else if (tls_.ca_pem.empty()) {
      return ca.status();
    } else {
      base::LogWarning("authority not readable, keeping the old one", {{"error", ca.status()}});
    }
  }
  if (changed) http_.SetTls(tls_);
  return authorized;
}

absl::StatusOr<net::Response> HttpTransport::Send(const net::Request& request,
                                                  absl::Duration timeout) {
  const absl::Duration deadline = base::RealClock().Monotonic() + timeout;
  ASSIGN_OR_RETURN(const net::Request first, Authorize(request, false));
  absl::StatusOr<net::Response> response = http_.Send(first, timeout);
  if (!response.ok() || response->status != 401) return response;
  ASSIGN_OR_RETURN(const net::Request second, Authorize(request, true));
  return http_.Send(second, std::max(deadline - base::RealClock().Monotonic(),
                                     absl::Duration(absl::Milliseconds(1))));
}

absl::StatusOr<std::unique_ptr<net::HttpStream>> HttpTransport::Open(const net::Request& request,
                                                                     absl::Duration timeout) {
  ASSIGN_OR_RETURN(const net::Request first, Authorize(request, false));
  absl::StatusOr<std::unique_ptr<net::HttpStream>> stream = http_.Open(first, timeout);
  if (!stream.ok() || (*stream)->status() != 401) return stream;
  ASSIGN_OR_RETURN(const net::Request second, Authorize(request, true));
  return http_.Open(second, timeout);
}

}  // namespace kube

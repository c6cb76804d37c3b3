// TLS as a filter between bytes of the socket and bytes of the application. No sockets.

#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "common/net/http_client.h"

struct ssl_ctx_st;
struct ssl_st;

namespace net {

using TlsContext = std::shared_ptr<ssl_ctx_st>;

// TLS 1.2 at least, ALPN http/1.1. kInvalidArgument when the PEM texts are no usable pair.
// `client_ca_pem` not empty: certificates of clients are asked for, and verified if given.
absl::StatusOr<TlsContext> MakeServerTls(const std::string& certificate_pem,
                                         const std::string& private_key_pem,
                                         const std::string& client_ca_pem);
absl::StatusOr<TlsContext> MakeClientTls(const TlsOptions& options);

// One connection's TLS. Not thread-safe.
//
// The caller moves bytes: Feed() what the socket gave, send what TakeOutput() returns after each
// call, until both are empty.
class TlsCodec {
 public:
  // `server_name`: for SNI and verification; only for clients.
  static std::unique_ptr<TlsCodec> ForServer(const TlsContext& context);
  static std::unique_ptr<TlsCodec> ForClient(const TlsContext& context,
                                             const std::string& server_name, bool verify);
  ~TlsCodec();

  // Takes bytes from the peer and appends to `*plain` what they decrypt to. kUnauthenticated when
  // a certificate is refused, by either side; kUnavailable for any other failure.
  absl::Status Feed(std::string_view cipher, std::string* plain);

  // Queues bytes for the peer; before the end of the handshake they wait for it.
  absl::Status Send(std::string_view plain);

  // Says that nothing more will be sent.
  void SendClose();

  // Bytes for the socket.
  std::string TakeOutput();

  bool handshake_done() const { return handshake_done_; }
  // The peer ended its side properly.
  bool peer_closed() const { return peer_closed_; }

  // Subject of the peer's verified certificate; empty without one.
  std::string peer_common_name() const;
  std::vector<std::string> peer_organizations() const;

 private:
  explicit TlsCodec(const TlsContext& context);
  absl::Status Advance();
  absl::Status Failure(int result, std::string_view what);
  std::vector<std::string> SubjectEntries(int nid) const;

  TlsContext context_;
  struct SslDeleter {
    void operator()(ssl_st* ssl) const;
  };
  std::unique_ptr<ssl_st, SslDeleter> ssl_;
  bool handshake_done_ = false;
  bool peer_closed_ = false;
  std::string waiting_;  // Sent before the handshake was done.
};

}  // namespace net

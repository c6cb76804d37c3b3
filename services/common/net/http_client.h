// A blocking HTTP/1.1 client: plain or TLS, kept-alive connections, streams that can be cancelled.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "common/net/http.h"

namespace net {

struct TlsOptions {
  std::string ca_pem;           // Empty: the system's authorities.
  std::string certificate_pem;  // Client certificate and key; both or none.
  std::string private_key_pem;
  std::string server_name;  // Empty: the URL's host. For SNI and verification.
  bool insecure_skip_verify = false;
};

struct HttpClientOptions {
  std::string base_url;  // "https://host:port"; a path in it is put before each target. Also
                         // "unix:/path/to/socket", which is spoken to in plain HTTP.
  TlsOptions tls;
  std::string user_agent = "kaito-cpp";
  absl::Duration connect_timeout = absl::Seconds(5);
  absl::Duration call_timeout = absl::Seconds(30);  // Of Send(), unless a call says otherwise.
  size_t response_bytes_max = 64 << 20;
  int idle_connections_max = 8;
};

// A response whose body arrives over time. One reader thread; Cancel() from any thread.
class HttpStream {
 public:
  virtual ~HttpStream() = default;

  virtual int status() const = 0;
  virtual const Headers& headers() const = 0;

  // The next piece of the body as it arrived (chunking removed, any size ≥ 1), "" at the regular
  // end. Blocks at most `timeout`, then kDeadlineExceeded; the stream can be read on after that.
  // kUnavailable when the connection was cut, kCancelled after Cancel().
  virtual absl::StatusOr<std::string> Read(absl::Duration timeout) = 0;

  // Ends a Read() that is blocked, and closes the connection.
  virtual void Cancel() = 0;
};

// Thread-safe; a call uses a connection of its own or an idle one of the pool.
//
// Errors: kUnavailable (refused, reset, cut, no address), kDeadlineExceeded, kUnauthenticated (TLS
// verification failed), kResourceExhausted (response too large), kCancelled. A response of any
// status is no error. No call is repeated, except one that failed on a pooled connection before a
// byte of the answer came, if its method is GET or HEAD. Redirects are not followed.
class HttpClient {
 public:
  explicit HttpClient(HttpClientOptions options);
  ~HttpClient();

  // Blocks until the whole answer is there. `timeout` zero: options.call_timeout.
  absl::StatusOr<Response> Send(const Request& request,
                                absl::Duration timeout = absl::ZeroDuration());

  // Blocks until the header is there, at most `timeout`.
  absl::StatusOr<std::unique_ptr<HttpStream>> Open(const Request& request,
                                                   absl::Duration timeout = absl::Seconds(30));

  // New connections use these from now on; idle ones are closed. For rotated certificates.
  void SetTls(TlsOptions tls);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace net

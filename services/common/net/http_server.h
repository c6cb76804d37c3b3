// An HTTP/1.1 server: limits on everything, answers whole or streamed, plain or TLS.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "common/net/http.h"

namespace net {

// One request and the way to answer it. The handler keeps it as long as it wants to answer;
// dropping the last reference without an answer sends 500.
//
// Thread-safe: any thread may answer, in order. Writes never block.
class Exchange {
 public:
  virtual ~Exchange() = default;

  virtual const Request& request() const = 0;

  // "127.0.0.1:4711"; for a Unix socket "unix".
  virtual std::string_view peer() const = 0;

  // Subject common name and organisations of a verified client certificate; "" without one.
  virtual std::string_view client_common_name() const = 0;
  virtual const std::vector<std::string>& client_organizations() const = 0;

  // The whole answer. Content-Length is set here; HEAD drops the body but keeps its length.
  virtual void Send(Response response) = 0;

  // A streamed answer: Begin, any number of Write, then End. Sent chunked, each Write flushed as
  // soon as the socket takes it. Abort closes the connection without a proper end, so that the
  // client sees a cut stream.
  virtual void Begin(int status, Headers headers) = 0;
  // False once the client has gone or the exchange has ended; the data is then dropped.
  virtual bool Write(std::string data) = 0;
  virtual void End() = 0;
  virtual void Abort() = 0;

  // Bytes written but not yet taken by the socket: back-pressure is the handler's decision.
  virtual size_t unsent_bytes() const = 0;

  // True after the client closed or the write stalled for too long.
  virtual bool closed() const = 0;

  // Calls `callback` once, on a server thread, when the client goes before the answer has ended; at
  // once if it has gone already. Only one; set it before keeping the exchange for long.
  virtual void OnClose(std::function<void()> callback) = 0;

  // Takes the raw connection after a 101 answer: bytes that arrive go to `on_data` (server thread),
  // Write() sends raw bytes, End() closes. `on_data("")` means the peer closed.
  virtual void Upgrade(Headers headers, std::function<void(std::string_view)> on_data) = 0;
};

using Handler = std::function<void(std::shared_ptr<Exchange> exchange)>;

// Called when the header is complete and before the body is read. A response refuses the request:
// it is sent and the connection closed. `content_length` is absent for chunked bodies.
using HeadCheck = std::function<std::optional<Response>(const Request& head, std::string_view peer,
                                                        std::optional<uint64_t> content_length)>;

struct HttpServerOptions {
  std::string bind_address = "127.0.0.1";
  int port = 0;             // 0: any free one, see port().
  std::string unix_socket;  // Instead of address and port.
  bool reuse_address = true;

  std::string certificate_pem;  // Both: TLS.
  std::string private_key_pem;
  std::string client_ca_pem;  // Client certificates are asked for, and verified if given.

  int io_threads = 1;          // Parse and write.
  int handler_threads = 0;     // 0: handlers run on the I/O threads and must not block.
  int connections_max = 4096;  // Beyond: 503 and close.
  size_t header_bytes_max = 16 << 10;
  size_t request_line_bytes_max = 8 << 10;
  int header_fields_max = 100;
  size_t body_bytes_max = 16 << 20;
  absl::Duration header_timeout = absl::Seconds(10);
  absl::Duration body_timeout = absl::Seconds(30);   // Without a byte.
  absl::Duration idle_timeout = absl::Seconds(75);   // Between requests.
  absl::Duration write_timeout = absl::Seconds(30);  // Without a byte taken by the client.

  HeadCheck head_check;  // Optional.

  // Turns an error that the server itself finds (400, 408, 413, 431, 503 …) into the service's own
  // shape. Default: text/plain.
  std::function<Response(int status, std::string_view message)> error_response;
};

// Ambiguous framing (both lengths, two lengths, bare LF, folded headers, bad chunks) is 400 and
// close; paths are handed on as they came.
class HttpServer {
 public:
  // Listens and serves from here on. kAlreadyExists "port 5000 is taken by nginx (pid 812)…" or
  // kPermissionDenied, with the remedy.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(HttpServerOptions options,
                                                           Handler handler);

  // Stops at once: open exchanges are closed, their OnClose called. Blocks until threads ended.
  ~HttpServer();

  int port() const;

  // Takes no new connections; idle ones are closed, running exchanges go on.
  void StopAccepting();

  // Exchanges that are not answered yet.
  int exchanges_open() const;

  // New connections use this certificate from now on.
  absl::Status SetCertificate(const std::string& certificate_pem,
                              const std::string& private_key_pem);

 private:
  HttpServer();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace net

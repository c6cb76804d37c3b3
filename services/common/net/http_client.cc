#include "common/net/http_client.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"

#include "common/base/status_macros.h"
#include "common/net/client_socket.h"
#include "common/net/http_wire.h"
#include "common/net/tls_codec.h"

namespace net {
namespace {

constexpr absl::Duration kIdleMax = absl::Seconds(60);  // Servers close at 75 s and more.

// A connection as HTTP needs it: plain bytes in and out, whatever lies below.
class Connection {
 public:
  Connection(std::shared_ptr<ClientSocket> socket, std::unique_ptr<TlsCodec> tls, int generation)
      : socket_(std::move(socket)), tls_(std::move(tls)), generation_(generation) {}

  absl::Status Handshake(absl::Time deadline) {
    while (tls_ && !tls_->handshake_done()) {
      RETURN_IF_ERROR(Flush(deadline));
      std::string cipher;
      ASSIGN_OR_RETURN(const size_t size, socket_->Read(&cipher, deadline));
      if (size == 0) return absl::UnavailableError("TLS handshake: the server closed");
      const absl::Status status = tls_->Feed(cipher, &in_);
      if (!status.ok()) {
        Flush(deadline).IgnoreError();  // The alert tells the server why.
        return status;
      }
    }
    return tls_ ? Flush(deadline) : absl::OkStatus();
  }

  absl::Status Write(std::string_view data, absl::Time deadline) {
    if (!tls_) return socket_->WriteAll(data, deadline);
    RETURN_IF_ERROR(tls_->Send(data));
    return Flush(deadline);
  }

  // Blocks for more bytes in in(). False when the server closed.
  absl::StatusOr<bool> ReadMore(absl::Time deadline) {
    if (!tls_) {
      ASSIGN_OR_RETURN(const size_t size, socket_->Read(&in_, deadline));
      return size > 0;
    }
    const size_t before = in_.size();
    while (in_.size() == before) {
      if (tls_->peer_closed()) return false;
      std::string cipher;
      ASSIGN_OR_RETURN(const size_t size, socket_->Read(&cipher, deadline));
      if (size == 0) return false;
      RETURN_IF_ERROR(tls_->Feed(cipher, &in_));
      RETURN_IF_ERROR(Flush(deadline));
    }
    return true;
  }

  std::string& in() { return in_; }
  int generation() const { return generation_; }
  const std::shared_ptr<ClientSocket>& socket() const { return socket_; }

  absl::Time idle_since;

 private:
  absl::Status Flush(absl::Time deadline) {
    const std::string out = tls_->TakeOutput();
    return out.empty() ? absl::OkStatus() : socket_->WriteAll(out, deadline);
  }

  std::shared_ptr<ClientSocket> socket_;
  std::unique_ptr<TlsCodec> tls_;
  const int generation_;
  std::string in_;  // Received and not yet used.
};

// Idle connections; outlives the client while streams use it.
struct Pool {
  absl::Mutex mutex;
  std::vector<std::unique_ptr<Connection>> idle ABSL_GUARDED_BY(mutex);
  int generation ABSL_GUARDED_BY(mutex) = 0;
  int idle_max = 0;

  std::unique_ptr<Connection> Take() {
    absl::MutexLock lock(&mutex);
    while (!idle.empty()) {
      std::unique_ptr<Connection> connection = std::move(idle.back());
      idle.pop_back();
      const bool old = SteadyNow() - connection->idle_since > kIdleMax;
      if (!old && !connection->socket()->Stale()) return connection;
    }
    return nullptr;
  }

  void Give(std::unique_ptr<Connection> connection) {
    if (!connection->in().empty()) return;  // Bytes nobody asked for.
    connection->idle_since = SteadyNow();
    absl::MutexLock lock(&mutex);
    if (connection->generation() != generation || static_cast<int>(idle.size()) >= idle_max) return;
    idle.push_back(std::move(connection));
  }
};

class Stream final : public HttpStream {
 public:
  Stream(std::shared_ptr<Pool> pool, std::unique_ptr<Connection> connection, MessageHead head)
      : pool_(std::move(pool)),
        connection_(std::move(connection)),
        head_(std::move(head)),
        reader_(head_.framing, head_.content_length),
        socket_(connection_->socket()) {
    if (reader_.done()) Finish();
  }

  int status() const override { return head_.response.status; }
  const Headers& headers() const override { return head_.response.headers; }
  Response TakeResponse() { return std::move(head_.response); }

  absl::StatusOr<std::string> Read(absl::Duration timeout) override {
    const absl::Time deadline = SteadyNow() + timeout;
    {
      absl::MutexLock lock(&mutex_);
      if (cancelled_) return absl::CancelledError("the call was cancelled");
    }
    std::string piece;
    while (connection_ != nullptr) {
      std::string& in = connection_->in();
      in.erase(0, reader_.Read(in, &piece));
      if (reader_.failed()) {
        return absl::UnavailableError("the server's answer has a malformed chunk");
      }
      if (reader_.done()) Finish();
      if (!piece.empty() || connection_ == nullptr) return piece;
      ASSIGN_OR_RETURN(const bool more, connection_->ReadMore(deadline));
      if (more) continue;
      if (!reader_.EndsWithConnection()) {
        return absl::UnavailableError("the server cut the connection inside its answer");
      }
      connection_.reset();
    }
    return piece;
  }

  void Cancel() override {
    absl::MutexLock lock(&mutex_);
    cancelled_ = true;
    if (socket_ != nullptr) socket_->Cancel();
  }

 private:
  // The answer is complete: the connection is free.
  void Finish() {
    {
      // A Cancel() from now on must not hit the next call on the same connection.
      absl::MutexLock lock(&mutex_);
      socket_ = nullptr;
    }
    if (head_.keep_alive) pool_->Give(std::move(connection_));
    connection_.reset();
  }

  std::shared_ptr<Pool> pool_;
  std::unique_ptr<Connection> connection_;  // Null after the end.
  MessageHead head_;
  BodyReader reader_;
  absl::Mutex mutex_;
  std::shared_ptr<ClientSocket> socket_ ABSL_GUARDED_BY(mutex_);
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

struct HttpClient::Impl {
  HttpClientOptions options;
  absl::Status usable;  // Why no call can work: the URL or the TLS options are wrong.
  Url url;
  std::string unix_path;
  std::string path_prefix;
  std::shared_ptr<Pool> pool = std::make_shared<Pool>();
  absl::Mutex mutex;
  TlsContext tls ABSL_GUARDED_BY(mutex);
  TlsOptions tls_options ABSL_GUARDED_BY(mutex);
  absl::Status tls_status ABSL_GUARDED_BY(mutex);

  void SetTls(TlsOptions tls_new);
  absl::StatusOr<std::unique_ptr<Connection>> Connect(absl::Time deadline);
  absl::StatusOr<MessageHead> Ask(Connection& connection, const Request& request,
                                  absl::Time deadline, bool* answer_began);
  absl::StatusOr<std::unique_ptr<Stream>> Open(const Request& request, absl::Time deadline);
};

void HttpClient::Impl::SetTls(TlsOptions tls_new) {
  absl::StatusOr<TlsContext> context = MakeClientTls(tls_new);
  absl::MutexLock lock(&mutex);
  tls_options = std::move(tls_new);
  tls_status = context.status();
  tls = context.ok() ? *std::move(context) : nullptr;
  absl::MutexLock pool_lock(&pool->mutex);
  ++pool->generation;
  pool->idle.clear();
}

absl::StatusOr<std::unique_ptr<Connection>> HttpClient::Impl::Connect(absl::Time deadline) {
  deadline = std::min(deadline, SteadyNow() + options.connect_timeout);
  int generation = 0;
  {
    absl::MutexLock lock(&pool->mutex);
    generation = pool->generation;
  }
  auto socket = std::make_shared<ClientSocket>();
  if (!unix_path.empty()) {
    RETURN_IF_ERROR(socket->ConnectUnix(unix_path, deadline));
    return std::make_unique<Connection>(std::move(socket), nullptr, generation);
  }
  std::unique_ptr<TlsCodec> codec;
  if (url.scheme == "https") {
    absl::MutexLock lock(&mutex);
    RETURN_IF_ERROR(tls_status);
    const std::string& name = tls_options.server_name.empty() ? url.host : tls_options.server_name;
    codec = TlsCodec::ForClient(tls, name, !tls_options.insecure_skip_verify);
  }
  RETURN_IF_ERROR(socket->ConnectTcp(url.host, url.port, deadline));
  auto connection = std::make_unique<Connection>(std::move(socket), std::move(codec), generation);
  RETURN_IF_ERROR(connection->Handshake(deadline));
  return connection;
}

absl::StatusOr<MessageHead> HttpClient::Impl::Ask(Connection& connection, const Request& request,
                                                  absl::Time deadline, bool* answer_began) {
  Headers headers = request.headers;
  headers.Set("Host", unix_path.empty() ? url.HostHeader() : "localhost");
  if (!headers.Find("User-Agent")) headers.Add("User-Agent", options.user_agent);
  headers.Remove("Transfer-Encoding");
  headers.Remove("Content-Length");
  const bool may_have_body = request.method != "GET" && request.method != "HEAD";
  if (!request.body.empty() || may_have_body) {
    headers.Add("Content-Length", std::to_string(request.body.size()));
  }
  std::string message = WriteRequestHead(request.method, path_prefix + request.target, headers);
  message += request.body;
  // A server may answer and close before it has read all; then its answer counts, not the error.
  const absl::Status written = connection.Write(message, deadline);
  if (absl::IsCancelled(written) || absl::IsDeadlineExceeded(written)) return written;

  while (true) {
    HeadReader reader(
        HeadReader::Kind::kResponse,
        {.start_line_bytes_max = 8 << 10, .head_bytes_max = 256 << 10, .fields_max = 1000});
    HeadState state = reader.Read(connection.in(), request.method == "HEAD");
    while (state == HeadState::kIncomplete) {
      ASSIGN_OR_RETURN(const bool more, connection.ReadMore(deadline));
      if (!more) {
        return written.ok() ? absl::UnavailableError("the server closed without an answer")
                            : written;
      }
      *answer_began = true;
      state = reader.Read(connection.in(), request.method == "HEAD");
    }
    if (state == HeadState::kError) {
      return absl::UnavailableError(
          absl::StrFormat("the server's answer is no HTTP: %s", reader.error().message));
    }
    connection.in().erase(0, reader.consumed());
    const int status = reader.head().response.status;
    if (status >= 200 || status == 101) {
      if (!written.ok()) reader.head().keep_alive = false;
      return std::move(reader.head());
    }
  }
}

absl::StatusOr<std::unique_ptr<Stream>> HttpClient::Impl::Open(const Request& request,
                                                               absl::Time deadline) {
  RETURN_IF_ERROR(usable);
  const bool repeatable = request.method == "GET" || request.method == "HEAD";
  std::unique_ptr<Connection> connection = pool->Take();
  for (bool pooled = connection != nullptr;; pooled = false) {
    if (!pooled) {
      ASSIGN_OR_RETURN(connection, Connect(deadline));
    }
    bool answer_began = false;
    absl::StatusOr<MessageHead> head = Ask(*connection, request, deadline, &answer_began);
    if (head.ok()) {
      return std::make_unique<Stream>(pool, std::move(connection), *std::move(head));
    }
    // The server may have closed the idle connection just now.
    const bool again = pooled && !answer_began && repeatable && absl::IsUnavailable(head.status());
    if (!again) return head.status();
  }
}

HttpClient::HttpClient(HttpClientOptions options) : impl_(std::make_unique<Impl>()) {
  impl_->options = std::move(options);
  impl_->pool->idle_max = impl_->options.idle_connections_max;
  const std::string& base_url = impl_->options.base_url;
  if (base_url.starts_with("unix:")) {
    impl_->unix_path = base_url.substr(5);
    return;
  }
  absl::StatusOr<Url> url = ParseUrl(base_url);
  impl_->usable = url.status();
  if (!url.ok()) return;
  impl_->url = *std::move(url);
  impl_->path_prefix = impl_->url.target;
  while (impl_->path_prefix.ends_with('/')) impl_->path_prefix.pop_back();
  if (impl_->url.scheme == "https") impl_->SetTls(impl_->options.tls);
}

HttpClient::~HttpClient() = default;

absl::StatusOr<Response> HttpClient::Send(const Request& request, absl::Duration timeout) {
  if (timeout <= absl::ZeroDuration()) timeout = impl_->options.call_timeout;
  const absl::Time deadline = SteadyNow() + timeout;
  ASSIGN_OR_RETURN(const std::unique_ptr<Stream> stream, impl_->Open(request, deadline));
  std::string body;
  while (true) {
    ASSIGN_OR_RETURN(const std::string piece, stream->Read(deadline - SteadyNow()));
    if (piece.empty()) break;
    if (piece.size() > impl_->options.response_bytes_max - body.size()) {
      return absl::ResourceExhaustedError(
          absl::StrFormat("the answer has more than %d bytes", impl_->options.response_bytes_max));
    }
    body += piece;
  }
  Response response = stream->TakeResponse();
  response.body = std::move(body);
  return response;
}

absl::StatusOr<std::unique_ptr<HttpStream>> HttpClient::Open(const Request& request,
                                                             absl::Duration timeout) {
  return impl_->Open(request, SteadyNow() + timeout);
}

void HttpClient::SetTls(TlsOptions tls) { impl_->SetTls(std::move(tls)); }

}  // namespace net

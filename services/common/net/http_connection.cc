#include "common/net/http_connection.h"

#include <algorithm>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <sys/socket.h>

#include "absl/time/time.h"

#include "common/net/client_socket.h"
#include "common/net/http_exchange.h"

namespace net {
namespace asio = boost::asio;
using boost::system::error_code;

namespace {

constexpr size_t kReadBytes = 16 << 10;
constexpr size_t kPipelinedBytesMax = 64 << 10;  // Read ahead while an answer is pending.
constexpr absl::Duration kHandshakeTimeout = absl::Seconds(10);

WireLimits LimitsOf(const HttpServerOptions& options) {
  return {.start_line_bytes_max = options.request_line_bytes_max,
          .head_bytes_max = options.header_bytes_max,
          .fields_max = options.header_fields_max};
}

}  // namespace

Response ServerShared::MakeError(int status, std::string_view message) const {
  if (options.error_response) return options.error_response(status, message);
  return Response{.status = status,
                  .headers = {{"Content-Type", "text/plain; charset=utf-8"}},
                  .body = std::string(message) + "\n"};
}

HttpConnection::HttpConnection(std::shared_ptr<ServerShared> shared,
                               std::shared_ptr<asio::io_context> io, StreamSocket socket,
                               std::string peer, TlsContext tls,
                               std::function<void(HttpConnection*)> forget)
    : shared_(std::move(shared)),
      io_(std::move(io)),
      socket_(std::move(socket)),
      timer_(*io_),
      peer_(std::move(peer)),
      tls_(tls ? TlsCodec::ForServer(tls) : nullptr),
      forget_(std::move(forget)),
      read_buffer_(kReadBytes, '\0') {}

HttpConnection::~HttpConnection() = default;

bool HttpConnection::OnIoThread() const { return io_->get_executor().running_in_this_thread(); }

void HttpConnection::Start() {
  SetReadDeadline(tls_ ? kHandshakeTimeout : shared_->options.header_timeout);
  StartRead();
}

void HttpConnection::Refuse() {
  if (tls_) return Close();  // A handshake for a refusal would cost more than it tells.
  RefuseWith(shared_->MakeError(503, "there are too many connections; try again later"));
  StartRead();
}

void HttpConnection::CloseIfIdle() {
  if (phase_ == Phase::kIdle || (phase_ == Phase::kHead && in_.empty())) Close();
}

void HttpConnection::StartRead() {
  if (reading_ || client_ended_ || phase_ == Phase::kClosed) return;
  if (phase_ == Phase::kExchange && in_.size() > kPipelinedBytesMax) return;
  reading_ = true;
  socket_.async_read_some(asio::buffer(read_buffer_),
                          [self = shared_from_this()](const error_code& error, size_t size) {
                            self->reading_ = false;
                            self->OnRead(error, size);
                          });
}

bool HttpConnection::Decrypt(std::string_view cipher) {
  const bool before = tls_->handshake_done();
  const absl::Status status = tls_->Feed(cipher, &in_);
  if (!before && tls_->handshake_done()) {
    client_common_name_ = tls_->peer_common_name();
    client_organizations_ = tls_->peer_organizations();
    SetReadDeadline(shared_->options.header_timeout);
  }
  if (!status.ok()) phase_ = Phase::kLastWrite;  // The alert is still sent.
  StartWrite();
  return status.ok() && phase_ != Phase::kClosed;
}

void HttpConnection::OnRead(const error_code& error, size_t size) {
  if (phase_ == Phase::kClosed) return;
  if (error) return ClientEnded();
  const std::string_view bytes(read_buffer_.data(), size);
  if (phase_ == Phase::kLinger) {
    // What the client had under way when we refused it.
  } else if (tls_ == nullptr) {
    in_.append(bytes);
  } else if (!Decrypt(bytes)) {
    return;
  }
  if (phase_ == Phase::kBody) SetReadDeadline(shared_->options.body_timeout);
  if (phase_ == Phase::kLastWrite) in_.clear();
  Process();
  if (tls_ && tls_->peer_closed()) return ClientEnded();
  StartRead();
}

void HttpConnection::ClientEnded() {
  client_ended_ = true;
  if (phase_ == Phase::kUpgraded && on_data_) on_data_("");
  {
    absl::MutexLock lock(&mutex_);
    // An answer that is complete is still delivered to a client that closed its half.
    if (answer_ended_ && phase_ == Phase::kExchange) return;
  }
  if (phase_ != Phase::kLastWrite) Close();
}

void HttpConnection::Process() {
  if (processing_) return;
  processing_ = true;
  bool again = true;
  while (again) {
    switch (phase_) {
      case Phase::kIdle:
      case Phase::kHead:
        again = ProcessHead();
        break;
      case Phase::kBody:
        again = ProcessBody();
        break;
      case Phase::kUpgraded:
        if (!in_.empty() && on_data_) on_data_(std::exchange(in_, {}));
        again = false;
        break;
      default:
        again = false;
    }
  }
  processing_ = false;
}

bool HttpConnection::ProcessHead() {
  if (in_.empty()) return false;
  if (phase_ == Phase::kIdle) {
    phase_ = Phase::kHead;
    SetReadDeadline(shared_->options.header_timeout);
  }
  if (!head_reader_) {
    head_reader_.emplace(HeadReader::Kind::kRequest, LimitsOf(shared_->options));
  }
  const HeadState state = head_reader_->Read(in_);
  if (state == HeadState::kIncomplete) return false;
  if (state == HeadState::kError) {
    Fail(head_reader_->error().status, head_reader_->error().message);
    return false;
  }
  in_.erase(0, head_reader_->consumed());
  head_ = std::move(head_reader_->head());
  head_reader_.reset();
  first_request_ = false;

  const HttpServerOptions& options = shared_->options;
  if (options.head_check) {
    std::optional<uint64_t> length = head_.content_length;
    if (head_.framing == Framing::kChunked) length.reset();
    if (auto refusal = options.head_check(head_.request, peer_, length)) {
      RefuseWith(*std::move(refusal));
      return false;
    }
  }
  if (head_.framing == Framing::kLength && head_.content_length > options.body_bytes_max) {
    Fail(413, "the body is too large");
    return false;
  }
  body_reader_ = BodyReader(head_.framing, head_.content_length);
  phase_ = Phase::kBody;
  SetReadDeadline(options.body_timeout);
  if (head_.expects_continue && !body_reader_.done() && in_.empty()) {
    {
      absl::MutexLock lock(&mutex_);
      out_ += WriteResponseHead(100, {});
    }
    StartWrite();
  }
  return true;
}

bool HttpConnection::ProcessBody() {
  in_.erase(0, body_reader_.Read(in_, &head_.request.body, shared_->options.body_bytes_max));
  if (body_reader_.too_large()) {
    Fail(413, "the body is too large");
    return false;
  }
  if (body_reader_.failed()) {
    Fail(400, "the body has a malformed chunk");
    return false;
  }
  if (!body_reader_.done()) return false;
  StartExchange();
  return true;
}

void HttpConnection::StartExchange() {
  phase_ = Phase::kExchange;
  SetReadDeadline(absl::InfiniteDuration());
  {
    absl::MutexLock lock(&mutex_);
    exchange_open_ = true;
  }
  ++shared_->exchanges_open;
  const bool keep_alive = head_.keep_alive;
  const bool http_1_0 = head_.http_1_0;
  shared_->dispatch(std::make_shared<ServerExchange>(shared_from_this(), std::move(head_.request),
                                                     keep_alive, http_1_0));
}

void HttpConnection::Fail(int status, std::string_view message) {
  RefuseWith(shared_->MakeError(status, message));
}

void HttpConnection::RefuseWith(Response response) {
  phase_ = Phase::kLastWrite;
  in_.clear();
  SetReadDeadline(absl::InfiniteDuration());
  response.headers.Set("Connection", "close");
  response.headers.Set("Date", HttpDate());
  {
    absl::MutexLock lock(&mutex_);
    out_ += WriteResponse(std::move(response), head_.request.method == "HEAD");
    close_after_ = true;
  }
  StartWrite();
}

}  // namespace net

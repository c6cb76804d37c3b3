// The writing half of HttpConnection, and its clock.

#include <algorithm>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <sys/socket.h>

#include "common/net/client_socket.h"
#include "common/net/http_connection.h"

namespace net {
namespace asio = boost::asio;
using boost::system::error_code;

namespace {

constexpr absl::Duration kLingerTimeout = absl::Seconds(2);

}  // namespace

bool HttpConnection::Write(std::string data, WriteOptions write) {
  std::function<void()> dropped;  // Destroyed after the lock: it may hold the exchange.
  {
    absl::MutexLock lock(&mutex_);
    if (closed_ || !exchange_open_) return false;
    unsent_ += data.size();
    out_ += data;
    if (write.last) {
      exchange_open_ = false;
      answer_ended_ = true;
      close_after_ = write.close;
      cut_ = write.cut;
      dropped = std::exchange(on_close_, nullptr);
      --shared_->exchanges_open;
    }
  }
  Flush();
  return true;
}

void HttpConnection::Flush() {
  if (OnIoThread()) return StartWrite();
  absl::MutexLock lock(&mutex_);
  // A closed connection must post nothing: its I/O thread may have ended.
  if (closed_ || flush_posted_) return;
  flush_posted_ = true;
  asio::post(*io_, [self = shared_from_this()] {
    {
      absl::MutexLock posted_lock(&self->mutex_);
      self->flush_posted_ = false;
    }
    self->StartWrite();
  });
}

void HttpConnection::StartWrite() {
  if (writing_ || phase_ == Phase::kClosed || phase_ == Phase::kLinger) return;
  std::string plain;
  bool regular_end = false;
  {
    absl::MutexLock lock(&mutex_);
    plain = std::exchange(out_, {});
    regular_end = close_after_ && !cut_ && (answer_ended_ || phase_ == Phase::kLastWrite);
  }
  unsent_in_write_ = unsent_ > 0 ? plain.size() : 0;
  if (tls_) {
    if (!plain.empty() && !tls_->Send(plain).ok()) return Close();
    if (regular_end) tls_->SendClose();
    write_buffer_ = tls_->TakeOutput();
  } else {
    write_buffer_ = std::move(plain);
  }
  written_ = 0;
  if (write_buffer_.empty()) return AllWritten();
  writing_ = true;
  WriteSome();
}

void HttpConnection::WriteSome() {
  write_deadline_ = SteadyNow() + shared_->options.write_timeout;
  ArmTimer();
  socket_.async_write_some(
      asio::buffer(write_buffer_.data() + written_, write_buffer_.size() - written_),
      [self = shared_from_this()](const error_code& error, size_t size) {
        self->OnWritten(error, size);
      });
}

void HttpConnection::OnWritten(const error_code& error, size_t size) {
  if (phase_ == Phase::kClosed) return;
  if (error) return Close();
  written_ += size;
  const bool done = written_ == write_buffer_.size();
  const size_t sent = done ? unsent_in_write_ : std::min(size, unsent_in_write_);
  unsent_in_write_ -= sent;
  unsent_ -= std::min(sent, unsent_.load());
  if (!done) return WriteSome();
  writing_ = false;
  write_deadline_ = absl::InfiniteFuture();
  StartWrite();
}

// Nothing is left for the socket.
void HttpConnection::AllWritten() {
  if (phase_ == Phase::kLastWrite) return Linger();
  {
    absl::MutexLock lock(&mutex_);
    if (!answer_ended_ || !out_.empty()) return;
    answer_ended_ = false;
    if (close_after_ || client_ended_) phase_ = Phase::kLastWrite;
  }
  if (phase_ == Phase::kLastWrite) return Linger();
  if (phase_ != Phase::kExchange) return;
  phase_ = Phase::kIdle;
  if (!shared_->accepting && in_.empty()) return Close();
  SetReadDeadline(shared_->options.idle_timeout);
  Process();
  StartRead();
}

// Closes so that the client surely gets what was written: a socket that is closed with unread
// bytes resets the connection and takes the answer along.
void HttpConnection::Linger() {
  phase_ = Phase::kLinger;
  if (client_ended_) return Close();
  error_code ignored;
  socket_.shutdown(StreamSocket::shutdown_send, ignored);
  SetReadDeadline(kLingerTimeout);
  StartRead();
}

void HttpConnection::Upgrade(std::string head, std::function<void(std::string_view)> on_data) {
  {
    absl::MutexLock lock(&mutex_);
    if (closed_ || !exchange_open_) return;
    out_ += head;
    asio::post(*io_, [self = shared_from_this(), on_data = std::move(on_data)]() mutable {
      if (self->phase_ != Phase::kExchange) return;
      self->phase_ = Phase::kUpgraded;
      self->on_data_ = std::move(on_data);
      self->StartWrite();
      self->Process();
      self->StartRead();
    });
  }
  Flush();
}

void HttpConnection::OnClose(std::function<void()> callback) {
  {
    absl::MutexLock lock(&mutex_);
    if (!closed_) {
      if (exchange_open_) on_close_.swap(callback);
      return;
    }
  }
  callback();
}

void HttpConnection::Close() {
  if (phase_ == Phase::kClosed) return;
  phase_ = Phase::kClosed;
  const auto self = shared_from_this();  // forget_() may drop the last reference.
  std::function<void()> on_close;
  {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
    if (exchange_open_) {
      exchange_open_ = false;
      --shared_->exchanges_open;
      on_close = std::exchange(on_close_, nullptr);
    }
    out_.clear();
  }
  error_code ignored;
  socket_.close(ignored);
  timer_.cancel();
  const auto on_data = std::exchange(on_data_, nullptr);  // May hold the exchange.
  if (on_close) on_close();
  --shared_->connections_open;
  if (forget_) std::exchange(forget_, nullptr)(this);
}

// --- Time ---

void HttpConnection::SetReadDeadline(absl::Duration from_now) {
  read_deadline_ = SteadyNow() + from_now;
  ArmTimer();
}

void HttpConnection::ArmTimer() {
  const absl::Time at = std::min(read_deadline_, write_deadline_);
  if (at >= timer_at_) return;
  timer_at_ = at;
  timer_.expires_after(absl::ToChronoNanoseconds(at - SteadyNow()));
  timer_.async_wait([self = shared_from_this()](const error_code& error) {
    if (error) return;  // Moved, or closed.
    self->timer_at_ = absl::InfiniteFuture();
    self->OnTimer();
  });
}

void HttpConnection::OnTimer() {
  if (phase_ == Phase::kClosed) return;
  const absl::Time now = SteadyNow();
  if (now >= write_deadline_) return Close();
  if (now < read_deadline_) return ArmTimer();
  read_deadline_ = absl::InfiniteFuture();
  const bool asked = phase_ == Phase::kBody || (phase_ == Phase::kHead && !in_.empty());
  if (!asked) return Close();
  Fail(408, "the request did not come in time");
}

}  // namespace net

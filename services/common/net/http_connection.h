// One client's connection to HttpServer: reads requests, writes answers, keeps the time limits.

#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "absl/synchronization/mutex.h"

#include "common/net/http_server.h"
#include "common/net/http_wire.h"
#include "common/net/tls_codec.h"

namespace net {

using StreamSocket = boost::asio::generic::stream_protocol::socket;

// What all connections of a server share. Outlives every connection and exchange.
struct ServerShared {
  HttpServerOptions options;
  Handler handler;
  // Runs a handler where the options want it: here, or on a handler thread.
  std::function<void(std::shared_ptr<Exchange>)> dispatch;
  std::atomic<int> connections_open = 0;
  std::atomic<int> exchanges_open = 0;
  std::atomic<bool> accepting = true;

  Response MakeError(int status, std::string_view message) const;
};

// All private state belongs to the I/O thread of `io`, except what `mutex_` guards.
class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
 public:
  // `forget` is called once, on the I/O thread, when the connection has been closed.
  HttpConnection(std::shared_ptr<ServerShared> shared, std::shared_ptr<boost::asio::io_context> io,
                 StreamSocket socket, std::string peer, TlsContext tls,
                 std::function<void(HttpConnection*)> forget);
  ~HttpConnection();

  // On the I/O thread.
  void Start();
  void Refuse();  // Answers 503 and closes.
  void CloseIfIdle();
  void Close();  // Ends everything now; the OnClose callback runs.

  // For the exchange that is open; any thread. False once it has ended or the client has gone.
  struct WriteOptions {
    bool last = false;   // Ends the answer.
    bool close = false;  // With `last`: closes the connection when all is written.
    bool cut = false;    // With `close`: without a proper end.
  };
  bool Write(std::string data, WriteOptions write);
  // Sends `head`; from there on bytes are raw.
  void Upgrade(std::string head, std::function<void(std::string_view)> on_data);
  void OnClose(std::function<void()> callback);

  size_t unsent_bytes() const { return unsent_.load(); }
  bool closed() const { return closed_.load(); }
  const std::string& peer() const { return peer_; }
  const std::string& client_common_name() const { return client_common_name_; }
  const std::vector<std::string>& client_organizations() const { return client_organizations_; }
  const ServerShared& shared() const { return *shared_; }

 private:
  enum class Phase { kIdle, kHead, kBody, kExchange, kUpgraded, kLastWrite, kLinger, kClosed };

  bool OnIoThread() const;
  void Flush();
  void StartRead();
  void OnRead(const boost::system::error_code& error, size_t size);
  bool Decrypt(std::string_view cipher);
  void ClientEnded();
  void Process();
  bool ProcessHead();
  bool ProcessBody();
  void StartExchange();
  void RefuseWith(Response response);
  void Fail(int status, std::string_view message);
  void StartWrite();
  void WriteSome();
  void OnWritten(const boost::system::error_code& error, size_t size);
  void AllWritten();
  void Linger();

  // Deadlines are checked by one timer, which is moved only when an earlier one is set.
  void SetReadDeadline(absl::Duration from_now);
  void ArmTimer();
  void OnTimer();

  const std::shared_ptr<ServerShared> shared_;
  const std::shared_ptr<boost::asio::io_context> io_;
  StreamSocket socket_;
  boost::asio::steady_timer timer_;
  const std::string peer_;
  const std::unique_ptr<TlsCodec> tls_;
  std::function<void(HttpConnection*)> forget_;
  std::string client_common_name_;  // Set before the first exchange, then constant.
  std::vector<std::string> client_organizations_;

  Phase phase_ = Phase::kHead;
  bool first_request_ = true;
  bool reading_ = false;       // A read is under way.
  bool processing_ = false;    // Guards Process() against itself.
  bool writing_ = false;       // A write is under way.
  bool client_ended_ = false;  // The client sends nothing more.
  std::string read_buffer_;    // Where the socket reads to.
  std::string in_;             // Received, decrypted, not yet used.
  std::optional<HeadReader> head_reader_;
  BodyReader body_reader_;
  MessageHead head_;
  std::string write_buffer_;    // What the socket writes from…
  size_t written_ = 0;          // …of which so much is done,
  size_t unsent_in_write_ = 0;  // and so much counts in unsent_.
  std::function<void(std::string_view)> on_data_;
  absl::Time read_deadline_ = absl::InfiniteFuture();
  absl::Time write_deadline_ = absl::InfiniteFuture();
  absl::Time timer_at_ = absl::InfiniteFuture();

  std::atomic<size_t> unsent_ = 0;
  std::atomic<bool> closed_ = false;  // Set under mutex_.
  absl::Mutex mutex_;
  std::string out_ ABSL_GUARDED_BY(mutex_);  // For the socket, not yet encrypted.
  bool exchange_open_ ABSL_GUARDED_BY(mutex_) = false;
  bool answer_ended_ ABSL_GUARDED_BY(mutex_) = false;  // By the exchange; perhaps not yet written.
  bool close_after_ ABSL_GUARDED_BY(mutex_) = false;
  bool cut_ ABSL_GUARDED_BY(mutex_) = false;
  bool flush_posted_ ABSL_GUARDED_BY(mutex_) = false;
  std::function<void()> on_close_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace net

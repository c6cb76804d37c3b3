// The server's side of an Exchange: turns answers into bytes of its connection.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"

#include "common/net/http_connection.h"
#include "common/net/http_server.h"

namespace net {

class ServerExchange final : public Exchange {
 public:
  ServerExchange(std::shared_ptr<HttpConnection> connection, Request request, bool keep_alive,
                 bool http_1_0);
  // Answers 500 when nobody answered, and cuts an answer that was left unfinished.
  ~ServerExchange() override;

  const Request& request() const override { return request_; }
  std::string_view peer() const override { return connection_->peer(); }
  std::string_view client_common_name() const override { return connection_->client_common_name(); }
  const std::vector<std::string>& client_organizations() const override {
    return connection_->client_organizations();
  }

  void Send(Response response) override;
  void Begin(int status, Headers headers) override;
  bool Write(std::string data) override;
  void End() override;
  void Abort() override;
  size_t unsent_bytes() const override { return connection_->unsent_bytes(); }
  bool closed() const override { return connection_->closed(); }
  void OnClose(std::function<void()> callback) override;
  void Upgrade(Headers headers, std::function<void(std::string_view)> on_data) override;

 private:
  enum class State { kOpen, kStreaming, kRaw, kEnded };

  // True if the answer moves on from `from` to `to`; false when that was done already.
  bool Move(State from, State to);
  State state() const;
  // Adds Date and Connection; true if the connection closes after this answer.
  bool CompleteHeaders(Headers* headers) const;

  const std::shared_ptr<HttpConnection> connection_;
  const Request request_;
  const bool keep_alive_;
  const bool http_1_0_;
  mutable absl::Mutex mutex_;
  State state_ ABSL_GUARDED_BY(mutex_) = State::kOpen;
  bool close_after_ ABSL_GUARDED_BY(mutex_) = false;
};

// "Sun, 06 Nov 1994 08:49:37 GMT", remade once a second.
std::string HttpDate();

// Whole answer as bytes; sets Content-Length. `head_request` leaves the body out.
std::string WriteResponse(Response response, bool head_request);

}  // namespace net

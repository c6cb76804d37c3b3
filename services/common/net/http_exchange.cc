#include "common/net/http_exchange.h"

#include <ctime>
#include <utility>

#include "absl/strings/match.h"

#include "common/base/check.h"

namespace net {
namespace {

bool SaysClose(const Headers& headers) {
  const auto connection = headers.Find("Connection");
  return connection && absl::EqualsIgnoreCase({connection->data(), connection->size()}, "close");
}

bool HasNoBody(int status) { return status < 200 || status == 204 || status == 304; }

}  // namespace

std::string HttpDate() {
  thread_local std::time_t made_at = 0;
  thread_local char text[64] = "";
  const std::time_t now = std::time(nullptr);
  if (now != made_at) {
    std::tm utc = {};
    gmtime_r(&now, &utc);
    std::strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &utc);
    made_at = now;
  }
  return text;
}

std::string WriteResponse(Response response, bool head_request) {
  response.headers.Remove("Transfer-Encoding");
  if (!HasNoBody(response.status)) {
    // A handler of HEAD may state the length of a body that it did not make.
    if (!head_request || !response.body.empty() || !response.headers.Find("Content-Length")) {
      response.headers.Set("Content-Length", std::to_string(response.body.size()));
    }
  } else {
    response.headers.Remove("Content-Length");
  }
  std::string bytes = WriteResponseHead(response.status, response.headers);
  if (!head_request && !HasNoBody(response.status)) bytes += response.body;
  return bytes;
}

ServerExchange::ServerExchange(std::shared_ptr<HttpConnection> connection, Request request,
                               bool keep_alive, bool http_1_0)
    : connection_(std::move(connection)),
      request_(std::move(request)),
      keep_alive_(keep_alive),
      http_1_0_(http_1_0) {}

ServerExchange::~ServerExchange() {
  if (state() == State::kOpen) {
    Send(connection_->shared().MakeError(500, "the request was dropped without an answer"));
  } else {
    Abort();
  }
}

bool ServerExchange::Move(State from, State to) {
  absl::MutexLock lock(&mutex_);
  if (state_ != from) return false;
  state_ = to;
  return true;
}

ServerExchange::State ServerExchange::state() const {
  absl::MutexLock lock(&mutex_);
  return state_;
}

bool ServerExchange::CompleteHeaders(Headers* headers) const {
  if (!headers->Find("Date")) headers->Add("Date", HttpDate());
  const bool close = !keep_alive_ || SaysClose(*headers) || !connection_->shared().accepting;
  if (close) {
    headers->Set("Connection", "close");
  } else if (http_1_0_) {
    headers->Set("Connection", "keep-alive");
  }
  return close;
}

void ServerExchange::Send(Response response) {
  if (!Move(State::kOpen, State::kEnded)) return;
  const bool close = CompleteHeaders(&response.headers);
  connection_->Write(WriteResponse(std::move(response), request_.method == "HEAD"),
                     {.last = true, .close = close});
}

void ServerExchange::Begin(int status, Headers headers) {
  CHECK(!HasNoBody(status));
  if (request_.method == "HEAD") {
    if (!Move(State::kOpen, State::kEnded)) return;
    const bool close = CompleteHeaders(&headers);
    connection_->Write(WriteResponseHead(status, headers), {.last = true, .close = close});
    return;
  }
  if (!Move(State::kOpen, State::kStreaming)) return;
  headers.Remove("Content-Length");
  // A client of HTTP/1.0 knows no chunks: the connection's end ends the body.
  headers.Set(http_1_0_ ? "Connection" : "Transfer-Encoding", http_1_0_ ? "close" : "chunked");
  const bool close = CompleteHeaders(&headers);
  {
    absl::MutexLock lock(&mutex_);
    close_after_ = close;
  }
  connection_->Write(WriteResponseHead(status, headers), {});
}

bool ServerExchange::Write(std::string data) {
  const State now = state();
  if (now != State::kStreaming && now != State::kRaw) return false;
  if (data.empty()) return !closed();
  if (now == State::kRaw || http_1_0_) return connection_->Write(std::move(data), {});
  std::string chunk;
  chunk.reserve(data.size() + 16);
  AppendChunk(data, &chunk);
  return connection_->Write(std::move(chunk), {});
}

void ServerExchange::End() {
  if (Move(State::kRaw, State::kEnded)) {
    connection_->Write("", {.last = true, .close = true});
    return;
  }
  bool close = false;
  {
    absl::MutexLock lock(&mutex_);
    close = close_after_;
  }
  if (!Move(State::kStreaming, State::kEnded)) return;
  connection_->Write(http_1_0_ ? "" : std::string(kLastChunk), {.last = true, .close = close});
}

void ServerExchange::Abort() {
  {
    absl::MutexLock lock(&mutex_);
    if (state_ == State::kEnded) return;
    state_ = State::kEnded;
  }
  connection_->Write("", {.last = true, .close = true, .cut = true});
}

void ServerExchange::OnClose(std::function<void()> callback) {
  if (state() == State::kEnded) return;
  connection_->OnClose(std::move(callback));
}

void ServerExchange::Upgrade(Headers headers, std::function<void(std::string_view)> on_data) {
  if (!Move(State::kOpen, State::kRaw)) return;
  connection_->Upgrade(WriteResponseHead(101, headers), std::move(on_data));
}

}  // namespace net

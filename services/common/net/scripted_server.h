// The far end of a wire in tests: an HTTP server on a free port that answers from a script.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"

#include "common/net/http.h"

namespace net {

// What happens to one request.
struct ScriptedAnswer {
  Response response;
  absl::Duration delay = absl::ZeroDuration();
  bool cut_before_answer = false;   // Close without a byte.
  bool cut_inside_body = false;     // Send half of the body, then close.
  std::vector<std::string> chunks;  // If any: a streamed body, one write each…
  absl::Duration chunk_interval = absl::Milliseconds(1);
  bool cut_after_chunks = false;   // …that ends without the last chunk,
  bool hold_after_chunks = false;  // or stays open.
};

// Thread-safe.
class ScriptedServer {
 public:
  ScriptedServer();  // Listens on 127.0.0.1, port 0. CHECKs that it can.
  ~ScriptedServer();

  std::string url() const;  // "http://127.0.0.1:port"
  int port() const;

  // The next request with this method and path (without query) takes the first answer queued for
  // it. When none is left the default for the path answers, then `fallback`, else 404.
  void Enqueue(std::string_view method, std::string_view path, ScriptedAnswer answer);
  void SetDefault(std::string_view method, std::string_view path, ScriptedAnswer answer);
  void SetFallback(std::function<ScriptedAnswer(const Request&)> fallback);

  // All requests so far, in order.
  std::vector<Request> requests() const;

  // Blocks until `count` requests have come, at most `timeout`.
  bool AwaitRequests(size_t count, absl::Duration timeout = absl::Seconds(10)) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace net

#include "common/net/scripted_server.h"

#include <deque>
#include <map>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"

#include "common/base/check.h"
#include "common/net/http_server.h"

namespace net {

struct ScriptedServer::Impl {
  using Key = std::pair<std::string, std::string>;  // Method and path.

  mutable absl::Mutex mutex;
  std::map<Key, std::deque<ScriptedAnswer>> queued ABSL_GUARDED_BY(mutex);
  std::map<Key, ScriptedAnswer> defaults ABSL_GUARDED_BY(mutex);
  std::function<ScriptedAnswer(const Request&)> fallback ABSL_GUARDED_BY(mutex);
  std::vector<Request> requests ABSL_GUARDED_BY(mutex);
  std::vector<std::shared_ptr<Exchange>> held ABSL_GUARDED_BY(mutex);
  bool stopping ABSL_GUARDED_BY(mutex) = false;
  std::unique_ptr<HttpServer> server;

  ScriptedAnswer Choose(const Request& request);
  void Answer(const std::shared_ptr<Exchange>& exchange);
  // Waits, but not beyond the end of the server.
  void Wait(absl::Duration duration) {
    absl::MutexLock lock(&mutex);
    mutex.AwaitWithTimeout(absl::Condition(&stopping), duration);
  }
};

ScriptedAnswer ScriptedServer::Impl::Choose(const Request& request) {
  const Key key = {request.method, std::string(request.path())};
  std::function<ScriptedAnswer(const Request&)> answer;
  {
    absl::MutexLock lock(&mutex);
    requests.push_back(request);
    if (const auto it = queued.find(key); it != queued.end() && !it->second.empty()) {
      ScriptedAnswer next = std::move(it->second.front());
      it->second.pop_front();
      return next;
    }
    if (const auto it = defaults.find(key); it != defaults.end()) return it->second;
    answer = fallback;
  }
  if (answer) return answer(request);
  return {
      .response = {.status = 404,
                   .body = absl::StrFormat("no answer for %s %s", request.method, request.target)}};
}

void ScriptedServer::Impl::Answer(const std::shared_ptr<Exchange>& exchange) {
  ScriptedAnswer answer = Choose(exchange->request());
  if (answer.delay > absl::ZeroDuration()) Wait(answer.delay);
  if (answer.cut_before_answer) return exchange->Abort();
  if (answer.cut_inside_body) {
    const std::string& body = answer.response.body;
    exchange->Begin(answer.response.status, answer.response.headers);
    exchange->Write(body.substr(0, body.size() / 2));
    return exchange->Abort();
  }
  if (answer.chunks.empty() && !answer.hold_after_chunks && !answer.cut_after_chunks) {
    return exchange->Send(std::move(answer.response));
  }
  exchange->Begin(answer.response.status, answer.response.headers);
  bool first = true;
  for (std::string& chunk : answer.chunks) {
    if (!std::exchange(first, false)) Wait(answer.chunk_interval);
    if (!exchange->Write(std::move(chunk))) return;
  }
  if (answer.cut_after_chunks) return exchange->Abort();
  if (!answer.hold_after_chunks) return exchange->End();
  absl::MutexLock lock(&mutex);
  held.push_back(exchange);
}

ScriptedServer::ScriptedServer() : impl_(std::make_unique<Impl>()) {
  // Threads, because answers may be slow; more than any test has requests at once.
  auto server = HttpServer::Start(
      {.handler_threads = 16},
      [impl = impl_.get()](const std::shared_ptr<Exchange>& exchange) { impl->Answer(exchange); });
  CHECK_OK(server);
  impl_->server = *std::move(server);
}

ScriptedServer::~ScriptedServer() {
  {
    absl::MutexLock lock(&impl_->mutex);
    impl_->stopping = true;
  }
  impl_->server.reset();
}

std::string ScriptedServer::url() const { return absl::StrFormat("http://127.0.0.1:%d", port()); }

int ScriptedServer::port() const { return impl_->server->port(); }

void ScriptedServer::Enqueue(std::string_view method, std::string_view path,
                             ScriptedAnswer answer) {
  absl::MutexLock lock(&impl_->mutex);
  impl_->queued[{std::string(method), std::string(path)}].push_back(std::move(answer));
}

void ScriptedServer::SetDefault(std::string_view method, std::string_view path,
                                ScriptedAnswer answer) {
  absl::MutexLock lock(&impl_->mutex);
  impl_->defaults[{std::string(method), std::string(path)}] = std::move(answer);
}

void ScriptedServer::SetFallback(std::function<ScriptedAnswer(const Request&)> fallback) {
  absl::MutexLock lock(&impl_->mutex);
  impl_->fallback = std::move(fallback);
}

std::vector<Request> ScriptedServer::requests() const {
  absl::MutexLock lock(&impl_->mutex);
  return impl_->requests;
}

bool ScriptedServer::AwaitRequests(size_t count, absl::Duration timeout) const {
  struct Wanted {
    Impl* impl;
    size_t count;
    bool Came() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return impl->requests.size() >= count; }
  } wanted = {impl_.get(), count};
  absl::MutexLock lock(&impl_->mutex);
  return impl_->mutex.AwaitWithTimeout(absl::Condition(&wanted, &Wanted::Came), timeout);
}

}  // namespace net

#include "local-cluster/apiserver/local_transport.h"

#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"

#include "common/base/status_macros.h"

namespace local_cluster {
namespace {

constexpr char kUser[] = "system:local-cluster";
const std::vector<std::string>& Groups() {
  static const auto* const groups = new std::vector<std::string>{"system:masters"};
  return *groups;
}

// Both ends of an answer: the handler writes, the client reads.
class LocalExchange final : public net::Exchange {
 public:
  explicit LocalExchange(net::Request request) : request_(std::move(request)) {}

  const net::Request& request() const override { return request_; }
  std::string_view peer() const override { return "local"; }
  std::string_view client_common_name() const override { return kUser; }
  const std::vector<std::string>& client_organizations() const override { return Groups(); }

  void Send(net::Response response) override {
    absl::MutexLock lock(&mutex_);
    if (begun_) return;
    begun_ = ended_ = true;
    status_ = response.status;
    headers_ = std::move(response.headers);
    if (!response.body.empty()) chunks_.push_back(std::move(response.body));
  }

  void Begin(int status, net::Headers headers) override {
    absl::MutexLock lock(&mutex_);
    begun_ = true;
    status_ = status;
    headers_ = std::move(headers);
  }

  bool Write(std::string data) override {
    absl::MutexLock lock(&mutex_);
    if (ended_ || closed_) return false;
    if (data.empty()) return true;
    unsent_ += data.size();
    chunks_.push_back(std::move(data));
    return true;
  }

  void End() override {
    absl::MutexLock lock(&mutex_);
    ended_ = true;
  }

  void Abort() override {
    absl::MutexLock lock(&mutex_);
    ended_ = aborted_ = true;
  }

  size_t unsent_bytes() const override {
    absl::MutexLock lock(&mutex_);
    return unsent_;
  }

  bool closed() const override {
    absl::MutexLock lock(&mutex_);
    return closed_;
  }

  void OnClose(std::function<void()> callback) override {
    {
      absl::MutexLock lock(&mutex_);
      if (!closed_) {
        on_close_ = std::move(callback);
        return;
      }
    }
    callback();
  }

  void Upgrade(net::Headers, std::function<void(std::string_view)>) override { Abort(); }

  // The client's end.
  bool AwaitBegin(absl::Duration timeout) {
    absl::MutexLock lock(&mutex_);
    return mutex_.AwaitWithTimeout(absl::Condition(this, &LocalExchange::HasBegun), timeout) &&
           begun_;
  }

  absl::StatusOr<std::string> Read(absl::Duration timeout) {
    absl::MutexLock lock(&mutex_);
    if (!mutex_.AwaitWithTimeout(absl::Condition(this, &LocalExchange::HasNews), timeout)) {
      return absl::DeadlineExceededError("no data within the timeout");
    }
    if (closed_) return absl::CancelledError("stream was cancelled");
    if (!chunks_.empty()) {
      std::string chunk = std::move(chunks_.front());
      chunks_.pop_front();
      unsent_ -= std::min(unsent_, chunk.size());
      return chunk;
    }
    if (aborted_) return absl::UnavailableError("stream was cut");
    return std::string();
  }

  void Close() {
    std::function<void()> callback;
    {
      absl::MutexLock lock(&mutex_);
      if (closed_) return;
      closed_ = true;
      if (!ended_) callback = std::move(on_close_);
      on_close_ = nullptr;
    }
    if (callback) callback();
  }

  int status() const {
    absl::MutexLock lock(&mutex_);
    return status_;
  }
  const net::Headers& headers() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return headers_; }

 private:
  bool HasBegun() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return begun_ || aborted_; }
  bool HasNews() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !chunks_.empty() || ended_ || closed_;
  }

  const net::Request request_;
  mutable absl::Mutex mutex_;
  bool begun_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool aborted_ ABSL_GUARDED_BY(mutex_) = false;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  int status_ ABSL_GUARDED_BY(mutex_) = 0;
  net::Headers headers_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::string> chunks_ ABSL_GUARDED_BY(mutex_);
  size_t unsent_ ABSL_GUARDED_BY(mutex_) = 0;
  std::function<void()> on_close_ ABSL_GUARDED_BY(mutex_);
};

class LocalStream final : public net::HttpStream {
 public:
  explicit LocalStream(std::shared_ptr<LocalExchange> exchange) : exchange_(std::move(exchange)) {}
  ~LocalStream() override { exchange_->Close(); }

  int status() const override { return exchange_->status(); }
  const net::Headers& headers() const override { return exchange_->headers(); }
  absl::StatusOr<std::string> Read(absl::Duration timeout) override {
    return exchange_->Read(timeout);
  }
  void Cancel() override { exchange_->Close(); }

 private:
  const std::shared_ptr<LocalExchange> exchange_;
};

class LocalTransport final : public kube::Transport {
 public:
  explicit LocalTransport(net::Handler handler) : handler_(std::move(handler)) {}

  absl::StatusOr<net::Response> Send(const net::Request& request, absl::Duration timeout) override {
    ASSIGN_OR_RETURN(const auto stream, Open(request, timeout));
    net::Response response;
    response.status = stream->status();
    response.headers = stream->headers();
    const absl::Time deadline = absl::Now() + timeout;
    while (true) {
      ASSIGN_OR_RETURN(const std::string chunk, stream->Read(deadline - absl::Now()));
      if (chunk.empty()) return response;
      response.body += chunk;
    }
  }

  absl::StatusOr<std::unique_ptr<net::HttpStream>> Open(const net::Request& request,
                                                        absl::Duration timeout) override {
    auto exchange = std::make_shared<LocalExchange>(request);
    handler_(exchange);
    if (!exchange->AwaitBegin(timeout)) {
      exchange->Close();
      return absl::DeadlineExceededError("no answer within the timeout");
    }
    return std::make_unique<LocalStream>(std::move(exchange));
  }

 private:
  const net::Handler handler_;
};

}  // namespace

std::unique_ptr<kube::Transport> MakeLocalTransport(net::Handler handler) {
  return std::make_unique<LocalTransport>(std::move(handler));
}

}  // namespace local_cluster

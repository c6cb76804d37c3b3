// The far end of a Transport in tests: answers without sockets and without threads.

#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"

#include "common/kube/client.h"

namespace kube {

// A stream that holds what the test pushed. Read() never blocks: when nothing is there it reports
// the deadline.
class FakeStream final : public net::HttpStream {
 public:
  // What Read() returns next, shared with the test, which goes on writing.
  struct Pipe {
    absl::Mutex mutex;
    std::deque<absl::StatusOr<std::string>> pieces ABSL_GUARDED_BY(mutex);
    bool cancelled ABSL_GUARDED_BY(mutex) = false;

    void Push(absl::StatusOr<std::string> piece) {
      absl::MutexLock lock(&mutex);
      pieces.push_back(std::move(piece));
    }
    void End() { Push(std::string()); }
    bool was_cancelled() {
      absl::MutexLock lock(&mutex);
      return cancelled;
    }
  };

  FakeStream(int status, std::shared_ptr<Pipe> pipe) : status_(status), pipe_(std::move(pipe)) {}

  int status() const override { return status_; }
  const net::Headers& headers() const override { return headers_; }

  absl::StatusOr<std::string> Read(absl::Duration timeout) override {
    absl::MutexLock lock(&pipe_->mutex);
    if (pipe_->cancelled) return absl::CancelledError("cancelled");
    if (pipe_->pieces.empty()) {
      // With a real clock around, a thread must not spin.
      const auto changed = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
        return pipe_->cancelled || !pipe_->pieces.empty();
      };
      pipe_->mutex.AwaitWithTimeout(absl::Condition(&changed),
                                    std::min(timeout, absl::Milliseconds(1)));
      if (pipe_->cancelled) return absl::CancelledError("cancelled");
      if (pipe_->pieces.empty()) return absl::DeadlineExceededError("nothing yet");
    }
    absl::StatusOr<std::string> piece = std::move(pipe_->pieces.front());
    pipe_->pieces.pop_front();
    return piece;
  }

  void Cancel() override {
    absl::MutexLock lock(&pipe_->mutex);
    pipe_->cancelled = true;
  }

 private:
  int status_;
  net::Headers headers_;
  std::shared_ptr<Pipe> pipe_;
};

// Answers in the order in which the test queued them, whatever the request; when nothing is queued,
// by `fallback`, else 404. Thread-safe.
class FakeTransport final : public Transport {
 public:
  void Answer(int status, std::string body, net::Headers headers = {}) {
    absl::MutexLock lock(&mutex_);
    answers_.push_back(
        net::Response{.status = status, .headers = std::move(headers), .body = std::move(body)});
  }
  void Fail(absl::Status status) {
    absl::MutexLock lock(&mutex_);
    answers_.push_back(std::move(status));
  }
  void SetFallback(std::function<absl::StatusOr<net::Response>(const net::Request&)> fallback) {
    absl::MutexLock lock(&mutex_);
    fallback_ = std::move(fallback);
  }

  // The next stream that is opened. The pipe stays open for the test to write to.
  std::shared_ptr<FakeStream::Pipe> AnswerStream(int status = 200) {
    auto pipe = std::make_shared<FakeStream::Pipe>();
    absl::MutexLock lock(&mutex_);
    streams_.emplace_back(status, pipe);
    return pipe;
  }

  std::vector<net::Request> requests() const {
    absl::MutexLock lock(&mutex_);
    return requests_;
  }

  absl::StatusOr<net::Response> Send(const net::Request& request, absl::Duration) override {
    std::function<absl::StatusOr<net::Response>(const net::Request&)> fallback;
    {
      absl::MutexLock lock(&mutex_);
      requests_.push_back(request);
      if (!answers_.empty()) {
        absl::StatusOr<net::Response> answer = std::move(answers_.front());
        answers_.pop_front();
        return answer;
      }
      fallback = fallback_;
    }
    if (fallback) return fallback(request);
    return net::Response{.status = 404};
  }

  absl::StatusOr<std::unique_ptr<net::HttpStream>> Open(const net::Request& request,
                                                        absl::Duration) override {
    absl::MutexLock lock(&mutex_);
    requests_.push_back(request);
    if (streams_.empty()) return absl::UnavailableError("connection refused");
    auto [status, pipe] = std::move(streams_.front());
    streams_.pop_front();
    return std::make_unique<FakeStream>(status, std::move(pipe));
  }

 private:
  mutable absl::Mutex mutex_;
  std::deque<absl::StatusOr<net::Response>> answers_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::pair<int, std::shared_ptr<FakeStream::Pipe>>> streams_ ABSL_GUARDED_BY(mutex_);
  std::function<absl::StatusOr<net::Response>(const net::Request&)> fallback_
      ABSL_GUARDED_BY(mutex_);
  std::vector<net::Request> requests_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace kube

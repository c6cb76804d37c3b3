// One thread that waits for everything: file descriptors, timers and messages of other threads.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace local_cluster {

// Callbacks run one after the other on the thread in Run() and must not block. Only Post() and
// Stop() may be called from other threads.
class EventLoop {
 public:
  using TimerId = uint64_t;

  EventLoop();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Until Stop(). Messages posted before are still run.
  void Run();
  void Stop();

  void Post(std::function<void()> message);

  // Posts `message` and waits until it has run. Not from the loop's own thread, and only while
  // Run() runs.
  void Call(const std::function<void()>& message);

  TimerId After(absl::Duration delay, std::function<void()> callback);
  void Cancel(TimerId timer);

  // Calls `callback` with the EPOLL* bits whenever one of `events` holds. Replaces an earlier watch
  // of `fd`. Unwatch() before closing it.
  void Watch(int fd, uint32_t events, std::function<void(uint32_t)> callback);
  void Unwatch(int fd);

 private:
  using Callback = std::shared_ptr<std::function<void(uint32_t)>>;

  int MillisecondsToNextTimer() const;
  void RunTimers();
  void RunMessages();

  int epoll_ = -1;
  int wake_ = -1;
  std::map<int, uint64_t> watch_of_fd_;
  std::map<uint64_t, Callback> watches_;
  uint64_t next_id_ = 1;
  std::map<std::pair<int64_t, TimerId>, std::function<void()>> timers_;  // By due nanosecond.
  std::map<TimerId, int64_t> due_;
  bool stopped_ = false;

  absl::Mutex mutex_;
  std::vector<std::function<void()>> messages_ ABSL_GUARDED_BY(mutex_);
};

// An EventLoop with a thread of its own.
class EventLoopThread {
 public:
  explicit EventLoopThread(std::string_view name);
  ~EventLoopThread();  // Stops and joins.

  EventLoop& loop() { return loop_; }

 private:
  EventLoop loop_;
  std::jthread thread_;
};

}  // namespace local_cluster

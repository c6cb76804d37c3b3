#include "local-cluster/runner/event_loop.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>
#include <string_view>
#include <utility>

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "absl/synchronization/notification.h"

#include "common/base/check.h"
#include "common/base/clock.h"
#include "common/base/thread.h"

namespace local_cluster {
namespace {

constexpr uint64_t kWakeId = 0;

int64_t NowNanoseconds() { return absl::ToInt64Nanoseconds(base::RealClock().Monotonic()); }

}  // namespace

EventLoop::EventLoop()
    : epoll_(epoll_create1(EPOLL_CLOEXEC)), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  CHECK(epoll_ >= 0 && wake_ >= 0);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kWakeId;
  CHECK(epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_, &event) == 0);
}

EventLoop::~EventLoop() {
  close(epoll_);
  close(wake_);
}

void EventLoop::Post(std::function<void()> message) {
  {
    absl::MutexLock lock(&mutex_);
    messages_.push_back(std::move(message));
  }
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(wake_, &one, sizeof(one));
}

void EventLoop::Call(const std::function<void()>& message) {
  absl::Notification done;
  Post([&] {
    message();
    done.Notify();
  });
  done.WaitForNotification();
}

void EventLoop::Stop() {
  Post([this] { stopped_ = true; });
}

EventLoop::TimerId EventLoop::After(absl::Duration delay, std::function<void()> callback) {
  const TimerId id = next_id_++;
  const int64_t due = NowNanoseconds() + std::max<int64_t>(0, absl::ToInt64Nanoseconds(delay));
  timers_.emplace(std::pair(due, id), std::move(callback));
  due_.emplace(id, due);
  return id;
}

void EventLoop::Cancel(TimerId timer) {
  const auto found = due_.find(timer);
  if (found == due_.end()) return;
  timers_.erase({found->second, timer});
  due_.erase(found);
}

void EventLoop::Watch(int fd, uint32_t events, std::function<void(uint32_t)> callback) {
  Unwatch(fd);
  const uint64_t id = next_id_++;
  watch_of_fd_[fd] = id;
  watches_[id] = std::make_shared<std::function<void(uint32_t)>>(std::move(callback));
  epoll_event event{};
  event.events = events;
  event.data.u64 = id;
  CHECK(epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0);
}

void EventLoop::Unwatch(int fd) {
  const auto found = watch_of_fd_.find(fd);
  if (found == watch_of_fd_.end()) return;
  watches_.erase(found->second);
  watch_of_fd_.erase(found);
  epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
}

int EventLoop::MillisecondsToNextTimer() const {
  if (timers_.empty()) return -1;
  const int64_t wait = timers_.begin()->first.first - NowNanoseconds();
  if (wait <= 0) return 0;
  // Rounded up, so that the timer is due when the wait ends.
  return static_cast<int>(std::min<int64_t>(wait / 1'000'000 + 1, std::numeric_limits<int>::max()));
}

void EventLoop::RunTimers() {
  const int64_t now = NowNanoseconds();
  while (!timers_.empty() && timers_.begin()->first.first <= now) {
    auto timer = timers_.extract(timers_.begin());
    due_.erase(timer.key().second);
    timer.mapped()();
  }
}

void EventLoop::RunMessages() {
  std::vector<std::function<void()>> messages;
  {
    absl::MutexLock lock(&mutex_);
    messages.swap(messages_);
  }
  for (const auto& message : messages) message();
}

void EventLoop::Run() {
  std::array<epoll_event, 64> events{};
  while (!stopped_) {
    const int count = epoll_wait(epoll_, events.data(), events.size(), MillisecondsToNextTimer());
    CHECK(count >= 0 || errno == EINTR);
    for (int i = 0; i < count; ++i) {
      if (events[i].data.u64 == kWakeId) {
        uint64_t drained = 0;
        [[maybe_unused]] const ssize_t got = read(wake_, &drained, sizeof(drained));
        continue;
      }
      // An earlier callback of this round may have ended the watch.
      const auto found = watches_.find(events[i].data.u64);
      if (found == watches_.end()) continue;
      const Callback callback = found->second;
      (*callback)(events[i].events);
    }
    RunMessages();
    RunTimers();
  }
  stopped_ = false;
}

EventLoopThread::EventLoopThread(std::string_view name)
    : thread_(base::StartThread(name, [this](const std::stop_token&) { loop_.Run(); })) {}

EventLoopThread::~EventLoopThread() {
  loop_.Stop();
  thread_.join();
}

}  // namespace local_cluster

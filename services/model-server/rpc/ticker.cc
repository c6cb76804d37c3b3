#include "model-server/rpc/ticker.h"

#include <utility>

#include "absl/time/clock.h"

#include "common/base/thread.h"

namespace model_server {

Ticker::Ticker()
    : thread_(base::StartThread("ticker", [this](const std::stop_token& stop) { Run(stop); })) {}

Ticker::~Ticker() {
  thread_.request_stop();
  Wake(false);
}

bool Ticker::Add(std::shared_ptr<Ticked> ticked) {
  constexpr int kCountMax = 256;
  absl::MutexLock lock(&mutex_);
  if (count_ >= kCountMax) return false;
  ++count_;
  added_.push_back(std::move(ticked));
  woken_ = true;
  return true;
}

void Ticker::Wake(bool changed) {
  absl::MutexLock lock(&mutex_);
  woken_ = true;
  changed_ = changed_ || changed;
}

void Ticker::Run(const std::stop_token& stop) {
  std::vector<std::shared_ptr<Ticked>> all;
  while (!stop.stop_requested()) {
    bool changed = false;
    {
      absl::MutexLock lock(&mutex_);
      // Without anybody to look after there is nothing to look at.
      const absl::Duration wait = all.empty() ? absl::InfiniteDuration() : absl::Seconds(1);
      mutex_.AwaitWithTimeout(absl::Condition(&woken_), wait);
      woken_ = false;
      changed = std::exchange(changed_, false);
      all.insert(all.end(), added_.begin(), added_.end());
      added_.clear();
    }
    const absl::Time now = absl::Now();
    const size_t ended =
        std::erase_if(all, [&](const auto& ticked) { return !ticked->Work(now, changed); });
    absl::MutexLock lock(&mutex_);
    count_ -= static_cast<int>(ended);
  }
}

}  // namespace model_server

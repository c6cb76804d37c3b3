#include "model-server/gateway/ticker.h"

#include <utility>

#include "common/base/clock.h"
#include "common/base/thread.h"

namespace model_server::gateway {
namespace {

constexpr absl::Duration kSlow = absl::Seconds(1);
constexpr absl::Duration kFast = absl::Milliseconds(20);

}  // namespace

Ticker::Ticker()
    : thread_(base::StartThread("ticker", [this](std::stop_token stop) { Run(stop); })) {}

Ticker::~Ticker() {
  thread_.request_stop();
  Wake();
  thread_.join();
}

absl::Time Ticker::Now() { return absl::UnixEpoch() + base::RealClock().Monotonic(); }

void Ticker::Add(std::weak_ptr<Ticking> ticking) {
  absl::MutexLock lock(&mutex_);
  all_.push_back(std::move(ticking));
}

void Ticker::Wake() {
  absl::MutexLock lock(&mutex_);
  wake_ = true;
}

std::vector<std::shared_ptr<Ticking>> Ticker::Alive() {
  std::vector<std::shared_ptr<Ticking>> alive;
  absl::MutexLock lock(&mutex_);
  std::erase_if(all_, [&](const std::weak_ptr<Ticking>& entry) {
    auto ticking = entry.lock();
    if (ticking == nullptr) return true;
    alive.push_back(std::move(ticking));
    return false;
  });
  return alive;
}

void Ticker::StopAll(const ApiError& error) {
  for (const auto& ticking : Alive()) ticking->Stop(error);
}

void Ticker::Run(std::stop_token stop) {
  absl::Duration pause = kSlow;
  while (!stop.stop_requested()) {
    {
      absl::MutexLock lock(&mutex_);
      mutex_.AwaitWithTimeout(absl::Condition(&wake_), pause);
      wake_ = false;
    }
    pause = kSlow;
    for (const auto& ticking : Alive()) {
      ticking->Tick(Now());
      if (ticking->congested()) pause = kFast;
    }
  }
}

}  // namespace model_server::gateway

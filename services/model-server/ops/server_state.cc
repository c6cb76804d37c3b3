#include "model-server/ops/server_state.h"

#include <array>
#include <utility>

#include "common/base/log.h"

namespace model_server {
namespace {

bool MayFollow(State now, State next) {
  if (now == State::kStopped) return false;
  if (now == State::kStalled) return next != State::kStarting && next != State::kLoading;
  return next == State::kStalled || next > now;
}

}  // namespace

std::string_view StateName(State state) {
  static constexpr std::array<std::string_view, 7> kNames = {
      "STARTING", "LOADING", "WARMING", "SERVING", "DRAINING", "STOPPED", "STALLED"};
  return kNames[static_cast<size_t>(state)];
}

void ServerState::Set(State state, std::string reason) {
  {
    absl::MutexLock lock(&mutex_);
    if (!MayFollow(now_.state, state)) return;
    now_.state = state;
    now_.reason = reason;
    if (state == State::kServing) {
      now_.progress = 1;
      now_.seconds_left = 0;
    }
  }
  base::LogInfo("state changed", {{"state", StateName(state)}, {"reason", reason}});
  absl::MutexLock lock(&listeners_mutex_);
  for (const auto& [number, listener] : listeners_) listener();
}

void ServerState::SetProgress(uint64_t bytes_done, uint64_t bytes_total) {
  absl::MutexLock lock(&mutex_);
  now_.bytes_done = bytes_done;
  now_.bytes_total = bytes_total;
  if (bytes_total == 0) return;
  now_.progress = static_cast<double>(bytes_done) / static_cast<double>(bytes_total);
  const double taken = absl::ToDoubleSeconds(clock_.Monotonic() - begin_);
  if (now_.progress > 0) now_.seconds_left = taken / now_.progress - taken;
}

StateSnapshot ServerState::Get() const {
  absl::MutexLock lock(&mutex_);
  return now_;
}

State ServerState::state() const {
  absl::MutexLock lock(&mutex_);
  return now_.state;
}

int ServerState::AddListener(std::function<void()> listener) {
  absl::MutexLock lock(&listeners_mutex_);
  listeners_[next_listener_] = std::move(listener);
  return next_listener_++;
}

void ServerState::RemoveListener(int listener) {
  absl::MutexLock lock(&listeners_mutex_);
  listeners_.erase(listener);
}

}  // namespace model_server

// Where a model server is in its life, and who wants to know when that changes.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "common/base/clock.h"

namespace model_server {

enum class State { kStarting, kLoading, kWarming, kServing, kDraining, kStopped, kStalled };

// "SERVING"
std::string_view StateName(State state);

struct StateSnapshot {
  State state = State::kStarting;
  std::string reason;   // One sentence.
  double progress = 0;  // Of reading the weights, 0 to 1.
  uint64_t bytes_done = 0;
  uint64_t bytes_total = 0;
  double seconds_left = -1;  // -1: unknown.
};

// Thread-safe; its lock is never held for longer than a copy takes.
class ServerState {
 public:
  explicit ServerState(const base::Clock& clock) : clock_(clock), begin_(clock.Monotonic()) {}

  // Later states are never followed by earlier ones, but for kStalled, which may end; a call that
  // would do so has no effect.
  void Set(State state, std::string reason);
  void SetProgress(uint64_t bytes_done, uint64_t bytes_total);

  StateSnapshot Get() const;
  State state() const;

  // `listener` is called after each change of state, on the thread that changed it. Returns a
  // number for RemoveListener(), after which it is not called any more.
  int AddListener(std::function<void()> listener);
  void RemoveListener(int listener);

 private:
  const base::Clock& clock_;
  const absl::Duration begin_;
  mutable absl::Mutex mutex_;
  StateSnapshot now_ ABSL_GUARDED_BY(mutex_);
  absl::Mutex listeners_mutex_;  // Held while listeners run.
  std::map<int, std::function<void()>> listeners_ ABSL_GUARDED_BY(listeners_mutex_);
  int next_listener_ ABSL_GUARDED_BY(listeners_mutex_) = 0;
};

}  // namespace model_server

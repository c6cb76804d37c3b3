// Time for streams: pings while they are silent, and another try when a slow client has caught up.

#pragma once

#include <memory>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "model-server/gateway/api_error.h"

namespace model_server::gateway {

class Ticking {
 public:
  virtual ~Ticking() = default;
  // On the ticker's thread; `now` never jumps.
  virtual void Tick(absl::Time now) = 0;
  // Waits for its client and wants to be asked again soon.
  virtual bool congested() const = 0;
  virtual void Stop(const ApiError& error) = 0;
};

// Thread-safe.
class Ticker {
 public:
  Ticker();
  ~Ticker();

  // Ticks about once a second, and 50 times as often while anybody is congested. `ticking` is
  // forgotten when it is destroyed.
  void Add(std::weak_ptr<Ticking> ticking);
  // A stream became congested.
  void Wake();

  // Ends all answers that still run.
  void StopAll(const ApiError& error);

  static absl::Time Now();

 private:
  void Run(std::stop_token stop);
  std::vector<std::shared_ptr<Ticking>> Alive() ABSL_LOCKS_EXCLUDED(mutex_);

  absl::Mutex mutex_;
  std::vector<std::weak_ptr<Ticking>> all_ ABSL_GUARDED_BY(mutex_);
  bool wake_ ABSL_GUARDED_BY(mutex_) = false;
  std::jthread thread_;
};

}  // namespace model_server::gateway

// One thread that serves all streams which report something now and then.

#pragma once

#include <memory>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace model_server {

// Something that the ticker looks after.
class Ticked {
 public:
  virtual ~Ticked() = default;

  // Does what is due; on the ticker's thread alone. `changed`: the server's state has changed since
  // the last look. False: it has ended and is let go.
  virtual bool Work(absl::Time now, bool changed) = 0;
};

// Looks once a second, and at once after Wake(). Thread-safe.
class Ticker {
 public:
  Ticker();
  ~Ticker();

  // False when there are too many.
  bool Add(std::shared_ptr<Ticked> ticked);
  void Wake(bool changed);

 private:
  void Run(const std::stop_token& stop);

  absl::Mutex mutex_;
  std::vector<std::shared_ptr<Ticked>> added_ ABSL_GUARDED_BY(mutex_);
  int count_ ABSL_GUARDED_BY(mutex_) = 0;
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;
  bool changed_ ABSL_GUARDED_BY(mutex_) = false;
  std::jthread thread_;  // Last: it uses all of the above.
};

}  // namespace model_server

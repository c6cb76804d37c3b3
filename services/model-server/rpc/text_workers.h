// The threads that turn text into tokens and tokens into text.

#pragma once

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"

namespace model_server {

// Runs jobs in order of arrival. Who posts must bound the number of jobs: here each open call has
// at most one, and the number of calls is limited. Thread-safe.
class TextWorkers {
 public:
  explicit TextWorkers(int threads);
  // Runs what is queued, then joins.
  ~TextWorkers();

  void Post(std::function<void()> job);

 private:
  void Run();
  bool HasJobOrStops() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stopping_ || !jobs_.empty();
  }

  absl::Mutex mutex_;
  std::deque<std::function<void()>> jobs_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::jthread> threads_;
};

}  // namespace model_server

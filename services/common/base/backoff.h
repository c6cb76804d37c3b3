// Exponential back-off with jitter.

#pragma once

#include "absl/random/random.h"
#include "absl/time/time.h"

namespace base {

struct BackoffOptions {
  absl::Duration initial = absl::Milliseconds(800);
  absl::Duration max = absl::Seconds(30);
  double factor = 2.0;
  double jitter = 1.0;  // Each wait is stretched by a random part of it, up to this share.
};

// Owned by one thread.
class Backoff {
 public:
  explicit Backoff(BackoffOptions options = {}) : options_(options), next_(options.initial) {}

  // The wait before the next try; grows with each call up to max × (1 + jitter).
  absl::Duration Next();

  // After a success: start again at the initial wait.
  void Reset() { next_ = options_.initial; }

 private:
  BackoffOptions options_;
  absl::Duration next_;
  absl::BitGen random_;
};

}  // namespace base

// The bearer token in use.

#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"

#include "common/base/clock.h"
#include "gpu-provisioner/arm/token_source.h"

namespace gpu_provisioner {

// Fetches one token at a time and keeps it until shortly before it expires: 5 minutes, or half its
// life when it lives longer than 2 hours. A token that is still valid stays in use when a refresh
// fails. After a failure the next try waits 2 s, doubling to 30 s, and callers get the same error.
//
// Thread-safe.
class TokenCache {
 public:
  TokenCache(std::unique_ptr<TokenSource> source, const base::Clock& clock);

  // Blocks while a token is fetched and none is valid.
  absl::StatusOr<std::string> Get();

  // ARM refused `token`: forget it, unless another has come since. `claims` of its challenge.
  void Drop(const std::string& token, const std::string& claims);

  // A token has been had once.
  bool ready() const;
  // Of the present token; zero if none.
  absl::Duration TimeLeft() const;

 private:
  const std::unique_ptr<TokenSource> source_;
  const base::Clock& clock_;

  absl::Mutex fetch_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);  // Held over a fetch: single flight.
  mutable absl::Mutex mutex_;
  std::string token_ ABSL_GUARDED_BY(mutex_);
  std::string claims_ ABSL_GUARDED_BY(mutex_);
  absl::Duration expires_ ABSL_GUARDED_BY(mutex_) = absl::ZeroDuration();
  absl::Duration refresh_ ABSL_GUARDED_BY(mutex_) = absl::ZeroDuration();
  absl::Duration retry_at_ ABSL_GUARDED_BY(mutex_) = -absl::InfiniteDuration();
  absl::Duration retry_wait_ ABSL_GUARDED_BY(mutex_) = absl::Seconds(2);
  absl::Status last_error_ ABSL_GUARDED_BY(mutex_);
  bool ready_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace gpu_provisioner

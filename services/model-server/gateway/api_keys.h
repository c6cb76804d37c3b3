// Who may use the gateway: a file of hashed keys with scopes and limits.

#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "common/base/clock.h"

namespace model_server::gateway {

enum class Scope { kInfer, kAdmin, kMetrics };

// One key and what is left of its limits. Thread-safe.
class ApiKey {
 public:
  std::string hash;  // SHA-256 of the key, raw.
  std::vector<Scope> scopes;
  double requests_per_minute = 0;  // 0: no limit.
  double tokens_per_minute = 0;

  bool Has(Scope scope) const;

  // Takes one request; the seconds to wait when a limit is reached, else 0. `tokens` says which.
  int TakeRequest(const base::Clock& clock, bool* tokens);
  // Counts what a request used.
  void UseTokens(double count);

  // Limits used so far pass to the key that replaces this one.
  void CopyUseTo(ApiKey& other) const;

 private:
  void Refill(absl::Duration now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;
  bool started_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Duration refilled_ ABSL_GUARDED_BY(mutex_);
  double requests_left_ ABSL_GUARDED_BY(mutex_) = 0;
  double tokens_left_ ABSL_GUARDED_BY(mutex_) = 0;
};

// A file with one key per line:
//
//   # team a
//   <64 hex digits: SHA-256 of the key> infer,metrics requests_per_minute=60 tokens_per_minute=9000
//
// Read again within 2 s of a change. A file that became unreadable or malformed keeps the old keys.
// Thread-safe.
class ApiKeys {
 public:
  static absl::StatusOr<std::unique_ptr<ApiKeys>> Open(const std::string& path,
                                                       const base::Clock& clock);
  ~ApiKeys();

  // Compares against all hashes in constant time; nullptr for an unknown key.
  std::shared_ptr<ApiKey> Find(std::string_view key) const;

  // Reads the file again, if it changed.
  void Refresh();

 private:
  ApiKeys(std::string path, const base::Clock& clock);

  const std::string path_;
  const base::Clock& clock_;
  mutable absl::Mutex mutex_;
  std::vector<std::shared_ptr<ApiKey>> keys_ ABSL_GUARDED_BY(mutex_);
  std::string content_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::jthread thread_;
};

// The lines of a file; kInvalidArgument names the line.
absl::StatusOr<std::vector<std::shared_ptr<ApiKey>>> ParseApiKeys(const std::string& content);

}  // namespace model_server::gateway

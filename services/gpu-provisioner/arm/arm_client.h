// One call to the Azure Resource Manager: buckets, token, headers, classification, redaction.

#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/time/time.h"

#include "common/base/clock.h"
#include "common/metrics/metrics.h"
#include "common/net/http.h"
#include "gpu-provisioner/arm/arm_error.h"
#include "gpu-provisioner/arm/buckets.h"
#include "gpu-provisioner/arm/http_sender.h"
#include "gpu-provisioner/arm/token_cache.h"

namespace gpu_provisioner {

struct ArmCall {
  ArmOperation operation = ArmOperation::kGet;
  std::string method = "GET";
  std::string target;       // Path and query, api-version included.
  std::string pool;         // For the bucket, logs and metrics.
  std::string correlation;  // The claim's UID, if there is one.
  net::Headers headers;
  std::string body;
};

struct ArmAnswer {
  int status = 0;  // 0: no answer came, or nothing was sent.
  net::Headers headers;
  std::string body;
  ArmFailure failure;  // kNone: the call succeeded.
  bool sent = false;   // False: a bucket or the token held it back; nothing was done.
};

// Thread-safe; each call blocks its thread: up to 20 s for reads, 70 s for writes.
//
// A 401 is repeated once with a fresh token, reads are repeated twice on 502, 503, 504 and cut
// connections, writes never. A 429 pauses its bucket. Redirects are not followed.
class ArmClient {
 public:
  struct Options {
    // How the quick retries wait; replaced in tests. Called without a lock.
    std::function<void(absl::Duration)> sleep;
    metrics::Registry* registry = nullptr;
  };

  // All are borrowed.
  ArmClient(HttpSender& sender, TokenCache& tokens, Buckets& buckets, const base::Clock& clock,
            Options options);

  ArmAnswer Call(const ArmCall& call);

  const Buckets& buckets() const { return buckets_; }

 private:
  ArmAnswer Try(const ArmCall& call, const std::string& token);
  ArmAnswer WithToken(const ArmCall& call);
  void NoteThrottling(const ArmCall& call, ArmAnswer& answer);
  void Count(const ArmCall& call, const ArmAnswer& answer, absl::Duration took);

  HttpSender& sender_;
  TokenCache& tokens_;
  Buckets& buckets_;
  const base::Clock& clock_;
  const Options options_;
};

// What an answer asks us to wait: retry-after-ms, x-ms-retry-after-ms, Retry-After in seconds or as
// a date. Zero if nothing.
absl::Duration RetryAfterOf(const net::Headers& headers, absl::Time now);

// `text` without what must not be shown: the query of signed URLs, bearer tokens, assertions.
std::string Redacted(std::string_view text);

}  // namespace gpu_provisioner

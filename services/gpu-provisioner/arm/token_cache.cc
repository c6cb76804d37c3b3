#include "gpu-provisioner/arm/token_cache.h"

#include <algorithm>

#include "common/base/log.h"

namespace gpu_provisioner {
namespace {

absl::Duration RefreshEarly(absl::Duration lifetime) {
  if (lifetime > absl::Hours(2)) return lifetime / 2;
  return std::min(absl::Duration(absl::Minutes(5)), lifetime / 2);
}

}  // namespace

TokenCache::TokenCache(std::unique_ptr<TokenSource> source, const base::Clock& clock)
    : source_(std::move(source)), clock_(clock) {}

absl::StatusOr<std::string> TokenCache::Get() {
  const auto usable = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const absl::Duration now = clock_.Monotonic();
    const bool valid = ready_ && now < expires_;
    return valid && (now < refresh_ || now < retry_at_);
  };
  {
    absl::MutexLock lock(&mutex_);
    if (usable()) return token_;
  }
  absl::MutexLock fetching(&fetch_mutex_);
  std::string claims;
  {
    absl::MutexLock lock(&mutex_);
    if (usable()) return token_;
    const absl::Duration now = clock_.Monotonic();
    if (now < retry_at_) return last_error_;
    claims = claims_;
  }
  absl::StatusOr<FetchedToken> fetched = source_->Fetch(claims);
  absl::MutexLock lock(&mutex_);
  const absl::Duration now = clock_.Monotonic();
  if (fetched.ok()) {
    if (!ready_ || !last_error_.ok()) base::LogInfo("token obtained");
    token_ = fetched->token;
    claims_.clear();
    expires_ = now + fetched->lifetime;
    refresh_ = expires_ - RefreshEarly(fetched->lifetime);
    retry_wait_ = absl::Seconds(2);
    retry_at_ = -absl::InfiniteDuration();
    last_error_ = absl::OkStatus();
    ready_ = true;
    return token_;
  }
  if (last_error_.message() != fetched.status().message()) {
    base::LogWarning("no token", {{"error", fetched.status()}});
  }
  last_error_ = fetched.status();
  retry_at_ = now + retry_wait_;
  retry_wait_ = std::min(retry_wait_ * 2, absl::Duration(absl::Seconds(30)));
  if (ready_ && now < expires_) return token_;
  return last_error_;
}

void TokenCache::Drop(const std::string& token, const std::string& claims) {
  absl::MutexLock lock(&mutex_);
  if (token_ != token) return;
  token_.clear();
  expires_ = -absl::InfiniteDuration();
  claims_ = claims;
}

bool TokenCache::ready() const {
  absl::MutexLock lock(&mutex_);
  return ready_;
}

absl::Duration TokenCache::TimeLeft() const {
  absl::MutexLock lock(&mutex_);
  return std::max(absl::ZeroDuration(), expires_ - clock_.Monotonic());
}

}  // namespace gpu_provisioner

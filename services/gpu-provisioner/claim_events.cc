#include "gpu-provisioner/claim_events.h"

namespace gpu_provisioner {
namespace {

constexpr absl::Duration kQuiet = absl::Minutes(2);
constexpr size_t kRememberMax = 10'000;

}  // namespace

bool ClaimEvents::MayTell(const kube::Object& regarding, std::string_view reason) {
  absl::MutexLock lock(&mutex_);
  const absl::Duration now = clock_.Monotonic();
  if (told_.size() >= kRememberMax) {
    std::erase_if(told_, [&](const auto& entry) { return entry.second + kQuiet <= now; });
  }
  auto& told = told_
                   .try_emplace({std::string(regarding.uid()), std::string(reason)},
                                -absl::InfiniteDuration())
                   .first->second;
  if (told + kQuiet > now) return false;
  told = now;
  return true;
}

void ClaimEvents::Normal(const kube::Object& regarding, std::string_view reason,
                         std::string_view note) {
  if (recorder_ == nullptr || !MayTell(regarding, reason)) return;
  recorder_->Normal(regarding, reason, note);
}

void ClaimEvents::Warning(const kube::Object& regarding, std::string_view reason,
                          std::string_view note) {
  if (recorder_ == nullptr || !MayTell(regarding, reason)) return;
  recorder_->Warning(regarding, reason, note);
}

}  // namespace gpu_provisioner

// Events on claims, each reason at most once in two minutes per claim.

#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "common/base/clock.h"
#include "common/kube/events.h"

namespace gpu_provisioner {

// Thread-safe.
class ClaimEvents {
 public:
  // `recorder` null: nothing is written. Both are borrowed.
  ClaimEvents(kube::EventRecorder* recorder, const base::Clock& clock)
      : recorder_(recorder), clock_(clock) {}

  void Normal(const kube::Object& regarding, std::string_view reason, std::string_view note);
  void Warning(const kube::Object& regarding, std::string_view reason, std::string_view note);

 private:
  bool MayTell(const kube::Object& regarding, std::string_view reason);

  kube::EventRecorder* const recorder_;
  const base::Clock& clock_;
  absl::Mutex mutex_;
  std::map<std::pair<std::string, std::string>, absl::Duration> told_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace gpu_provisioner

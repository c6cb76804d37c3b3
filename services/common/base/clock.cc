#include "common/base/clock.h"

#include <ctime>

#include "absl/time/clock.h"

namespace base {
namespace {

class SystemClock final : public Clock {
 public:
  absl::Time Now() const override { return absl::Now(); }

  absl::Duration Monotonic() const override {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return absl::DurationFromTimespec(time);
  }

  bool AwaitUntil(absl::Mutex& mutex, const absl::Condition& condition,
                  absl::Duration deadline) const override ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return mutex.AwaitWithTimeout(condition, deadline - Monotonic());
  }
};

}  // namespace

const Clock& RealClock() {
  static const SystemClock* const clock = new SystemClock();
  return *clock;
}

absl::Time ManualClock::Now() const {
  absl::MutexLock lock(&mutex_);
  return now_;
}

absl::Duration ManualClock::Monotonic() const {
  absl::MutexLock lock(&mutex_);
  return monotonic_;
}

bool ManualClock::AwaitUntil(absl::Mutex& mutex, const absl::Condition& condition,
                             absl::Duration deadline) const ABSL_NO_THREAD_SAFETY_ANALYSIS {
  // Advance() does not know the mutexes of others, so look at the time again every millisecond.
  while (!mutex.AwaitWithTimeout(condition, absl::Milliseconds(1))) {
    if (Monotonic() >= deadline) return condition.Eval();
  }
  return true;
}

void ManualClock::Advance(absl::Duration by) {
  absl::MutexLock lock(&mutex_);
  now_ += by;
  monotonic_ += by;
}

void ManualClock::JumpWallClock(absl::Duration by) {
  absl::MutexLock lock(&mutex_);
  now_ += by;
}

ScaledClock::ScaledClock(double rate)
    : rate_(rate), wall_start_(RealClock().Now()), monotonic_start_(RealClock().Monotonic()) {}

absl::Time ScaledClock::Now() const {
  return wall_start_ + (RealClock().Monotonic() - monotonic_start_) * rate_;
}

absl::Duration ScaledClock::Monotonic() const {
  return monotonic_start_ + (RealClock().Monotonic() - monotonic_start_) * rate_;
}

bool ScaledClock::AwaitUntil(absl::Mutex& mutex, const absl::Condition& condition,
                             absl::Duration deadline) const ABSL_NO_THREAD_SAFETY_ANALYSIS {
  return mutex.AwaitWithTimeout(condition, (deadline - Monotonic()) / rate_);
}

}  // namespace base

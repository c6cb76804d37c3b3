// Time as a dependency, so that tests move it by hand and never sleep.

#pragma once

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace base {

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;

  // Wall-clock time: for what people read. It may jump.
  virtual absl::Time Now() const = 0;

  // Time since an arbitrary start; never jumps. For timeouts, ages and back-off.
  virtual absl::Duration Monotonic() const = 0;

  // Blocks until `condition` holds or Monotonic() reaches `deadline`; true if it holds.
  // `mutex` must be held, and is held again on return.
  virtual bool AwaitUntil(absl::Mutex& mutex, const absl::Condition& condition,
                          absl::Duration deadline) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) = 0;
};

// The machine's clock. Lives for ever.
const Clock& RealClock();

// Stands still until moved.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(absl::Time now = absl::FromUnixSeconds(1'700'000'000)) : now_(now) {}

  absl::Time Now() const override;
  absl::Duration Monotonic() const override;
  bool AwaitUntil(absl::Mutex& mutex, const absl::Condition& condition,
                  absl::Duration deadline) const override;

  // Moves both clocks forward.
  void Advance(absl::Duration by);

  // Moves the wall clock alone, as an administrator or NTP would.
  void JumpWallClock(absl::Duration by);

 private:
  mutable absl::Mutex mutex_;
  absl::Time now_ ABSL_GUARDED_BY(mutex_);
  absl::Duration monotonic_ ABSL_GUARDED_BY(mutex_) = absl::ZeroDuration();
};

// Real time, `rate` times faster, from the moment it is made: for running real binaries through
// hours in seconds.
class ScaledClock final : public Clock {
 public:
  explicit ScaledClock(double rate);

  absl::Time Now() const override;
  absl::Duration Monotonic() const override;
  bool AwaitUntil(absl::Mutex& mutex, const absl::Condition& condition,
                  absl::Duration deadline) const override;

 private:
  const double rate_;
  const absl::Time wall_start_;
  const absl::Duration monotonic_start_;
};

}  // namespace base

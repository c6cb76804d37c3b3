#include "common/base/clock.h"

#include <thread>

#include "gtest/gtest.h"

namespace base {
namespace {

TEST(ManualClockTest, MonotonicTimeIgnoresJumpsOfTheWallClock) {
  ManualClock clock;
  const absl::Time start = clock.Now();
  clock.Advance(absl::Seconds(5));
  clock.JumpWallClock(-absl::Hours(1));
  EXPECT_EQ(clock.Monotonic(), absl::Seconds(5));
  EXPECT_EQ(clock.Now(), start + absl::Seconds(5) - absl::Hours(1));
}

TEST(ManualClockTest, AwaitEndsWhenTheTimeIsMovedPastTheDeadline) {
  ManualClock clock;
  absl::Mutex mutex;
  bool never = false;
  std::jthread waiter([&] {
    absl::MutexLock lock(&mutex);
    EXPECT_FALSE(clock.AwaitUntil(mutex, absl::Condition(&never), absl::Seconds(10)));
  });
  clock.Advance(absl::Seconds(11));
}

TEST(ScaledClockTest, TimeRunsFasterByTheRate) {
  const ScaledClock clock(100'000);
  const absl::Duration start = clock.Monotonic();
  absl::Mutex mutex;
  bool never = false;
  absl::MutexLock lock(&mutex);
  EXPECT_FALSE(
      clock.AwaitUntil(mutex, absl::Condition(&never), start + absl::Minutes(1)));  // 0.6 ms
  EXPECT_GE(clock.Monotonic(), start + absl::Minutes(1));
}

TEST(RealClockTest, AwaitReturnsAtOnceWhenTheConditionHolds) {
  absl::Mutex mutex;
  bool ready = true;
  absl::MutexLock lock(&mutex);
  EXPECT_TRUE(RealClock().AwaitUntil(mutex, absl::Condition(&ready),
                                     RealClock().Monotonic() + absl::Hours(1)));
}

}  // namespace
}  // namespace base

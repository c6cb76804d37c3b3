#include "common/base/backoff.h"

#include "gtest/gtest.h"

namespace base {
namespace {

TEST(BackoffTest, WaitsDoubleUpToTheMaximumAndStartAgainAfterReset) {
  Backoff backoff({.initial = absl::Seconds(1), .max = absl::Seconds(5), .jitter = 0});
  EXPECT_EQ(backoff.Next(), absl::Seconds(1));
  EXPECT_EQ(backoff.Next(), absl::Seconds(2));
  EXPECT_EQ(backoff.Next(), absl::Seconds(4));
  EXPECT_EQ(backoff.Next(), absl::Seconds(5));
  EXPECT_EQ(backoff.Next(), absl::Seconds(5));
  backoff.Reset();
  EXPECT_EQ(backoff.Next(), absl::Seconds(1));
}

TEST(BackoffTest, JitterOnlyLengthensAWait) {
  Backoff backoff({.initial = absl::Seconds(1), .max = absl::Seconds(1), .jitter = 0.5});
  for (int i = 0; i < 100; ++i) {
    const absl::Duration wait = backoff.Next();
    EXPECT_GE(wait, absl::Seconds(1));
    EXPECT_LE(wait, absl::Milliseconds(1500));
  }
}

}  // namespace
}  // namespace base

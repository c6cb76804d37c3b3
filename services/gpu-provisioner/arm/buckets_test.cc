#include "gpu-provisioner/arm/buckets.h"

#include "gtest/gtest.h"

namespace gpu_provisioner {
namespace {

TEST(BucketsTest, TheLastTokensAreKeptForLists) {
  base::ManualClock clock;
  Buckets buckets(clock);
  int gets = 0;
  while (buckets.Take(ArmOperation::kGet, "a") == absl::ZeroDuration()) ++gets;
  EXPECT_EQ(gets, 42);
  EXPECT_EQ(buckets.Take(ArmOperation::kDelete, "a"), absl::ZeroDuration());
  int lists = 0;
  while (buckets.Take(ArmOperation::kList, "") == absl::ZeroDuration()) ++lists;
  EXPECT_EQ(gets + 1 + lists, 48);
  clock.Advance(absl::Seconds(2));
  EXPECT_EQ(buckets.Take(ArmOperation::kList, ""), absl::ZeroDuration());
}

TEST(BucketsTest, APausePutsOnePoolToSleepAndNoOther) {
  base::ManualClock clock;
  Buckets buckets(clock);
  EXPECT_EQ(buckets.Pause(ArmOperation::kPut, "ws1", absl::Seconds(30)), absl::Seconds(30));
  EXPECT_EQ(buckets.Take(ArmOperation::kPut, "ws1"), absl::Seconds(30));
  EXPECT_EQ(buckets.Take(ArmOperation::kPut, "ws2"), absl::ZeroDuration());
  EXPECT_EQ(buckets.Take(ArmOperation::kList, ""), absl::ZeroDuration());
  clock.Advance(absl::Seconds(30));
  EXPECT_EQ(buckets.Take(ArmOperation::kPut, "ws1"), absl::ZeroDuration());
}

TEST(BucketsTest, AWaitIsClampedAndHasADefault) {
  base::ManualClock clock;
  Buckets buckets(clock);
  EXPECT_EQ(buckets.Pause(ArmOperation::kPut, "a", absl::ZeroDuration()), absl::Seconds(60));
  EXPECT_EQ(buckets.Pause(ArmOperation::kList, "", absl::ZeroDuration()), absl::Seconds(30));
  EXPECT_EQ(buckets.Pause(ArmOperation::kList, "", absl::Hours(48)), absl::Hours(1));
}

}  // namespace
}  // namespace gpu_provisioner

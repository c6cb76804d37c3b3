#include "common/kube/work_queue.h"

#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "common/metrics/metrics.h"

namespace kube {
namespace {

using ::testing::HasSubstr;

const ObjectKey kPhi{"default", "phi"};
const ObjectKey kFalcon{"default", "falcon"};

TEST(WorkQueueTest, KeyAddedWhileHeldIsHandedOutAgainAfterDone) {
  WorkQueue queue;
  queue.Add(kPhi);
  ASSERT_EQ(queue.Get(), kPhi);

  queue.Add(kPhi);  // The object changed while a worker was reconciling it.
  queue.ShutDown();
  EXPECT_EQ(queue.Get(), std::nullopt) << "a second worker got a key that is still held";
  queue.Done(kPhi);
  EXPECT_EQ(queue.Get(), kPhi);
}

TEST(WorkQueueTest, KeyThatWaitsIsNotQueuedTwice) {
  WorkQueue queue;
  queue.Add(kPhi);
  queue.Add(kPhi);
  EXPECT_EQ(queue.size(), 1U);
}

TEST(WorkQueueTest, FreshKeysOvertakeTheBackground) {
  WorkQueue queue;
  queue.Add({"default", "old"}, QueuePriority::kBackground);
  queue.Add(kFalcon, QueuePriority::kBackground);
  queue.Add(kPhi);
  queue.Add(kFalcon);  // Waits in the background already, and becomes fresh.
  EXPECT_EQ(queue.TryGet(), kPhi);
  EXPECT_EQ(queue.TryGet(), kFalcon);
  EXPECT_EQ(queue.TryGet()->name, "old");
  EXPECT_EQ(queue.TryGet(), std::nullopt);
}

TEST(WorkQueueTest, OfTwoDelaysTheEarlierWins) {
  base::ManualClock clock;
  WorkQueue queue({}, clock);
  queue.AddAfter(kPhi, absl::Seconds(10));
  queue.AddAfter(kPhi, absl::Seconds(5));
  queue.AddAfter(kPhi, absl::Seconds(7));
  EXPECT_EQ(queue.NextDue(), absl::Seconds(5));
  clock.Advance(absl::Seconds(4));
  EXPECT_EQ(queue.TryGet(), std::nullopt);
  clock.Advance(absl::Seconds(1));
  EXPECT_EQ(queue.TryGet(), kPhi);
  queue.Done(kPhi);
  clock.Advance(absl::Seconds(10));
  EXPECT_EQ(queue.TryGet(), std::nullopt) << "the later delay was not forgotten";
}

TEST(WorkQueueTest, RetriesDoubleUpToTheLimitUntilForgotten) {
  base::ManualClock clock;
  WorkQueue queue(
      {.retry_initial = absl::Seconds(1), .retry_max = absl::Seconds(5), .retries_per_second = 0},
      clock);
  for (const int seconds : {1, 2, 4, 5, 5}) {
    queue.AddRateLimited(kPhi);
    ASSERT_EQ(*queue.NextDue() - clock.Monotonic(), absl::Seconds(seconds));
    clock.Advance(absl::Seconds(seconds));
    ASSERT_EQ(queue.TryGet(), kPhi);
    queue.Done(kPhi);
  }
  queue.Forget(kPhi);
  queue.AddRateLimited(kPhi);
  EXPECT_EQ(*queue.NextDue() - clock.Monotonic(), absl::Seconds(1));
}

TEST(WorkQueueTest, RetriesOfAllKeysTogetherAreLimited) {
  base::ManualClock clock;
  WorkQueue queue(
      {.retry_initial = absl::Milliseconds(5), .retries_per_second = 10, .retry_burst = 2}, clock);
  for (int i = 0; i < 4; ++i) queue.AddRateLimited({"", std::to_string(i)});
  clock.Advance(absl::Milliseconds(5));
  int ready = 0;
  while (queue.TryGet()) ++ready;
  EXPECT_EQ(ready, 2);
  clock.Advance(absl::Milliseconds(195));
  while (queue.TryGet()) ++ready;
  EXPECT_EQ(ready, 4);
}

TEST(WorkQueueTest, AWorkerWakesForADelayedKey) {
  base::ManualClock clock;
  WorkQueue queue({}, clock);
  std::optional<ObjectKey> got;
  std::jthread worker([&] { got = queue.Get(); });
  queue.AddAfter(kPhi, absl::Seconds(30));
  clock.Advance(absl::Seconds(30));
  worker.join();
  EXPECT_EQ(got, kPhi);
}

TEST(WorkQueueTest, AfterShutDownQueuedKeysAreHandedOutAndDelayedOnesDropped) {
  WorkQueue queue;
  queue.Add(kPhi);
  queue.AddAfter(kFalcon, absl::Hours(1));
  queue.ShutDown();
  queue.Add(kFalcon);
  EXPECT_EQ(queue.Get(), kPhi);
  EXPECT_EQ(queue.Get(), std::nullopt);
}

TEST(WorkQueueTest, MetricsFollowTheKeys) {
  metrics::Registry registry;
  base::ManualClock clock;
  WorkQueue queue({.name = "workspace", .registry = &registry}, clock);
  queue.Add(kPhi);
  EXPECT_THAT(registry.Text(), HasSubstr("workqueue_depth{controller=\"workspace\",name="
                                         "\"workspace\",priority=\"fresh\"} 1"));
  clock.Advance(absl::Seconds(2));
  ASSERT_TRUE(queue.TryGet());
  clock.Advance(absl::Seconds(3));
  queue.Done(kPhi);
  const metrics::Labels labels{{"name", "workspace"}, {"controller", "workspace"}};
  EXPECT_EQ(registry.GetCounter("workqueue_adds_total", "", labels).value(), 1);
  EXPECT_THAT(registry.Text(),
              HasSubstr("workqueue_work_duration_seconds_sum{controller=\"workspace\","
                        "name=\"workspace\"} 3"));
}

}  // namespace
}  // namespace kube

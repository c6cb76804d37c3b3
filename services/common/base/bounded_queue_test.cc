#include "common/base/bounded_queue.h"

#include <memory>
#include <thread>

#include "gtest/gtest.h"

namespace base {
namespace {

TEST(BoundedQueueTest, FullQueueRefusesAndLeavesTheItemWithTheCaller) {
  BoundedQueue<std::unique_ptr<int>> queue(1);
  EXPECT_TRUE(queue.TryPush(std::make_unique<int>(1)));
  auto second = std::make_unique<int>(2);
  EXPECT_FALSE(queue.TryPush(std::move(second)));
  EXPECT_NE(second, nullptr);
}

TEST(BoundedQueueTest, ClosedQueueHandsOutWhatItHoldsAndThenNothing) {
  BoundedQueue<int> queue(4);
  queue.TryPush(1);
  queue.Close();
  EXPECT_FALSE(queue.TryPush(2));
  EXPECT_EQ(queue.Pop(), 1);
  EXPECT_EQ(queue.Pop(), std::nullopt);
}

TEST(BoundedQueueTest, ProducerThatWaitsGoesOnWhenThereIsRoom) {
  BoundedQueue<int> queue(1);
  queue.Push(1);
  std::jthread producer([&] { EXPECT_TRUE(queue.Push(2)); });
  EXPECT_EQ(queue.Pop(), 1);
  EXPECT_EQ(queue.Pop(), 2);
}

TEST(BoundedQueueTest, TryPopOfAnEmptyQueueReturnsAtOnce) {
  BoundedQueue<int> queue(1);
  EXPECT_EQ(queue.TryPop(), std::nullopt);
}

}  // namespace
}  // namespace base

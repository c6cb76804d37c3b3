#include "model-server/engine/block_pool.h"

#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace model_server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(BlockPoolTest, TheLastFreeBlockIsHandedOutAndThenNone) {
  BlockPool pool(2, 4);
  const int first = *pool.Allocate();
  const int second = *pool.Allocate();
  EXPECT_NE(first, second);
  EXPECT_EQ(pool.available(), 0);
  EXPECT_EQ(pool.Allocate(), std::nullopt);
  pool.Release(second);
  EXPECT_EQ(pool.Allocate(), second);
}

TEST(BlockPoolTest, ASharedBlockIsFreeAfterItsLastUser) {
  BlockPool pool(1, 4);
  const int block = *pool.Allocate();
  pool.Share(block);
  pool.Release(block);
  EXPECT_EQ(pool.available(), 0);
  pool.Release(block);
  EXPECT_EQ(pool.available(), 1);
}

TEST(BlockPoolTest, APrefixIsFoundByItsTokensAndSaltAlone) {
  BlockPool pool(4, 2);
  const std::vector<int32_t> tokens = {1, 2, 3, 4, 5};
  const PrefixNode root = BlockPool::Root("");
  const int a = *pool.Allocate();
  const int b = *pool.Allocate();
  PrefixNode node = pool.Publish(root, std::span(tokens).subspan(0, 2), a);
  node = pool.Publish(node, std::span(tokens).subspan(2, 2), b);
  EXPECT_THAT(pool.FindPrefix(root, tokens, 5).blocks, ElementsAre(a, b));
  EXPECT_EQ(pool.users(a), 2);
  EXPECT_THAT(pool.FindPrefix(root, tokens, 3).blocks, ElementsAre(a));
  EXPECT_THAT(pool.FindPrefix(BlockPool::Root("other"), tokens, 5).blocks, IsEmpty());
  EXPECT_EQ(pool.PeekPrefix(root, std::vector<int32_t>{1, 2, 9, 9}, 4), 2);
  EXPECT_EQ(pool.PeekPrefix(root, std::vector<int32_t>{3, 4}, 2), 0) << "not at the beginning";
}

TEST(BlockPoolTest, ARememberedBlockWithoutUsersIsTakenWhenNothingElseIsLeft) {
  BlockPool pool(2, 1);
  const PrefixNode root = BlockPool::Root("");
  const int a = *pool.Allocate();
  const int b = *pool.Allocate();
  const std::vector<int32_t> tokens = {7, 8};
  const PrefixNode node = pool.Publish(root, std::span(tokens).first(1), a);
  pool.Publish(node, std::span(tokens).last(1), b);
  pool.Release(b);  // Leaves go first, as the engine releases them.
  pool.Release(a);
  EXPECT_EQ(pool.available(), 2);
  EXPECT_EQ(pool.Allocate(), b);
  EXPECT_EQ(pool.PeekPrefix(root, tokens, 2), 1);
  pool.CheckInvariants();
}

TEST(BlockPoolTest, TheSamePrefixPublishedTwiceStaysTheFirst) {
  BlockPool pool(2, 1);
  const PrefixNode root = BlockPool::Root("");
  const std::vector<int32_t> tokens = {7};
  const int a = *pool.Allocate();
  const int b = *pool.Allocate();
  const PrefixNode first = pool.Publish(root, tokens, a);
  EXPECT_EQ(pool.Publish(root, tokens, b), first);
  pool.Release(b);
  EXPECT_EQ(pool.available(), 1);
  EXPECT_THAT(pool.FindPrefix(root, tokens, 1).blocks, ElementsAre(a));
}

TEST(BlockPoolTest, NoSequenceOfCallsLosesABlock) {
  std::mt19937 random(1);
  BlockPool pool(8, 1);
  std::vector<std::pair<int, PrefixNode>> held;
  for (int i = 0; i < 5000; ++i) {
    const auto pick = [&] { return random() % held.size(); };
    switch (random() % 4) {
      case 0:
        if (const auto block = pool.Allocate()) held.emplace_back(*block, 0);
        break;
      case 1:
        if (!held.empty()) {
          const size_t at = pick();
          pool.Release(held[at].first);
          held.erase(held.begin() + static_cast<ptrdiff_t>(at));
        }
        break;
      case 2:
        if (!held.empty() && held.back().second == 0 && pool.users(held.back().first) == 1) {
          const std::vector<int32_t> tokens = {static_cast<int32_t>(random() % 6)};
          held.back().second = pool.Publish(BlockPool::Root(""), tokens, held.back().first);
        }
        break;
      default:
        const std::vector<int32_t> tokens = {static_cast<int32_t>(random() % 6)};
        for (const int block : pool.FindPrefix(BlockPool::Root(""), tokens, 1).blocks) {
          held.emplace_back(block, 1);
        }
    }
    pool.CheckInvariants();
  }
}

}  // namespace
}  // namespace model_server

#include "common/compute/thread_team.h"

#include <array>
#include <numeric>

#include "gtest/gtest.h"

namespace compute {
namespace {

TEST(ThreadTeamTest, EveryChunkRunsOnceAndRunWaitsForAll) {
  for (const int members : {1, 2, 3, 8}) {
    ThreadTeam team(members);
    for (const int chunks : {0, 1, 2, 7, 100}) {
      for (int round = 0; round < 50; ++round) {
        std::vector<int> runs(chunks, 0);  // Not atomic: TSan would see two writers.
        team.Run(chunks, [&](int, int chunk) { ++runs[chunk]; });
        EXPECT_EQ(runs, std::vector<int>(chunks, 1)) << members << " members";
      }
    }
  }
}

TEST(ThreadTeamTest, MembersAreNeverUsedTwiceAtOnce) {
  ThreadTeam team(4);
  std::array<std::atomic<int>, 4> busy{};
  for (int round = 0; round < 200; ++round) {
    team.Run(64, [&](int member, int) {
      EXPECT_EQ(busy.at(member).fetch_add(1), 0);
      busy.at(member).fetch_sub(1);
    });
  }
}

TEST(ThreadTeamTest, OneMemberFinishesWhatAnotherHasNotClaimed) {
  ThreadTeam team(2);
  // Chunk 0 is the caller's. It ends only when all others are done, which the worker must do alone.
  std::atomic<int> others{0};
  team.Run(10, [&](int, int chunk) {
    if (chunk == 0) {
      while (others.load() < 9) std::this_thread::yield();
    } else {
      ++others;
    }
  });
  EXPECT_EQ(others.load(), 9);
}

TEST(ThreadTeamTest, AtLeastOneCoreIsUsable) { EXPECT_GE(UsableCores(), 1); }

}  // namespace
}  // namespace compute

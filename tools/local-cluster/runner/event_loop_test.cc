#include "local-cluster/runner/event_loop.h"

#include <array>
#include <string>

#include <sys/epoll.h>
#include <unistd.h>

#include "gtest/gtest.h"

namespace local_cluster {
namespace {

TEST(EventLoopTest, TimersRunInTheOrderOfTheirTimesAndCancelledOnesDoNot) {
  EventLoop loop;
  std::string order;
  loop.After(absl::Milliseconds(4), [&] {
    order += "b";
    loop.Stop();
  });
  loop.After(absl::Milliseconds(1), [&] { order += "a"; });
  loop.Cancel(loop.After(absl::Milliseconds(2), [&] { order += "x"; }));
  loop.Run();
  EXPECT_EQ(order, "ab");
}

TEST(EventLoopTest, WatchEndedByAnEarlierCallbackOfTheSameRoundIsNotCalled) {
  EventLoop loop;
  std::array<int, 2> first{};
  std::array<int, 2> second{};
  ASSERT_EQ(pipe(first.data()), 0);
  ASSERT_EQ(pipe(second.data()), 0);
  ASSERT_EQ(write(first[1], "x", 1), 1);
  ASSERT_EQ(write(second[1], "x", 1), 1);
  int calls = 0;
  const auto on_ready = [&](uint32_t) {
    ++calls;
    loop.Unwatch(first[0]);
    loop.Unwatch(second[0]);
    loop.Stop();
  };
  loop.Watch(first[0], EPOLLIN, on_ready);
  loop.Watch(second[0], EPOLLIN, on_ready);
  loop.Run();
  EXPECT_EQ(calls, 1);
  for (const int fd : {first[0], first[1], second[0], second[1]}) close(fd);
}

TEST(EventLoopTest, CallReturnsAfterTheMessageHasRun) {
  EventLoopThread thread("test");
  int value = 0;
  thread.loop().Call([&] { value = 7; });
  EXPECT_EQ(value, 7);
}

}  // namespace
}  // namespace local_cluster

#include "workspace-controller/watches.h"

#include "gtest/gtest.h"

#include "workspace-controller/testing.h"

namespace workspace_controller {
namespace {

TEST(WatchesTest, HeartbeatOfANodeIsNoChangeButItsReadinessIs) {
  const kube::Object node = NodeObject("a");
  EXPECT_FALSE(NodeChanged(node, Patched(node, R"({"metadata":{"resourceVersion":"9"}})")));
  EXPECT_TRUE(NodeChanged(node, Patched(node, R"({"metadata":{"labels":{"apps":"y"}}})")));
  EXPECT_TRUE(
      NodeChanged(node, Patched(node, R"({"status":{"capacity":{"nvidia.com/gpu":"2"}}})")));
  EXPECT_TRUE(NodeChanged(node, Patched(node, R"({"spec":{"unschedulable":true}})")));
}

TEST(WatchesTest, NodeConcernsWhoHoldsItAndWhoStillLooksForOne) {
  const kube::Object node =
      Patched(NodeObject("a"), R"({"metadata":{"labels":{"kaito.sh/workspace":null}}})");
  const auto concerns = [&](std::string_view patch) {
    return ConcernsNode(Read(Patched(WorkspaceObject(), patch)), node);
  };
  EXPECT_TRUE(concerns("{}")) << "looks for its first node";
  EXPECT_TRUE(concerns(R"({"status":{"targetNodeCount":1,"workerNodes":["a"]}})"));
  EXPECT_FALSE(concerns(R"({"status":{"targetNodeCount":1,"workerNodes":["b"]}})"));
  EXPECT_TRUE(concerns(R"({"status":{"targetNodeCount":2,"workerNodes":["b"]}})"));
  EXPECT_FALSE(concerns(R"({"resource":{"labelSelector":{"matchLabels":{"apps":"z"}}}})"));
  EXPECT_TRUE(ConcernsNode(
      Read(Patched(WorkspaceObject(), R"({"status":{"targetNodeCount":1,"workerNodes":["b"]}})")),
      NodeObject("a")))
      << "was made for it";
}

}  // namespace
}  // namespace workspace_controller

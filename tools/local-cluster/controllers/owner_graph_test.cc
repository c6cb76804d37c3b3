#include "local-cluster/controllers/owner_graph.h"

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace local_cluster {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Action = Verdict::Action;

kube::Object Owned(std::string_view uid, std::string_view owner_uid) {
  return *kube::Object::Parse(absl::StrFormat(
      R"({"metadata": {"name": "%s", "namespace": "d", "uid": "%s",
          "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "%s"}]}})",
      uid, uid, owner_uid));
}

GraphNode NodeWithOwners(int owners) {
  GraphNode node;
  for (int i = 0; i < owners; ++i) node.owners.push_back({.uid = std::to_string(i)});
  return node;
}

TEST(OwnerGraphTest, DependentsFollowChangesOfReferences) {
  OwnerGraph graph;
  graph.Put(kube::resources::kPods, Owned("a", "o"));
  graph.Put(kube::resources::kPods, Owned("b", "o"));
  EXPECT_THAT(graph.Dependents("o"), SizeIs(2));
  graph.Put(kube::resources::kPods, Owned("a", "p"));
  EXPECT_THAT(graph.Dependents("o"), SizeIs(1));
  graph.Remove("b");
  EXPECT_THAT(graph.Dependents("o"), IsEmpty());
  EXPECT_EQ(graph.Dependents("p").at(0)->uid, "a");
}

TEST(OwnerGraphTest, ObjectGoesOnlyWhenAllItsOwnersHaveGone) {
  EXPECT_EQ(JudgeByOwners(NodeWithOwners(0), {}, false).action, Action::kKeep);
  EXPECT_EQ(JudgeByOwners(NodeWithOwners(1), {OwnerState::kAbsent}, false).action, Action::kDelete);
  const Verdict verdict =
      JudgeByOwners(NodeWithOwners(2), {OwnerState::kAbsent, OwnerState::kPresent}, false);
  EXPECT_EQ(verdict.action, Action::kDropReferences);
  EXPECT_THAT(verdict.absent_uids, ElementsAre("0"));
}

TEST(OwnerGraphTest, ForegroundDeletionGoesDownTheTree) {
  const GraphNode node = NodeWithOwners(1);
  EXPECT_EQ(JudgeByOwners(node, {OwnerState::kWaitsForDependents}, true).propagation, "Foreground");
  EXPECT_EQ(JudgeByOwners(node, {OwnerState::kWaitsForDependents}, false).propagation,
            "Background");
}

}  // namespace
}  // namespace local_cluster

#include "workspace-controller/workspace.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "workspace-controller/testing.h"

namespace workspace_controller {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

TEST(WorkspaceTest, ReservedLabelsAreLeftOutOfTheSelector) {
  const Workspace workspace = Read(Patched(
      WorkspaceObject(), R"({"resource":{"labelSelector":{"matchLabels":{"kaito.sh/workspace":"y",
      "a.kaito.io/b":"c", "karpenter.sh/nodepool":"z"}}}})"));
  EXPECT_THAT(workspace.match_labels, ElementsAre(Pair("apps", "x")));
  EXPECT_EQ(workspace.reserved_labels.size(), 3);
  EXPECT_FALSE(IsReservedLabel("kaito"));
  EXPECT_FALSE(IsReservedLabel("mykaito.sh/x"));
}

TEST(WorkspaceTest, SeedVersionWithoutATypeGetsTheDefaultOne) {
  const kube::Object without = Patched(WorkspaceObject(), R"({"resource":{"instanceType":null}})");
  EXPECT_EQ(Read(without).instance_type, "");
  const kube::Object seed = Patched(without, R"({"metadata":{"annotations":{
      "kubectl.kubernetes.io/last-applied-configuration":
      "{\"apiVersion\":\"kaito.sh/v1alpha1\",\"kind\":\"Workspace\"}"}}})");
  EXPECT_EQ(Read(seed).instance_type, "Standard_NC24ads_A100_v4");
  EXPECT_EQ(ReadWorkspace(seed, {.nodes_are_provisioned = false}).instance_type, "");
}

TEST(WorkspaceTest, BothSpellingsOfTheLoadBalancerAnnotationCountInAnyCase) {
  for (const char* annotation :
       {R"({"kaito.sh/enablelb":"True"})", R"({"kaito.sh/enable-lb":"true"})"}) {
    const std::string patch = std::string(R"({"metadata":{"annotations":)") + annotation + "}}";
    EXPECT_TRUE(Read(Patched(WorkspaceObject(), patch)).load_balancer) << annotation;
  }
  EXPECT_FALSE(Read(WorkspaceObject()).load_balancer);
}

TEST(WorkspaceTest, LongNamesAreShortenedWithADigestForTheWorkload) {
  const std::string name(60, 'a');
  const Workspace workspace =
      Read(Patched(WorkspaceObject(), R"({"metadata":{"name":")" + name + R"("}})"));
  EXPECT_EQ(workspace.workload_name().size(), 52);
  EXPECT_EQ(workspace.workload_name().substr(0, 42), std::string(41, 'a') + "-");
  EXPECT_LE(workspace.headless_service_name().size(), 63);
  EXPECT_EQ(Read(WorkspaceObject()).workload_name(), "ws");
}

TEST(WorkspaceTest, SelectorAsksForAllLabelsAndExpressions) {
  const Workspace workspace =
      Read(Patched(WorkspaceObject(), R"({"resource":{"labelSelector":{"matchExpressions":[
      {"key":"zone","operator":"In","values":["a","b"]}]}}})"));
  EXPECT_TRUE(workspace.Selects({{"apps", "x"}, {"zone", "b"}, {"more", "1"}}));
  EXPECT_FALSE(workspace.Selects({{"apps", "x"}, {"zone", "c"}}));
  EXPECT_FALSE(workspace.Selects({{"zone", "a"}}));
}

}  // namespace
}  // namespace workspace_controller

#include "gpu-provisioner/nodes.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "common/kube/json.h"

namespace gpu_provisioner {
namespace {

using testing::HasSubstr;

kube::Object Yaml(std::string_view text) {
  return kube::Object(kube::ParseYaml(text).value().front());
}

kube::Object Node() {
  return Yaml(R"(
metadata:
  name: aks-ws1-1-vmss000000
  resourceVersion: "7"
  labels: {kubernetes.azure.com/agentpool: WS1, node.kubernetes.io/instance-type: real}
spec:
  taints: [{key: karpenter.sh/unregistered, effect: NoExecute}]
status:
  conditions: [{type: Ready, status: "True"}]
  allocatable: {nvidia.com/gpu: "1"}
)");
}

NodeRequest Claim() {
  NodeRequest claim;
  claim.name = "ws1";
  claim.uid = "u1";
  claim.node_class = "default";
  claim.object = Yaml(R"(
metadata:
  labels: {kaito.sh/workspace: w, node.kubernetes.io/instance-type: claimed}
  annotations: {karpenter.sh/do-not-disrupt: "true", gpu-provisioner.kaito.sh/attempt: "1"}
)");
  claim.taints = {{"sku", "gpu", "NoSchedule"}};
  claim.startup_taints = {{"warming", "", "NoSchedule"}};
  return claim;
}

TEST(RegistrationPatchTest, EverythingIsWrittenOnceAndThenNothing) {
  kube::Object node = Node();
  const auto patch = RegistrationPatch(node, Claim());
  ASSERT_TRUE(patch.has_value());
  const std::string text = boost::json::serialize(*patch);
  EXPECT_THAT(text, HasSubstr("karpenter.sh/termination"));
  EXPECT_THAT(text, HasSubstr("\"resourceVersion\":\"7\""));
  EXPECT_THAT(text, testing::Not(HasSubstr("karpenter.sh/unregistered")));
  EXPECT_THAT(text, testing::Not(HasSubstr("attempt"))) << "our own annotations stay on the claim";
  EXPECT_THAT(text, testing::Not(HasSubstr("claimed"))) << "the Node's own labels win";
  kube::MergePatch(node.mutable_json(), *patch);
  EXPECT_EQ(RegistrationPatch(node, Claim()), std::nullopt);
  EXPECT_TRUE(IsManagedNode(node));
  EXPECT_EQ(ParseTaints(node, {"spec", "taints"}).size(), 2U);
}

TEST(RegistrationPatchTest, AStartupTaintThatWasTakenOffStaysOff) {
  kube::Object node = Node();
  kube::MergePatch(node.mutable_json(), *RegistrationPatch(node, Claim()));
  kube::MakePath(node.mutable_json(), {"spec", "taints"}) = boost::json::array();
  EXPECT_EQ(RegistrationPatch(node, Claim()), std::nullopt);
}

TEST(InitializedTest, EachObstacleHasItsReason) {
  NodeRequest claim = Claim();
  kube::Object node = Node();
  EXPECT_EQ(InitializedVerdict(node, claim, true), True());
  claim.requests["nvidia.com/gpu"] = 1;
  claim.requests["rdma/hca"] = 1;
  EXPECT_EQ(InitializedVerdict(node, claim, true).reason, "ResourceNotRegistered");
  kube::MakePath(node.mutable_json(), {"status", "allocatable"}) = boost::json::object();
  EXPECT_EQ(InitializedVerdict(node, Claim(), true).reason, "ResourceNotRegistered");
  EXPECT_EQ(InitializedVerdict(node, Claim(), false), True()) << "no GPU, nothing to wait for";
  kube::MergePatch(
      node.mutable_json(),
      kube::ParseYaml("spec: {taints: [{key: node.kubernetes.io/not-ready, effect: NoSchedule}]}")
          .value()
          .front());
  EXPECT_EQ(InitializedVerdict(node, Claim(), false).reason, "KnownEphemeralTaintsExist");
  kube::MergePatch(
      node.mutable_json(),
      kube::ParseYaml("spec: {taints: [{key: warming, effect: NoSchedule}]}").value().front());
  EXPECT_EQ(InitializedVerdict(node, Claim(), false).reason, "StartupTaintsExist");
  kube::MergePatch(node.mutable_json(), kube::ParseYaml("status: null").value().front());
  EXPECT_EQ(InitializedVerdict(node, Claim(), false).reason, "NodeNotReady");
}

TEST(PoolOfNodeTest, IsReadInLowerCase) { EXPECT_EQ(PoolOfNode(Node()), "ws1"); }

}  // namespace
}  // namespace gpu_provisioner

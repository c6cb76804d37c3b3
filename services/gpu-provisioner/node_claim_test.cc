#include "gpu-provisioner/node_claim.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "common/kube/json.h"

namespace gpu_provisioner {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

kube::Object Claim(std::string_view extra_yaml = "") {
  const std::string text = R"(
apiVersion: karpenter.sh/v1
kind: NodeClaim
metadata:
  name: ws1
  uid: u1
  creationTimestamp: "2026-08-21T10:11:12Z"
  labels: {kaito.sh/workspace: w, karpenter.sh/nodepool: kaito}
spec:
  nodeClassRef: {group: kaito.sh, kind: KaitoNodeClass, name: default}
  requirements:
    - {key: node.kubernetes.io/instance-type, operator: In, values: [Standard_NC24ads_A100_v4]}
    - {key: karpenter.azure.com/sku-name, operator: In, values: [standard_nc24ads_a100_v4]}
    - {key: karpenter.sh/nodepool, operator: In, values: [kaito]}
    - {key: kubernetes.io/os, operator: In, values: [linux]}
  resources: {requests: {storage: 1500Mi}}
  taints: [{key: sku, value: gpu, effect: NoSchedule}]
)";
  kube::Object object(kube::ParseYaml(text).value().front());
  if (!extra_yaml.empty()) {
    kube::MergePatch(object.mutable_json(), kube::ParseYaml(extra_yaml).value().front());
  }
  return object;
}

std::string InvalidOf(std::string_view extra_yaml) {
  return ParseNodeClaim(Claim(extra_yaml), "eastus").invalid;
}

TEST(NodeClaimTest, AClaimAsKaitoWritesItIsRead) {
  const NodeRequest request = ParseNodeClaim(Claim(), "eastus");
  EXPECT_EQ(request.invalid, "");
  EXPECT_THAT(request.sizes, ElementsAre("Standard_NC24ads_A100_v4"));
  EXPECT_THAT(request.capacity_types, ElementsAre("on-demand"));
  EXPECT_EQ(request.storage_gib, 2) << "rounded up";
  EXPECT_THAT(request.taints, ElementsAre(Taint{"sku", "gpu", "NoSchedule"}));
  EXPECT_TRUE(request.free_labels.empty());
}

TEST(NodeClaimTest, EachFaultNamesItsField) {
  EXPECT_THAT(InvalidOf("spec: {requirements: []}"), HasSubstr("node.kubernetes.io/instance-type"));
  EXPECT_THAT(InvalidOf("spec: {requirements: [{key: node.kubernetes.io/instance-type, operator: "
                        "NotIn, values: [Standard_A1]}]}"),
              HasSubstr("node.kubernetes.io/instance-type"));
  EXPECT_THAT(InvalidOf("spec: {resources: {requests: {storage: 0}}}"), HasSubstr("storage"));
  EXPECT_THAT(InvalidOf("spec: {resources: {requests: {storage: 3Ti}}}"), HasSubstr("storage"));
  EXPECT_THAT(InvalidOf("spec: {resources: null}"), HasSubstr("storage"));
  EXPECT_THAT(InvalidOf("metadata: {name: ws12345678901}"), HasSubstr("metadata.name"));
  EXPECT_THAT(InvalidOf("metadata: {name: w-s}"), HasSubstr("metadata.name"));
  EXPECT_THAT(InvalidOf("metadata: {labels: {kubernetes.azure.com/mode: system}}"),
              HasSubstr("kubernetes.azure.com/mode"));
  EXPECT_THAT(InvalidOf("metadata: {annotations: {kaito.sh/node-image-family: windows}}"),
              HasSubstr("node-image-family"));
}

TEST(NodeClaimTest, TwoSizesThatExcludeEachOtherAreInvalid) {
  EXPECT_THAT(
      InvalidOf("spec: {requirements: [{key: node.kubernetes.io/instance-type, operator: In, "
                "values: [A]}, {key: karpenter.azure.com/sku-name, operator: In, values: [B]}]}"),
      HasSubstr("karpenter.azure.com/sku-name"));
}

TEST(NodeClaimTest, ZonesAreOfTheOwnRegion) {
  const auto with_zone = [](const std::string& zone) {
    return "spec: {requirements: [{key: node.kubernetes.io/instance-type, operator: In, values: "
           "[A]}, {key: topology.kubernetes.io/zone, operator: In, values: [\"" +
           zone + "\"]}]}";
  };
  EXPECT_THAT(ParseNodeClaim(Claim(with_zone("eastus-2")), "eastus").zones, ElementsAre("2"));
  EXPECT_THAT(ParseNodeClaim(Claim(with_zone("0")), "eastus").zones, ElementsAre("0"));
  EXPECT_THAT(InvalidOf(with_zone("westus-2")), HasSubstr("topology.kubernetes.io/zone"));
}

TEST(NodeClaimTest, CapacityTypesComeReservedSpotOnDemand) {
  const std::string yaml =
      "spec: {requirements: [{key: node.kubernetes.io/instance-type, operator: In, values: [A]}, "
      "{key: karpenter.sh/capacity-type, operator: In, values: [on-demand, spot]}]}";
  EXPECT_THAT(ParseNodeClaim(Claim(yaml), "eastus").capacity_types,
              ElementsAre("spot", "on-demand"));
}

TEST(NodeClaimTest, OnlyKaitoClaimsAreOurs) {
  EXPECT_TRUE(IsOurs(Claim()));
  EXPECT_TRUE(IsOurs(Claim("metadata: {labels: null}"))) << "the class alone is enough";
  const std::string foreign_class =
      "spec: {nodeClassRef: {group: karpenter.azure.com, kind: AKSNodeClass, name: x}}\n";
  EXPECT_TRUE(IsOurs(Claim(foreign_class))) << "the label alone is enough";
  EXPECT_FALSE(IsOurs(Claim(foreign_class + "metadata: {labels: null}")));
  EXPECT_FALSE(IsOurs(Claim(foreign_class +
                            "metadata: {ownerReferences: [{apiVersion: karpenter.sh/v1, kind: "
                            "NodePool, name: p, uid: u}]}")));
}

TEST(OfferingRefTest, IsReadAsWritten) {
  for (const OfferingRef& offering :
       {OfferingRef{"Standard_A", "", "on-demand"}, OfferingRef{"Standard_B", "2", "spot"}}) {
    EXPECT_EQ(OfferingRef::Parse(offering.ToString()), offering);
  }
  EXPECT_EQ(OfferingRef::Parse("nonsense"), std::nullopt);
}

}  // namespace
}  // namespace gpu_provisioner

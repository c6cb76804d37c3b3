#include "gpu-provisioner/drain.h"

#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "common/kube/json.h"

namespace gpu_provisioner {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

std::optional<int> GroupOf(std::string_view yaml) {
  return DrainGroup(kube::Object(kube::ParseYaml(yaml).value().front()), kNow);
}

TEST(DrainGroupTest, OrdinaryPodsGoFirstAndCriticalDaemonsLast) {
  EXPECT_EQ(GroupOf("spec: {}"), 0);
  EXPECT_EQ(GroupOf("metadata: {ownerReferences: [{kind: DaemonSet}]}"), 1);
  EXPECT_EQ(GroupOf("spec: {priorityClassName: system-node-critical}"), 2);
  EXPECT_EQ(GroupOf("metadata: {ownerReferences: [{kind: DaemonSet}]}\n"
                    "spec: {priorityClassName: system-cluster-critical}"),
            3);
}

TEST(DrainGroupTest, PodsThatNeedNoDrainStay) {
  EXPECT_EQ(GroupOf("status: {phase: Succeeded}"), std::nullopt);
  EXPECT_EQ(GroupOf("metadata: {annotations: {kubernetes.io/config.mirror: x}}"), std::nullopt);
  EXPECT_EQ(GroupOf("spec: {tolerations: [{operator: Exists}]}"), std::nullopt);
  EXPECT_EQ(GroupOf("spec: {tolerations: [{key: other, operator: Exists}]}"), 0);
  EXPECT_EQ(GroupOf("spec: {tolerations: [{key: karpenter.sh/disrupted, operator: Exists, effect: "
                    "NoExecute}]}"),
            0);
}

TEST(DrainGroupTest, APodOfADeadKubeletIsPassedOverAfterAMinute) {
  const std::string yaml = "metadata: {deletionTimestamp: \"";
  EXPECT_EQ(GroupOf(yaml + kube::FormatTime(kNow - absl::Seconds(59)) + "\"}"), 0);
  EXPECT_EQ(GroupOf(yaml + kube::FormatTime(kNow - absl::Seconds(61)) + "\"}"), std::nullopt);
}

}  // namespace
}  // namespace gpu_provisioner

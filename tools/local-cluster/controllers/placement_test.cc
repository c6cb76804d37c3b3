#include "absl/strings/str_format.h"
#include "gtest/gtest.h"

#include "local-cluster/controllers/scheduler.h"

namespace local_cluster {
namespace {

kube::Object Node(std::string_view name, std::string_view more_spec = "", int gpus = 0,
                  std::string_view cpu = "4") {
  return *kube::Object::Parse(absl::StrFormat(
      R"({"metadata": {"name": "%s", "labels": {"kubernetes.io/hostname": "%s", "type": "%s"}},
          "spec": {%s}, "status": {"allocatable": {"cpu": "%s", "memory": "8Gi", "pods": "10"%s},
          "conditions": [{"type": "Ready", "status": "True"}]}})",
      name, name, gpus > 0 ? "gpu" : "cpu", more_spec, cpu,
      gpus > 0 ? absl::StrFormat(R"(, "nvidia.com/gpu": "%d")", gpus) : ""));
}

kube::Object Pod(std::string_view spec, std::string_view uid = "p") {
  return *kube::Object::Parse(absl::StrFormat(
      R"({"metadata": {"name": "%s", "namespace": "d", "uid": "%s", "labels": {"app": "x"}}, "spec": {%s}})",
      uid, uid, spec));
}

constexpr std::string_view kWantsGpu =
    R"("containers": [{"resources": {"limits": {"nvidia.com/gpu": "1"}}}])";
constexpr std::string_view kTaint =
    R"("taints": [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}])";

TEST(PlacementTest, MissingGpuIsSaidInUpstreamsWords) {
  const Placement placement = PlacePod(Pod(kWantsGpu), {Node("a")}, {});
  EXPECT_EQ(placement.node, "");
  EXPECT_EQ(placement.message,
            "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. preemption: 0/1 nodes are "
            "available: 1 No preemption victims found for incoming pod.");
  EXPECT_EQ(PlacePod(Pod(kWantsGpu), {}, {}).message, "no nodes available to schedule pods");
}

TEST(PlacementTest, GpuThatAnotherPodHasIsNotFree) {
  const std::vector<kube::Object> nodes = {Node("a", "", 1)};
  EXPECT_EQ(PlacePod(Pod(kWantsGpu), nodes, {}).node, "a");
  const kube::Object other = Pod(absl::StrFormat(R"("nodeName": "a", %s)", kWantsGpu), "other");
  EXPECT_EQ(PlacePod(Pod(kWantsGpu), nodes, {other}).node, "");
}

TEST(PlacementTest, TaintsAreObeyedUnlessTolerated) {
  const std::vector<kube::Object> nodes = {Node("a", kTaint, 1)};
  EXPECT_EQ(PlacePod(Pod(kWantsGpu), nodes, {}).message,
            "0/1 nodes are available: 1 node(s) had untolerated taint {sku: gpu}. preemption: 0/1 "
            "nodes are available: 1 Preemption is not helpful for scheduling.");
  for (const std::string_view toleration :
       {R"({"key": "sku", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"})",
        R"({"key": "sku", "operator": "Exists"})", R"({"operator": "Exists"})"}) {
    const std::string spec = absl::StrFormat(R"("tolerations": [%s], %s)", toleration, kWantsGpu);
    EXPECT_EQ(PlacePod(Pod(spec), nodes, {}).node, "a") << toleration;
  }
}

TEST(PlacementTest, NodeSelectorAndRequiredAffinityMustMatch) {
  const std::vector<kube::Object> nodes = {Node("a"), Node("b", "", 1)};
  EXPECT_EQ(PlacePod(Pod(R"("nodeSelector": {"type": "gpu"})"), nodes, {}).node, "b");
  EXPECT_EQ(
      PlacePod(
          Pod(R"("affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
           {"nodeSelectorTerms": [{"matchExpressions":
             [{"key": "type", "operator": "NotIn", "values": ["gpu"]}]}]}}})"),
          nodes, {})
          .node,
      "a");
  EXPECT_EQ(PlacePod(Pod(R"("nodeSelector": {"type": "tpu"})"), nodes, {}).message,
            "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. "
            "preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.");
}

TEST(PlacementTest, AntiAffinityByHostSpreadsPods) {
  constexpr std::string_view kApart =
      R"("affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
           [{"topologyKey": "kubernetes.io/hostname",
             "labelSelector": {"matchLabels": {"app": "x"}}}]}})";
  const kube::Object other = Pod(R"("nodeName": "a")", "other");
  EXPECT_EQ(PlacePod(Pod(kApart), {Node("a", "", 0, "8"), Node("b")}, {other}).node, "b");
  EXPECT_EQ(PlacePod(Pod(kApart), {Node("a")}, {other}).message,
            "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules. preemption: "
            "0/1 nodes are available: 1 Preemption is not helpful for scheduling.");
}

TEST(PlacementTest, RequestsOfInitContainersCountOnceAndSidecarsAlways) {
  const Resources requests = PodRequests(Pod(
      R"("initContainers": [{"resources": {"requests": {"cpu": "3"}}},
                            {"restartPolicy": "Always", "resources": {"requests": {"cpu": "500m"}}}],
         "containers": [{"resources": {"requests": {"cpu": "1"}}},
                        {"resources": {"requests": {"cpu": "250m"}}}])"));
  EXPECT_DOUBLE_EQ(requests.at("cpu"), 3.0);
}

}  // namespace
}  // namespace local_cluster

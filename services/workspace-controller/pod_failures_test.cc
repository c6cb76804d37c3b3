#include "workspace-controller/pod_failures.h"

#include <string>

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "common/base/check.h"

namespace workspace_controller {
namespace {

using ::testing::HasSubstr;

kube::Object PodWith(std::string_view status) {
  auto pod =
      kube::Object::Parse(absl::StrFormat(R"({"metadata":{"name":"ws-0"},"status":%s})", status));
  CHECK_OK(pod);
  return *pod;
}

kube::Object PodWithContainer(std::string_view container) {
  return PodWith(absl::StrFormat(R"({"containerStatuses":[%s]})", container));
}

TEST(ClassifyPodTest, EachFailureHasItsReasonAndItsWords) {
  const struct {
    const char* container;
    const char* reason;
    const char* words;
  } rows[] = {
      {R"({"name":"ws","state":{"terminated":{"reason":"OOMKilled","exitCode":137}}})",
       "ContainerOOMKilled", "137"},
      {R"({"name":"ws","image":"reg/x:1","state":{"waiting":{"reason":"ImagePullBackOff","message":"no such tag"}}})",
       "ImagePullError", "reg/x:1"},
      {R"({"name":"ws","state":{"waiting":{"reason":"CreateContainerConfigError","message":"secret \"s\" not found"}}})",
       "ContainerStartError", "not found"},
      {R"({"name":"ws","state":{"waiting":{"reason":"CrashLoopBackOff"}},
           "lastState":{"terminated":{"exitCode":3,"message":"no .gguf in /workspace/weights"}}})",
       "ContainerCrashLoopBackOff", "exit code 3: no .gguf"},
  };
  for (const auto& row : rows) {
    const PodFailure failure = ClassifyPod(PodWithContainer(row.container));
    EXPECT_EQ(failure.reason, row.reason);
    EXPECT_THAT(failure.message, HasSubstr(row.words));
    EXPECT_THAT(failure.message, HasSubstr("ws-0"));
  }
}

TEST(ClassifyPodTest, OutOfMemoryWinsOverTheBackOffThatFollows) {
  const PodFailure failure = ClassifyPod(PodWithContainer(
      R"({"name":"ws","state":{"waiting":{"reason":"CrashLoopBackOff"}},
          "lastState":{"terminated":{"reason":"OOMKilled","exitCode":137}}})"));
  EXPECT_EQ(failure.reason, "ContainerOOMKilled");
}

TEST(ClassifyPodTest, ContainerThatRunsAgainAfterACrashIsNoFailure) {
  const PodFailure failure = ClassifyPod(PodWithContainer(
      R"({"name":"ws","ready":true,"state":{"running":{}},
          "lastState":{"terminated":{"reason":"OOMKilled","exitCode":137}}})"));
  EXPECT_EQ(failure.severity, 0);
}

TEST(ClassifyPodTest, EvictedAndUnschedulablePodsAreToldByTheirOwnWords) {
  EXPECT_EQ(
      ClassifyPod(
          PodWith(R"({"reason":"Evicted","message":"The node was low on resource: memory."})"))
          .reason,
      "NodeMemoryPressure");
  EXPECT_EQ(
      ClassifyPod(PodWith(R"({"reason":"Evicted","message":"low on resource: ephemeral-storage"})"))
          .reason,
      "NodeDiskPressure");
  const PodFailure failure = ClassifyPod(PodWith(
      R"({"conditions":[{"type":"PodScheduled","status":"False","reason":"Unschedulable",
          "message":"0/3 nodes are available"}]})"));
  EXPECT_EQ(failure.reason, "Unschedulable");
  EXPECT_THAT(failure.message, HasSubstr("0/3 nodes"));
}

TEST(ClassifyPodTest, WorstPodOfAGroupSpeaksForIt) {
  const PodFailure failure = WorstFailure(
      {PodWith(
           R"({"conditions":[{"type":"PodScheduled","status":"False","reason":"Unschedulable"}]})"),
       PodWithContainer(R"({"name":"ws","state":{"waiting":{"reason":"ErrImagePull"}}})")});
  EXPECT_EQ(failure.reason, "ImagePullError");
  EXPECT_EQ(WorstFailure({}).severity, 0);
}

TEST(PodPhaseTest, FollowsThePodFromItsImageToServing) {
  EXPECT_EQ(PodPhase(PodWith("{}")), "PullingImage");
  EXPECT_EQ(PodPhase(PodWithContainer(
                R"({"name":"ws","state":{"waiting":{"reason":"ContainerCreating"}}})")),
            "PullingImage");
  EXPECT_EQ(PodPhase(PodWithContainer(R"({"name":"ws","state":{"running":{}}})")),
            "LoadingWeights");
  EXPECT_EQ(PodPhase(PodWith(R"({"conditions":[{"type":"Ready","status":"True"}]})")), "Serving");
}

}  // namespace
}  // namespace workspace_controller

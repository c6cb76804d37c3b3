#include "local-cluster/runner/pod_plan.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace local_cluster {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Phase = ContainerState::Phase;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

PodSpec Spec(RestartPolicy policy, std::vector<ContainerSpec> containers) {
  PodSpec spec;
  spec.restart_policy = policy;
  spec.containers = std::move(containers);
  return spec;
}

ContainerSpec Main(std::string name) {
  ContainerSpec container;
  container.name = std::move(name);
  return container;
}

ContainerSpec Init(std::string name, bool sidecar = false) {
  ContainerSpec container = Main(std::move(name));
  container.init = true;
  container.sidecar = sidecar;
  return container;
}

ContainerState Ended(int exit_code, absl::Duration backoff = absl::ZeroDuration()) {
  ContainerState state;
  state.phase = Phase::kTerminated;
  state.termination = Termination{.exit_code = exit_code, .finished_at = kNow};
  state.backoff = backoff;
  return state;
}

ContainerState Running(bool started = true) {
  ContainerState state;
  state.phase = Phase::kRunning;
  state.started = started;
  return state;
}

TEST(PodPlanTest, InitContainersRunOneAfterTheOtherAndBeforeTheRest) {
  const PodSpec spec = Spec(RestartPolicy::kAlways, {Init("a"), Init("b"), Main("m"), Main("n")});
  EXPECT_THAT(PlanPod(spec, {}, false, kNow).start, ElementsAre("a"));
  EXPECT_THAT(PlanPod(spec, {{"a", Running()}}, false, kNow).start, IsEmpty());
  EXPECT_THAT(PlanPod(spec, {{"a", Ended(0)}}, false, kNow).start, ElementsAre("b"));
  EXPECT_THAT(PlanPod(spec, {{"a", Ended(0)}, {"b", Ended(0)}}, false, kNow).start,
              ElementsAre("m", "n"));
}

TEST(PodPlanTest, SidecarRunsOnAndIsStoppedLast) {
  const PodSpec spec = Spec(RestartPolicy::kNever, {Init("s", true), Main("m")});
  EXPECT_THAT(PlanPod(spec, {{"s", Running(false)}}, false, kNow).start, IsEmpty());
  EXPECT_THAT(PlanPod(spec, {{"s", Running()}}, false, kNow).start, ElementsAre("m"));
  EXPECT_THAT(PlanPod(spec, {{"s", Running()}, {"m", Running()}}, true, kNow).stop,
              ElementsAre("m"));
  EXPECT_THAT(PlanPod(spec, {{"s", Running()}, {"m", Ended(0)}}, false, kNow).stop,
              ElementsAre("s"));
  EXPECT_THAT(PlanPod(spec, {{"s", Ended(1)}, {"m", Ended(0)}}, true, kNow).start, IsEmpty());
}

TEST(PodPlanTest, FailedInitContainerEndsAPodThatNeverRestarts) {
  const PodSpec never = Spec(RestartPolicy::kNever, {Init("a"), Main("m")});
  const ContainerStates states = {{"a", Ended(3)}};
  EXPECT_TRUE(PlanPod(never, states, false, kNow).all_ended);
  EXPECT_EQ(ComputePhase(never, states, false), PodPhase::kFailed);

  const PodSpec always = Spec(RestartPolicy::kAlways, {Init("a"), Main("m")});
  EXPECT_THAT(PlanPod(always, states, false, kNow).start, ElementsAre("a"));
  EXPECT_EQ(ComputePhase(always, states, false), PodPhase::kPending);
}

TEST(PodPlanTest, RestartsWaitImmediatelyThenTenTwentyFortySecondsUpToFiveMinutes) {
  absl::Duration backoff = absl::ZeroDuration();
  std::vector<int64_t> seconds;
  for (int i = 0; i < 8; ++i) {
    seconds.push_back(absl::ToInt64Seconds(backoff));
    backoff = NextBackoff(backoff, absl::Seconds(1));
  }
  EXPECT_THAT(seconds, ElementsAre(0, 10, 20, 40, 80, 160, 300, 300));
  EXPECT_EQ(NextBackoff(backoff, absl::Minutes(10)), absl::ZeroDuration());
}

TEST(PodPlanTest, ContainerInBackoffIsStartedWhenItIsDue) {
  const PodSpec spec = Spec(RestartPolicy::kAlways, {Main("m")});
  const ContainerStates states = {{"m", Ended(1, absl::Seconds(10))}};
  const PodPlan early = PlanPod(spec, states, false, kNow + absl::Seconds(9));
  EXPECT_THAT(early.start, IsEmpty());
  EXPECT_EQ(early.wake_at, kNow + absl::Seconds(10));
  EXPECT_THAT(PlanPod(spec, states, false, kNow + absl::Seconds(10)).start, ElementsAre("m"));
}

TEST(PodPlanTest, RestartPolicyDecidesWhatAnEndMeans) {
  const PodSpec on_failure = Spec(RestartPolicy::kOnFailure, {Main("m")});
  EXPECT_TRUE(PlanPod(on_failure, {{"m", Ended(0)}}, false, kNow).all_ended);
  EXPECT_THAT(PlanPod(on_failure, {{"m", Ended(1)}}, false, kNow).start, ElementsAre("m"));
  EXPECT_EQ(ComputePhase(on_failure, {{"m", Ended(0)}}, false), PodPhase::kSucceeded);
  EXPECT_EQ(ComputePhase(on_failure, {{"m", Ended(1)}}, false), PodPhase::kRunning);

  const PodSpec never = Spec(RestartPolicy::kNever, {Main("m"), Main("n")});
  EXPECT_EQ(ComputePhase(never, {{"m", Ended(0)}, {"n", Ended(1)}}, false), PodPhase::kFailed);
  EXPECT_EQ(ComputePhase(never, {{"m", Ended(0)}, {"n", Running()}}, false), PodPhase::kRunning);
}

}  // namespace
}  // namespace local_cluster

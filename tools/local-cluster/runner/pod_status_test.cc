#include "local-cluster/runner/pod_status.h"

#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "common/kube/json.h"

namespace local_cluster {
namespace {

using Phase = ContainerState::Phase;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

kube::Object Pod() {
  return *kube::Object::Parse(R"({"metadata": {"name": "p", "namespace": "d", "uid": "u"},
    "spec": {"restartPolicy": "Always", "initContainers": [{"name": "i", "image": "init"}],
             "containers": [{"name": "m", "image": "main"}]}})");
}

boost::json::value Status(const kube::Object& pod, const ContainerStates& states) {
  return ComputePodStatus(pod, *ParsePodSpec(pod), states,
                          {.pod_ip = "127.32.0.1", .start_time = kNow}, kNow);
}

std::string ConditionStatus(const boost::json::value& status, std::string_view type) {
  for (const auto& condition : status.at("conditions").as_array()) {
    if (kube::StringAt(condition, {"type"}) == type) {
      return std::string(kube::StringAt(condition, {"status"}));
    }
  }
  return "absent";
}

ContainerState Ended(int exit_code) {
  ContainerState state;
  state.phase = Phase::kTerminated;
  state.container_id = "local://1";
  state.termination = Termination{
      .exit_code = exit_code, .reason = "Error", .started_at = kNow, .finished_at = kNow};
  return state;
}

TEST(PodStatusTest, PodThatHasNotStartedIsPendingAndNotInitialized) {
  const auto status = Status(Pod(), {});
  EXPECT_EQ(kube::StringAt(status, {"phase"}), "Pending");
  EXPECT_EQ(ConditionStatus(status, "Initialized"), "False");
  EXPECT_EQ(status.at("containerStatuses").at(0).at("state").at("waiting").at("reason"),
            "PodInitializing");
}

TEST(PodStatusTest, RunningAndReadyContainersMakeThePodReady) {
  ContainerState running;
  running.phase = Phase::kRunning;
  running.started = running.ready = true;
  running.started_at = kNow;
  const auto status = Status(Pod(), {{"i", Ended(0)}, {"m", running}});
  EXPECT_EQ(kube::StringAt(status, {"phase"}), "Running");
  EXPECT_EQ(ConditionStatus(status, "Ready"), "True");
  EXPECT_EQ(ConditionStatus(status, "ContainersReady"), "True");
}

TEST(PodStatusTest, ContainerInBackoffIsInCrashLoopBackOffWithItsLastEnd) {
  ContainerState crashed = Ended(1);
  crashed.backoff = absl::Seconds(20);
  crashed.restarts = 2;
  const auto status = Status(Pod(), {{"i", Ended(0)}, {"m", crashed}});
  const auto& container = status.at("containerStatuses").at(0);
  EXPECT_EQ(container.at("state").at("waiting").at("reason"), "CrashLoopBackOff");
  EXPECT_EQ(container.at("state").at("waiting").at("message"),
            "back-off 20s restarting failed container=m pod=p_d(u)");
  EXPECT_EQ(container.at("lastState").at("terminated").at("exitCode"), 1);
  EXPECT_EQ(kube::StringAt(status, {"phase"}), "Running");
}

TEST(PodStatusTest, TransitionTimesMoveOnlyWithTheStatus) {
  kube::Object pod = Pod();
  pod.mutable_json().as_object()["status"] = Status(pod, {});
  const auto later =
      ComputePodStatus(pod, *ParsePodSpec(pod), {}, {.start_time = kNow}, kNow + absl::Hours(1));
  EXPECT_EQ(later.at("conditions"), pod.json().at("status").at("conditions"));
}

TEST(PodStatusTest, ContainerThatRanBeforeARestartHasEndedAndIsToBeStartedAgain) {
  ContainerState running;
  running.phase = Phase::kRunning;
  running.started_at = kNow;
  running.restarts = 4;
  kube::Object pod = Pod();
  pod.mutable_json().as_object()["status"] = Status(pod, {{"i", Ended(0)}, {"m", running}});
  const PodSpec spec = *ParsePodSpec(pod);
  const ContainerStates states = RestoreStates(pod, spec, kNow);
  EXPECT_EQ(states.at("m").phase, Phase::kTerminated);
  EXPECT_EQ(states.at("m").termination->reason, "ContainerStatusUnknown");
  EXPECT_EQ(states.at("m").restarts, 4);
  EXPECT_EQ(PlanPod(spec, states, false, kNow).start, std::vector<std::string>{"i"});
}

}  // namespace
}  // namespace local_cluster

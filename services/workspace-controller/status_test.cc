#include "workspace-controller/status.h"

#include <algorithm>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "common/kube/json.h"
#include "workspace-controller/testing.h"

namespace workspace_controller {
namespace {

namespace json = boost::json;
using ::testing::HasSubstr;
using ::testing::IsSubsetOf;

// A Workspace at some point of its way, and what is said of it.
struct Scene {
  Workspace workspace = Read(WorkspaceObject());
  Observed observed = ObservedFor(workspace);

  Decision decision() const {
    return Decide(workspace, observed, ShippedPresets(), ShippedTypes(), {});
  }
  std::vector<kube::Condition> conditions(const absl::Status& applied = absl::OkStatus()) const {
    return ComputeConditions(workspace, observed, decision(), applied, {});
  }
  kube::Condition condition(std::string_view type) const {
    for (const kube::Condition& condition : conditions()) {
      if (condition.type == type) return condition;
    }
    return {.status = "absent"};
  }
  json::value status() const {
    return ComputeStatus(workspace, observed, decision(), absl::OkStatus(), {});
  }
  void AddReadyNode() {
    observed.claims = {ReadClaim(ClaimObject(ClaimName(workspace, 0), "node-a"))};
    observed.nodes = {ReadNode(NodeObject("node-a"))};
  }
  void AddSet(int ready) {
    observed.stateful_set = kube::Object(
        json::object{{"metadata", {{"name", "ws"}, {"generation", 1}}},
                     {"spec", {{"replicas", 1}}},
                     {"status", {{"observedGeneration", 1}, {"readyReplicas", ready}}}});
  }
};

TEST(StatusTest, FirstReconcileWritesEveryConditionWithItsGeneration) {
  Scene scene;
  for (const char* type : {"NodeClaimReady", "NodesReady", "ResourceReady", "InferenceReady",
                           "WorkspaceSucceeded", "WorkspaceReady", "Ready", "Reconciling"}) {
    const kube::Condition condition = scene.condition(type);
    EXPECT_NE(condition.status, "absent") << type;
    EXPECT_EQ(condition.observed_generation, 3) << type;
    EXPECT_FALSE(condition.reason.empty()) << type;
    EXPECT_FALSE(condition.message.empty()) << type;
  }
  EXPECT_EQ(kube::StringAt(scene.status(), {"state"}), "Pending");
  EXPECT_EQ(kube::IntAt(scene.status(), {"targetNodeCount"}), 1);
  EXPECT_EQ(kube::StringAt(scene.status(), {"progress", "phase"}), "Provisioning");
}

TEST(StatusTest, TheCloudsOwnReasonReachesResourceReadyWordForWord) {
  Scene scene;
  ClaimView claim = ReadClaim(ClaimObject(ClaimName(scene.workspace, 0), "", false));
  claim.waiting_for = {.type = "Launched",
                       .status = "False",
                       .reason = "QuotaExceeded",
                       .message =
                           "quota of StandardNCADSA100v4Family in eastus: limit 24, used 24, "
                           "need 24 for Standard_NC24ads_A100_v4"};
  scene.observed.claims = {claim};
  for (const char* type : {"NodeClaimReady", "ResourceReady"}) {
    EXPECT_EQ(scene.condition(type).status, "False");
    EXPECT_EQ(scene.condition(type).reason, "QuotaExceeded");
    EXPECT_EQ(scene.condition(type).message, claim.waiting_for.message);
  }
}

TEST(StatusTest, AdviceStandsInUntilTheClaimSpeaksForItself) {
  Scene scene;
  scene.observed.advice = Advice{.reason = "QuotaExceeded", .message = "limit 0"};
  EXPECT_EQ(scene.condition("ResourceReady").reason, "QuotaExceeded");
}

TEST(StatusTest, ReadyNodesWithoutAnAnsweringServerAreHalfTheWay) {
  Scene scene;
  scene.AddReadyNode();
  EXPECT_EQ(scene.condition("ResourceReady").status, "True");
  EXPECT_EQ(scene.condition("ResourceReady").reason, "workspaceResourceStatusSuccess");
  EXPECT_EQ(scene.condition("InferenceReady").reason, "WorkspaceInferenceStatusPending");
  EXPECT_EQ(json::serialize(*kube::FindPath(scene.status(), {"workerNodes"})), R"(["node-a"])");
}

TEST(StatusTest, EverythingReadyIsSucceededReadyAndNothingElse) {
  Scene scene;
  scene.AddReadyNode();
  scene.AddSet(1);
  for (const char* type : {"NodeClaimReady", "NodesReady", "ResourceReady", "InferenceReady",
                           "WorkspaceSucceeded", "WorkspaceReady", "Ready"}) {
    EXPECT_EQ(scene.condition(type).status, "True") << type;
  }
  EXPECT_EQ(scene.condition("Reconciling").status, "absent");
  EXPECT_EQ(scene.condition("WorkspaceSucceeded").reason, "workspaceSucceeded");
  EXPECT_EQ(kube::StringAt(scene.status(), {"state"}), "Ready");
  EXPECT_EQ(kube::StringAt(scene.status(), {"progress", "phase"}), "Serving");
}

TEST(StatusTest, CrashAfterReadyIsNotReadyWithTheExitCode) {
  Scene scene;
  scene.workspace = Read(Patched(WorkspaceObject(), R"({"status":{"state":"Ready"}})"));
  scene.AddReadyNode();
  scene.AddSet(0);
  scene.observed.pods = {kube::Object(json::object{
      {"metadata", {{"name", "ws-0"}}},
      {"status",
       {{"containerStatuses",
         json::array{json::object{{"name", "ws"},
                                  {"state", {{"waiting", {{"reason", "CrashLoopBackOff"}}}}},
                                  {"lastState", {{"terminated", {{"exitCode", 9}}}}}}}}}}})};
  EXPECT_EQ(scene.condition("InferenceReady").reason, "ContainerCrashLoopBackOff");
  EXPECT_THAT(scene.condition("InferenceReady").message, HasSubstr("exit code 9"));
  EXPECT_EQ(kube::StringAt(scene.status(), {"state"}), "NotReady");
}

TEST(StatusTest, NodeWithoutItsGpuWaitsForThePlugin) {
  Scene scene;
  scene.AddReadyNode();
  scene.observed.nodes[0].gpus = 0;
  EXPECT_EQ(scene.condition("NodesReady").reason, "NodePluginsNotReady");
  EXPECT_EQ(scene.condition("ResourceReady").reason, "NodePluginsNotReady");
  scene.observed.nodes[0].gpus = 1;
  scene.observed.nodes[0].pressures = {"DiskPressure"};
  EXPECT_THAT(scene.condition("NodesReady").message, HasSubstr("under resource pressure: node-a"));
}

TEST(StatusTest, WhatOnlyTheUserCanMendIsStalled) {
  Scene scene;
  scene.workspace = Read(WorkspaceObject("nope"));
  scene.observed = ObservedFor(scene.workspace);
  EXPECT_EQ(scene.condition("ResourceReady").reason, "InvalidSpec");
  EXPECT_THAT(scene.condition("ResourceReady").message,
              HasSubstr("Unsupported inference preset name nope"));
  EXPECT_EQ(scene.condition("Stalled").status, "True");
  EXPECT_EQ(scene.condition("Reconciling").status, "absent");
  EXPECT_EQ(scene.condition("WorkspaceSucceeded").reason, "workspaceFailed");
  EXPECT_EQ(kube::StringAt(scene.status(), {"progress", "phase"}), "Planning");
}

TEST(StatusTest, TuningIsAnsweredWithAClearCondition) {
  Scene scene;
  scene.workspace =
      Read(Patched(WorkspaceObject(), R"({"inference":null,"tuning":{"method":"qlora"}})"));
  scene.observed = ObservedFor(scene.workspace);
  EXPECT_EQ(scene.condition("JobStarted").status, "False");
  EXPECT_EQ(scene.condition("InferenceReady").status, "absent");
  EXPECT_THAT(scene.condition("ResourceReady").message, HasSubstr("does not tune"));
}

TEST(StatusTest, SecondLookAtTheSameThingChangesNothing) {
  Scene scene;
  scene.AddReadyNode();
  scene.AddSet(1);
  const json::value first = scene.status();
  scene.workspace.object.mutable_json().as_object()["status"] = first;
  scene.workspace = Read(scene.workspace.object);
  scene.observed.now += absl::Hours(1);
  EXPECT_EQ(scene.status(), first);
}

TEST(StatusTest, FailedReconcileIsSaidBesideTheReason) {
  Scene scene;
  const auto conditions = scene.conditions(absl::UnavailableError("create node claim: refused"));
  const auto found = std::ranges::find(conditions, "ResourceReady", &kube::Condition::type);
  EXPECT_THAT(found->message, HasSubstr("(last reconcile error: create node claim: refused)"));
}

TEST(StatusTest, WhileDeletingOnlyThatIsWritten) {
  Scene scene;
  const json::value status =
      DeletingStatus(scene.workspace, absl::PermissionDeniedError("403"), scene.observed.now);
  const json::array& conditions = kube::FindPath(status, {"conditions"})->get_array();
  ASSERT_EQ(conditions.size(), 1);
  EXPECT_EQ(kube::StringAt(conditions[0], {"type"}), "WorkspaceDeleting");
  EXPECT_THAT(std::string(kube::StringAt(conditions[0], {"message"})), HasSubstr("403"));
}

}  // namespace
}  // namespace workspace_controller

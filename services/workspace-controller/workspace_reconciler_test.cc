#include "workspace-controller/workspace_reconciler.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "common/kube/json.h"
#include "common/metrics/metrics.h"
#include "workspace-controller/testing.h"

namespace workspace_controller {
namespace {

namespace json = boost::json;
namespace resources = kube::resources;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

const kube::ObjectKey kKey{"ns", "ws"};

class WorkspaceReconcilerTest : public ::testing::Test {
 protected:
  absl::Status Reconcile() { return reconciler_.Reconcile(kKey).status(); }

  std::string Condition(std::string_view type) {
    const auto workspace = cluster_.Find(resources::kWorkspaces, kKey);
    if (!workspace) return "gone";
    const auto condition = kube::FindCondition(*workspace, type);
    return condition ? condition->status + "/" + condition->reason : "absent";
  }

  std::vector<kube::Object> Claims() { return cluster_.All(resources::kNodeClaims); }

  // The claim gets its node, as the provisioner would do it.
  void ProvisionNodes() {
    for (const kube::Object& claim : Claims()) {
      const std::string name(claim.name());
      kube::Object ready = claim;
      ready.mutable_json().as_object()["status"] =
          *ClaimObject(name, "node-" + name).Find({"status"});
      cluster_.Put(resources::kNodeClaims, ready);
      cluster_.Put(resources::kNodes, NodeObject("node-" + name));
    }
  }

  void MakeSetReady() {
    auto set = cluster_.Find(resources::kStatefulSets, kKey);
    ASSERT_TRUE(set.has_value());
    set->mutable_json().as_object()["status"] = json::object{{"readyReplicas", 1}};
    cluster_.Put(resources::kStatefulSets, *set);
  }

  MemoryCluster cluster_;
  metrics::Registry registry_;
  kube::Client client_{cluster_, {}};
  kube::EventRecorder events_{client_, {.reporting_controller = "test"}};
  Live live_{{}, [](const kube::ObjectKey&) {}};
  Reservations reservations_;
  ControllerMetrics metrics_{registry_};
  WorkspaceReconciler reconciler_{{.client = client_,
                                   .reader = cluster_,
                                   .presets = ShippedPresets(),
                                   .types = ShippedTypes(),
                                   .events = events_,
                                   .live = live_,
                                   .reservations = reservations_,
                                   .metrics = metrics_},
                                  {}};
};

TEST_F(WorkspaceReconcilerTest, NewWorkspaceGetsFinalizerClaimServicesAndConditions) {
  cluster_.Put(resources::kWorkspaces, WorkspaceObject());
  EXPECT_TRUE(Reconcile().ok());
  EXPECT_TRUE(cluster_.Find(resources::kWorkspaces, kKey)->HasFinalizer(kFinalizer));
  ASSERT_THAT(Claims(), SizeIs(1));
  EXPECT_EQ(Claims()[0].name(), ClaimName(Read(WorkspaceObject()), 0));
  EXPECT_THAT(cluster_.All(resources::kServices), SizeIs(2));
  EXPECT_THAT(cluster_.All(resources::kConfigMaps), SizeIs(1));
  EXPECT_THAT(cluster_.All(resources::kStatefulSets), IsEmpty());
  EXPECT_EQ(Condition("ResourceReady"), "False/NodeClaimNotReady");
}

TEST_F(WorkspaceReconcilerTest, ReadyNodeGetsTheWorkloadAndAReadyWorkloadIsSuccess) {
  cluster_.Put(resources::kWorkspaces, WorkspaceObject());
  ASSERT_TRUE(Reconcile().ok());
  ProvisionNodes();
  ASSERT_TRUE(Reconcile().ok());
  EXPECT_EQ(Condition("ResourceReady"), "True/workspaceResourceStatusSuccess");
  EXPECT_THAT(cluster_.All(resources::kStatefulSets), SizeIs(1));
  EXPECT_EQ(cluster_.All(resources::kNodes)[0].label("accelerator"), "nvidia");
  MakeSetReady();
  ASSERT_TRUE(Reconcile().ok());
  EXPECT_EQ(Condition("InferenceReady"), "True/WorkspaceInferenceStatusSuccess");
  EXPECT_EQ(Condition("WorkspaceSucceeded"), "True/workspaceSucceeded");
  EXPECT_THAT(registry_.Text(), HasSubstr("kaito_workspace_count{phase=\"succeeded\"} 1"));
}

TEST_F(WorkspaceReconcilerTest, SecondReconcileWritesNothing) {
  cluster_.Put(resources::kWorkspaces, WorkspaceObject());
  ASSERT_TRUE(Reconcile().ok());
  ProvisionNodes();
  ASSERT_TRUE(Reconcile().ok());
  MakeSetReady();
  ASSERT_TRUE(Reconcile().ok());
  cluster_.ForgetWrites();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Reconcile().ok());
  for (const std::string& write : cluster_.writes()) EXPECT_THAT(write, HasSubstr("/events"));
}

TEST_F(WorkspaceReconcilerTest, CacheThatDoesNotShowTheClaimYetMakesNoSecondOne) {
  cluster_.Put(resources::kWorkspaces, WorkspaceObject());
  ASSERT_TRUE(Reconcile().ok());
  cluster_.HideFromCache(resources::kNodeClaims);
  ASSERT_TRUE(Reconcile().ok());
  cluster_.HideFromCache({});
  EXPECT_THAT(Claims(), SizeIs(1));
}

TEST_F(WorkspaceReconcilerTest, ClaimNameOfSomebodyElseIsPassedOver) {
  const Workspace workspace = Read(WorkspaceObject());
  cluster_.Put(resources::kNodeClaims,
               Patched(ClaimObject(ClaimName(workspace, 0), ""),
                       R"({"metadata":{"labels":{"kaito.sh/workspace":"other"}}})"));
  cluster_.Put(resources::kWorkspaces, WorkspaceObject());
  ASSERT_TRUE(Reconcile().ok());
  EXPECT_TRUE(cluster_.Find(resources::kNodeClaims, {"", ClaimName(workspace, 0, 1)}).has_value());
}

TEST_F(WorkspaceReconcilerTest, UnknownPresetMakesNothingAndSaysSo) {
  cluster_.Put(resources::kWorkspaces, WorkspaceObject("nope"));
  EXPECT_TRUE(Reconcile().ok());
  EXPECT_EQ(Condition("ResourceReady"), "False/InvalidSpec");
  EXPECT_THAT(Claims(), IsEmpty());
  EXPECT_THAT(cluster_.All(resources::kServices), IsEmpty());
}

TEST_F(WorkspaceReconcilerTest, MissingConfigMapHoldsBackUntilItExists) {
  cluster_.Put(resources::kWorkspaces,
               Patched(WorkspaceObject(), R"({"inference":{"config":"cm"}})"));
  ASSERT_TRUE(Reconcile().ok());
  EXPECT_EQ(Condition("ResourceReady"), "False/ConfigMapNotFound");
  EXPECT_THAT(Claims(), IsEmpty());
  cluster_.Put(resources::kConfigMaps,
               kube::Object(json::object{
                   {"apiVersion", "v1"},
                   {"kind", "ConfigMap"},
                   {"metadata", {{"name", "cm"}, {"namespace", "ns"}}},
                   {"data", {{kInferenceConfigKey, "vllm:\n  max-model-len: 4096\n"}}}}));
  ASSERT_TRUE(Reconcile().ok());
  EXPECT_THAT(Claims(), SizeIs(1));
}

TEST_F(WorkspaceReconcilerTest, ServiceOfSomebodyElseIsLeftAloneAndNamed) {
  kube::Object foreign = ServiceFor(Read(WorkspaceObject()));
  foreign.mutable_json().at("metadata").as_object().erase("ownerReferences");
  cluster_.Put(resources::kServices, foreign);
  cluster_.Put(resources::kWorkspaces, WorkspaceObject());
  EXPECT_EQ(Reconcile().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(cluster_.Find(resources::kServices, kKey)->owner_references().empty());
  const auto workspace = cluster_.Find(resources::kWorkspaces, kKey);
  EXPECT_THAT(kube::FindCondition(*workspace, "ResourceReady")->message,
              HasSubstr("does not belong to this Workspace"));
}

TEST_F(WorkspaceReconcilerTest, ServiceOfADeletedNamesakeIsReplaced) {
  const Workspace dead = Read(Patched(WorkspaceObject(), R"({"metadata":{"uid":"uid-0"}})"));
  cluster_.Put(resources::kServices, ServiceFor(dead));
  cluster_.Put(resources::kWorkspaces, WorkspaceObject());
  EXPECT_TRUE(Reconcile().ok());
  const auto service = cluster_.Find(resources::kServices, kKey);
  ASSERT_TRUE(service.has_value());
  EXPECT_EQ(service->controller()->uid, "uid-1");
}

TEST_F(WorkspaceReconcilerTest, FailedClaimIsReportedAndRetried) {
  cluster_.Put(resources::kWorkspaces, WorkspaceObject());
  cluster_.RefuseWith([](const net::Request& request) -> std::optional<net::Response> {
    if (request.method != "POST" || !request.path().ends_with("/nodeclaims")) return std::nullopt;
    return net::Response{
        .status = 403,
        .body =
            R"({"kind":"Status","status":"Failure","reason":"Forbidden","message":"no","code":403})"};
  });
  EXPECT_EQ(Reconcile().code(), absl::StatusCode::kPermissionDenied);
  const auto workspace = cluster_.Find(resources::kWorkspaces, kKey);
  EXPECT_THAT(kube::FindCondition(*workspace, "ResourceReady")->message,
              HasSubstr("last reconcile error"));
}

TEST_F(WorkspaceReconcilerTest, DeletionTakesWorkloadAndClaimsThenTheFinalizer) {
  cluster_.Put(resources::kWorkspaces, WorkspaceObject());
  ASSERT_TRUE(Reconcile().ok());
  ProvisionNodes();
  ASSERT_TRUE(Reconcile().ok());
  cluster_.Put(resources::kWorkspaces,
               Patched(*cluster_.Find(resources::kWorkspaces, kKey),
                       R"({"metadata":{"deletionTimestamp":"2026-01-02T00:00:00Z"}})"));
  cluster_.ForgetWrites();
  ASSERT_TRUE(Reconcile().ok());
  EXPECT_THAT(Claims(), IsEmpty());
  EXPECT_THAT(cluster_.All(resources::kStatefulSets), IsEmpty());
  EXPECT_FALSE(cluster_.Find(resources::kWorkspaces, kKey).has_value());
  for (const std::string& write : cluster_.writes()) EXPECT_THAT(write, Not(HasSubstr("POST")));
  EXPECT_TRUE(Reconcile().ok()) << "gone";
}

TEST_F(WorkspaceReconcilerTest, BlockedDeletionSaysWhyAndKeepsTheFinalizer) {
  cluster_.Put(resources::kWorkspaces, WorkspaceObject());
  ASSERT_TRUE(Reconcile().ok());
  cluster_.Put(resources::kWorkspaces,
               Patched(*cluster_.Find(resources::kWorkspaces, kKey),
                       R"({"metadata":{"deletionTimestamp":"2026-01-02T00:00:00Z"}})"));
  cluster_.RefuseWith([](const net::Request& request) -> std::optional<net::Response> {
    if (request.method != "DELETE") return std::nullopt;
    return net::Response{
        .status = 403,
        .body =
            R"({"kind":"Status","status":"Failure","reason":"Forbidden","message":"no","code":403})"};
  });
  EXPECT_FALSE(Reconcile().ok());
  EXPECT_EQ(Condition("WorkspaceDeleting"), "True/workspaceDeleted");
  EXPECT_TRUE(cluster_.Find(resources::kWorkspaces, kKey)->HasFinalizer(kFinalizer));
}

TEST(ReservationsTest, NodeThatOneHoldsIsSeenByTheOthersUntilItIsReleased) {
  Reservations reservations;
  reservations.Record({"ns", "old"}, {"a"});
  {
    Reservations::Session session(reservations);
    session.Hold({"ns", "x"}, {"b"});
    EXPECT_EQ(session.HolderOf("a", kKey)->name, "old");
    EXPECT_EQ(session.HolderOf("b", kKey)->name, "x");
    EXPECT_EQ(session.HolderOf("b", {"ns", "x"}), std::nullopt);
    session.Hold({"ns", "old"}, {});
    EXPECT_EQ(session.HolderOf("a", kKey), std::nullopt) << "the record is older than the choice";
  }
  reservations.Release({"ns", "x"});
  EXPECT_EQ(Reservations::Session(reservations).HolderOf("b", kKey), std::nullopt);
}

}  // namespace
}  // namespace workspace_controller

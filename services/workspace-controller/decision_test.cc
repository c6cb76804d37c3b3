#include "workspace-controller/decision.h"

#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "common/kube/json.h"
#include "workspace-controller/testing.h"

namespace workspace_controller {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Decision DecideFor(const Workspace& workspace, const Observed& observed,
                   const DecisionOptions& options = {}) {
  return Decide(workspace, observed, ShippedPresets(), ShippedTypes(), options);
}

TEST(ClaimNameTest, IsElevenCharactersAndTheSameAtEveryCall) {
  const Workspace workspace = Read(WorkspaceObject());
  const std::string name = ClaimName(workspace, 0);
  EXPECT_EQ(name.size(), 11);
  EXPECT_TRUE(name.starts_with("ws"));
  EXPECT_EQ(name, ClaimName(workspace, 0));
  EXPECT_NE(name, ClaimName(workspace, 1));
  EXPECT_NE(name, ClaimName(workspace, 0, 1));
}

TEST(DecideTest, NewWorkspaceLacksOneClaimForItsOneNode) {
  const Workspace workspace = Read(WorkspaceObject());
  const Decision decision = DecideFor(workspace, ObservedFor(workspace));
  ASSERT_FALSE(decision.refused()) << decision.message;
  EXPECT_EQ(decision.plan->nodes, 1);
  EXPECT_THAT(decision.claim_slots, ElementsAre(0));
  EXPECT_FALSE(decision.nodes_ready());
}

TEST(DecideTest, ClaimOnItsWayIsNotMadeAgain) {
  const Workspace workspace = Read(WorkspaceObject());
  Observed observed = ObservedFor(workspace);
  observed.claims.push_back(ReadClaim(ClaimObject(ClaimName(workspace, 0), "", false)));
  EXPECT_THAT(DecideFor(workspace, observed).claim_slots, IsEmpty());

  observed.claims[0].being_deleted = true;  // Its name is taken until it has gone.
  EXPECT_THAT(DecideFor(workspace, observed).claim_slots, IsEmpty());
}

TEST(DecideTest, ClaimOfAnotherNameWithTheWorkspacesLabelsIsAdopted) {
  const Workspace workspace = Read(WorkspaceObject());
  Observed observed = ObservedFor(workspace);
  observed.claims.push_back(ReadClaim(ClaimObject("ws0123456789", "", false)));
  EXPECT_THAT(DecideFor(workspace, observed).claim_slots, IsEmpty());
}

TEST(DecideTest, PlanOfSeveralNodesGetsAllItsClaimsTogether) {
  const Workspace workspace =
      Read(Patched(WorkspaceObject("mistral-large-3-675b-instruct"),
                   R"({"resource":{"instanceType":"Standard_ND96isr_H100_v5"}})"));
  const Decision decision = DecideFor(workspace, ObservedFor(workspace));
  ASSERT_FALSE(decision.refused()) << decision.message;
  EXPECT_GE(decision.plan->nodes, 2);
  EXPECT_EQ(static_cast<int>(decision.claim_slots.size()), decision.plan->nodes);
  std::set<std::string> names;
  for (const int slot : decision.claim_slots) names.insert(ClaimName(workspace, slot));
  EXPECT_EQ(names.size(), decision.claim_slots.size());
}

TEST(DecideTest, ReadyNodeIsHeldAndNeedsNoClaim) {
  const Workspace workspace = Read(WorkspaceObject());
  Observed observed = ObservedFor(workspace);
  observed.nodes.push_back(ReadNode(NodeObject("node-a")));
  const Decision decision = DecideFor(workspace, observed);
  ASSERT_EQ(decision.nodes.size(), 1);
  EXPECT_THAT(decision.claim_slots, IsEmpty());
  EXPECT_TRUE(decision.nodes_ready());
}

TEST(DecideTest, NodesOfOthersOfAnotherTypeOrGoingAreNotTaken) {
  const Workspace workspace = Read(WorkspaceObject());
  Observed observed = ObservedFor(workspace);
  NodeView other_type = ReadNode(NodeObject("a", "Standard_NC6s_v3"));
  NodeView held = ReadNode(NodeObject("b"));
  NodeView siblings = ReadNode(NodeObject("c"));
  siblings.labels[std::string(kWorkspaceLabel)] = "sibling";
  NodeView going = ReadNode(NodeObject("d"));
  going.being_deleted = true;
  NodeView not_ready = ReadNode(NodeObject("e"));
  not_ready.ready = false;
  observed.nodes = {other_type, held, siblings, going, not_ready};
  observed.holders["b"] = "ns/other";
  EXPECT_THAT(DecideFor(workspace, observed).nodes, IsEmpty());
}

TEST(DecideTest, PreferredNodesComeFirstThenThoseHeldAlready) {
  const Workspace workspace =
      Read(Patched(WorkspaceObject(),
                   R"({"resource":{"preferredNodes":["c"]},"status":{"workerNodes":["b"]}})"));
  Observed observed = ObservedFor(workspace);
  observed.nodes = {ReadNode(NodeObject("a")), ReadNode(NodeObject("b")),
                    ReadNode(NodeObject("c"))};
  EXPECT_EQ(DecideFor(workspace, observed).nodes.front().name, "c");
  observed.nodes.pop_back();
  EXPECT_EQ(DecideFor(workspace, observed).nodes.front().name, "b");
}

TEST(DecideTest, HeldNodeThatIsAwayForAWhileStaysHeld) {
  const Workspace workspace =
      Read(Patched(WorkspaceObject(), R"({"status":{"workerNodes":["a"]}})"));
  Observed observed = ObservedFor(workspace);
  observed.nodes = {ReadNode(NodeObject("a"))};
  observed.nodes[0].ready = false;
  const Decision decision = DecideFor(workspace, observed);
  ASSERT_EQ(decision.nodes.size(), 1);
  EXPECT_FALSE(decision.nodes_ready());
  EXPECT_THAT(decision.claim_slots, IsEmpty());
}

TEST(DecideTest, EachRefusalHasItsReasonAndMakesNothing) {
  const struct {
    const char* patch;
    const char* reason;
  } rows[] = {
      {R"({"inference":{"preset":{"name":"nope"}}})", "InvalidSpec"},
      {R"({"inference":{"preset":{"name":"org/model"}}})", "ModelMetadataUnavailable"},
      {R"({"resource":{"instanceType":"Standard_N99"}})", "GpuFactsUnknown"},
      {R"({"resource":{"instanceType":"Standard_NG32ads_V620_v1"}})", "GpuNotSupported"},
      {R"({"resource":{"instanceType":"Standard_NV6"}})", "GpuNotSupported"},
      {R"({"inference":{"preset":{"name":"deepseek-r1-0528"}},
           "resource":{"instanceType":"Standard_NV36ads_A10_v5"}})",
       "NodePlanRefused"},
      {R"({"inference":null,"tuning":{"method":"qlora"}})", "TuningNotServed"},
  };
  for (const auto& row : rows) {
    const Workspace workspace = Read(Patched(WorkspaceObject(), row.patch));
    const Decision decision = DecideFor(workspace, ObservedFor(workspace));
    EXPECT_EQ(decision.reason, row.reason) << decision.message;
    EXPECT_FALSE(decision.message.empty());
    EXPECT_THAT(decision.claim_slots, IsEmpty());
    EXPECT_TRUE(NeedsUser(decision.reason)) << row.reason;
  }
}

TEST(DecideTest, MissingOrBadConfigMapHoldsEverythingBack) {
  const Workspace workspace = Read(Patched(WorkspaceObject(), R"({"inference":{"config":"cm"}})"));
  Observed observed = ObservedFor(workspace);
  observed.config_status = absl::NotFoundError("gone");
  EXPECT_EQ(DecideFor(workspace, observed).reason, "ConfigMapNotFound");
  EXPECT_THAT(DecideFor(workspace, observed).message, HasSubstr("ns/cm"));
  observed.config_status = absl::InvalidArgumentError("line 3");
  EXPECT_EQ(DecideFor(workspace, observed).reason, "ConfigInvalid");
}

TEST(DecideTest, ContextBeyondTheModelsOwnIsRefusedWithBothNumbers) {
  const Workspace workspace = Read(WorkspaceObject("phi-3-mini-4k-instruct"));
  Observed observed = ObservedFor(workspace);
  observed.config.max_model_len = 20480;
  EXPECT_THAT(DecideFor(workspace, observed).message,
              HasSubstr("max-model-len 20480 exceeds model's maximum supported context window 4096 "
                        "(ModelTokenLimit)"));
}

TEST(DecideTest, LocalWeightsOfAModelThatNobodyKnowsAreServed) {
  const Workspace workspace = Read(Patched(WorkspaceObject("org/own"), R"({"metadata":{
      "annotations":{"kaito.sh/use-local-weights":"true"}}})"));
  const Decision decision = DecideFor(workspace, ObservedFor(workspace));
  ASSERT_FALSE(decision.refused()) << decision.message;
  EXPECT_EQ(decision.plan->nodes, 1);
}

TEST(DecideTest, TemplateTakesAsManyNodesAsTheUserSays) {
  const Workspace workspace = Read(Patched(WorkspaceObject(), R"({"resource":{"count":2},
      "inference":{"preset":null,"template":{"spec":{"containers":[]}}}})"));
  const Decision decision = DecideFor(workspace, ObservedFor(workspace));
  ASSERT_FALSE(decision.refused()) << decision.message;
  EXPECT_EQ(decision.plan->nodes, 2);
}

TEST(DecideTest, PlanStandsWhileTheWorkloadRunsUntilTheUserChangesItsInputs) {
  Workspace workspace = Read(WorkspaceObject());
  Observed observed = ObservedFor(workspace);
  const Decision first = DecideFor(workspace, observed);
  kube::Object set;
  set.SetAnnotation("workspace.kaito.io/plan-hash", first.plan_hash);
  observed.stateful_set = set;
  workspace.object =
      Patched(workspace.object, R"({"status":{"plan":{"nodes":3,"gpusPerNode":1}}})");
  const Decision kept = DecideFor(workspace, observed);
  EXPECT_EQ(kept.plan->nodes, 3);
  EXPECT_THAT(kept.plan_note, HasSubstr("today's catalogue would plan 1"));

  observed.config_text = "vllm:\n  max-model-len: 1024\n";
  EXPECT_EQ(DecideFor(workspace, observed).plan->nodes, 1);
}

TEST(DecideTest, NodesOfTheUserAreTakenAllOrNone) {
  const kube::Object object =
      Patched(WorkspaceObject(), R"({"resource":{"instanceType":null,"count":2},
      "inference":{"preset":null,"template":{"spec":{}}}})");
  const Workspace workspace = ReadWorkspace(object, {.nodes_are_provisioned = false});
  Observed observed = ObservedFor(workspace);
  observed.nodes = {ReadNode(NodeObject("a")), ReadNode(NodeObject("b"))};
  observed.holders["b"] = "ns/older";
  const DecisionOptions options{.validation = {.nodes_are_provisioned = false}};
  const Decision decision = DecideFor(workspace, observed, options);
  EXPECT_THAT(decision.nodes, IsEmpty());
  EXPECT_THAT(decision.holders, ElementsAre("ns/older"));
  observed.holders.clear();
  EXPECT_EQ(DecideFor(workspace, observed, options).nodes.size(), 2);
}

TEST(PlanJsonTest, IsReadBackAsItWas) {
  const catalog::NodePlan plan{.nodes = 2,
                               .gpus_per_node = 4,
                               .tensor_parallel = 4,
                               .pipeline_parallel = 2,
                               .context_tokens = 8192,
                               .weights_bytes = 5,
                               .per_gpu_bytes = 6,
                               .upper_bound = 3};
  kube::Object object(boost::json::object{{"status", {{"plan", PlanJson(plan, "why")}}}});
  const auto read = ReadPlan(object);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(PlanJson(*read, "why"), PlanJson(plan, "why"));
  EXPECT_FALSE(ReadPlan(kube::Object()).has_value());
}

}  // namespace
}  // namespace workspace_controller

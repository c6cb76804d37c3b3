#include "gpu-provisioner/next_step.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "common/kube/json.h"
#include "gpu-provisioner/pool_body.h"

namespace gpu_provisioner {
namespace {

using testing::HasSubstr;

class NextStepTest : public testing::Test {
 protected:
  NextStepTest() {
    claim_.name = "ws1";
    claim_.uid = "u1";
    claim_.has_finalizer = true;
    claim_.sizes = {"Standard_A"};
    view_.listed = absl::Seconds(1000);
    offerings_ = {Offering{.ref = {"Standard_A", "", "on-demand"}}};
    memory_.BeginClaim("u1", "", now_);
  }

  StepInputs Inputs() {
    return {claim_, view_, memory_, busy_, nodes_, offerings_, now_, wall_, options_};
  }
  Step Launch() { return NextLaunchStep(Inputs()); }
  Step Delete() { return NextDeletionStep(Inputs(), false); }

  void SetPool(std::string state, std::string uid = "u1") {
    AgentPool pool{.name = "ws1", .etag = "e1", .vm_size = "Standard_A", .state = std::move(state)};
    if (!uid.empty()) pool.tags[std::string(kTagClaimUid)] = uid;
    view_.pools["ws1"] = pool;
  }
  void AddNode(bool ready, const std::string& id = "azure:///vm0") {
    kube::Object node =
        kube::Object::Parse(
            R"({"metadata":{"name":"n"},"status":{"conditions":[{"type":"Ready"}]}})")
            .value();
    node.mutable_json().at_pointer("/status/conditions/0").as_object()["status"] =
        ready ? "True" : "False";
    kube::MakePath(node.mutable_json(), {"spec", "providerID"}) = id;
    nodes_.push_back(node);
  }
  void SetRegistered() {
    claim_.object =
        kube::Object::Parse(R"({"status":{"conditions":[{"type":"Registered","status":"True"}]}})")
            .value();
  }
  PoolResult Result(PoolJobKind kind, int status, ErrorClass error_class = ErrorClass::kNone) {
    PoolResult result{.job = {.kind = kind, .pool = "ws1"}, .status = status};
    result.failure.error_class = error_class;
    result.started = result.ended = now_;
    return result;
  }
  void LearnOf(const PoolResult& result) { Learn(memory_, result, "eastus", 0); }

  NodeRequest claim_;
  PoolView view_;
  PoolMemory memory_;
  bool busy_ = false;
  std::vector<kube::Object> nodes_;
  std::vector<Offering> offerings_;
  absl::Duration now_ = absl::Seconds(1001);
  absl::Time wall_ = absl::FromUnixSeconds(1'700'000'000);
  StepOptions options_{.location = "eastus"};
};

TEST_F(NextStepTest, AFreeNameIsLaunched) {
  const Step step = Launch();
  EXPECT_EQ(step.kind, StepKind::kLaunch);
  EXPECT_EQ(step.launched->reason, "Launching");
}

TEST_F(NextStepTest, NothingIsLaunchedBeforeTheFirstCompleteList) {
  view_.listed = PoolMemory::kNever;
  EXPECT_EQ(Launch().kind, StepKind::kWait);
  view_.failure = {.error_class = ErrorClass::kForbidden, .code = "AuthorizationFailed"};
  EXPECT_EQ(Launch().launched->reason, "AuthorizationFailed");
}

TEST_F(NextStepTest, AnInvalidClaimIsNeverLaunched) {
  claim_.invalid = "metadata.name: bad";
  EXPECT_EQ(Launch().kind, StepKind::kWait);
  EXPECT_EQ(Launch().launched->reason, "InvalidSpec");
}

TEST_F(NextStepTest, AMinuteLiesBetweenTwoPuts) {
  LearnOf(Result(PoolJobKind::kPut, 409, ErrorClass::kAllocation));
  memory_.gone = true;
  now_ += absl::Seconds(20);
  EXPECT_EQ(Launch().kind, StepKind::kWait);
  EXPECT_EQ(Launch().check_after, absl::Seconds(40));
  now_ += absl::Seconds(40);
  EXPECT_EQ(Launch().kind, StepKind::kLaunch);
}

TEST_F(NextStepTest, AfterARestartTheAnnotationKeepsTheMinute) {
  claim_.not_before = wall_ + absl::Seconds(25);
  EXPECT_EQ(Launch().check_after, absl::Seconds(25));
  claim_.not_before = wall_ + absl::Hours(5);
  EXPECT_EQ(Launch().check_after, absl::Seconds(60))
      << "a clock that jumped costs a minute at most";
}

TEST_F(NextStepTest, AnUnknownOutcomeIsAskedForUntilTwo404LieApart) {
  LearnOf(Result(PoolJobKind::kPut, 500, ErrorClass::kUnknownOutcome));
  EXPECT_EQ(Launch().kind, StepKind::kGet);
  LearnOf(Result(PoolJobKind::kGet, 404, ErrorClass::kPoolGone));
  EXPECT_EQ(Launch().kind, StepKind::kWait);
  now_ += absl::Seconds(31);
  EXPECT_EQ(Launch().kind, StepKind::kGet);
  EXPECT_EQ(Launch().launched->reason, "LaunchFailed");
  LearnOf(Result(PoolJobKind::kGet, 404, ErrorClass::kPoolGone));
  EXPECT_TRUE(memory_.outcome_unknown) << "only 31 s since the PUT";
  now_ += absl::Seconds(30);
  LearnOf(Result(PoolJobKind::kGet, 404, ErrorClass::kPoolGone));
  EXPECT_EQ(Launch().kind, StepKind::kLaunch);
}

TEST_F(NextStepTest, AnAnswerThatWasLostIsAdoptedByItsUid) {
  LearnOf(Result(PoolJobKind::kPut, 0, ErrorClass::kUnknownOutcome));
  SetPool("Creating");
  EXPECT_EQ(Launch().kind, StepKind::kWait);
  EXPECT_EQ(Launch().launched->reason, "Launching");
}

TEST_F(NextStepTest, ForeignPoolsAreLeftAlone) {
  SetPool("Succeeded", "");
  EXPECT_EQ(Launch().launched->reason, "NameCollision");
  EXPECT_EQ(Launch().kind, StepKind::kWait);
  EXPECT_EQ(Delete().kind, StepKind::kDropFinalizer) << "the pool stays";
  SetPool("Succeeded", "u2");
  EXPECT_EQ(Launch().launched->reason, "NameCollision");
  SetPool("Deleting", "u2");
  EXPECT_EQ(Launch().launched->reason, "Launching") << "a former claim of this name";
}

TEST_F(NextStepTest, APoolOfTheOriginalIsKnownByNameAndCreationLabel) {
  claim_.created = absl::FromUnixSeconds(1'700'000'000);
  SetPool("Creating", "");
  view_.pools["ws1"].labels["kaito.sh/creation-timestamp"] = CreationStamp(claim_.created);
  EXPECT_EQ(Launch().launched->reason, "Launching");
}

TEST_F(NextStepTest, ANodeBindsWhileThePoolIsStillCreating) {
  SetPool("Creating");
  AddNode(false);
  const Step step = Launch();
  EXPECT_EQ(step.launched->status, "True");
  EXPECT_EQ(step.provider_id, "azure:///vm0");
  ASSERT_NE(step.node, nullptr);
}

TEST_F(NextStepTest, WithoutANodeTheProviderIdComesFromTheMachines) {
  SetPool("Succeeded");
  EXPECT_EQ(Launch().kind, StepKind::kMachines);
  PoolResult result = Result(PoolJobKind::kMachines, 200);
  result.machines = {{"m", "/subscriptions/s/vm/0"}};
  LearnOf(result);
  const Step step = Launch();
  EXPECT_EQ(step.provider_id, "azure:///subscriptions/s/vm/0");
  EXPECT_EQ(step.registered->reason, "NodeNotFound");
}

TEST_F(NextStepTest, AFailedPoolIsTakenAwayAndItsOfferingMarked) {
  SetPool("Failed");
  view_.pools["ws1"].provisioning_error =
      CloudError{"ReconcileVMSSAgentPoolFailed", "Code=\"AllocationFailed\" Message=\"no\""};
  const Step step = Launch();
  EXPECT_EQ(step.kind, StepKind::kDelete);
  EXPECT_EQ(step.etag, "e1");
  EXPECT_EQ(step.failure->error_class, ErrorClass::kAllocation);
  EXPECT_EQ(step.launched->reason, "InsufficientCapacity");
}

TEST_F(NextStepTest, AFailedPoolWithAReadyNodeIsUsed) {
  SetPool("Failed");
  AddNode(true);
  claim_.provider_id = "azure:///vm0";
  const Step step = Launch();
  EXPECT_EQ(step.kind, StepKind::kWait);
  EXPECT_EQ(step.launched->status, "True");
  EXPECT_EQ(step.events.front().reason, "PoolDegraded");
}

TEST_F(NextStepTest, ANodeThatNeverJoinsCostsThePoolAndStopsTheSecondTime) {
  SetPool("Succeeded");
  claim_.provider_id = "azure:///vm0";
  memory_.launched_at = now_;
  EXPECT_EQ(Launch().check_after, absl::Minutes(15));
  now_ += absl::Minutes(15);
  const Step step = Launch();
  EXPECT_EQ(step.kind, StepKind::kDelete);
  EXPECT_TRUE(step.bad_node);
  EXPECT_EQ(step.registered->reason, "RegistrationTimeout");
  claim_.last_error = NextBadNodeMark(claim_, "RegistrationTimeout");
  EXPECT_EQ(StopReason(claim_), "");
  claim_.last_error = NextBadNodeMark(claim_, "RegistrationTimeout");
  EXPECT_EQ(StopReason(claim_), "RegistrationTimeout");
  claim_.retry = "again";
  EXPECT_EQ(StopReason(claim_), "") << "the annotation starts over";
}

TEST_F(NextStepTest, ACreationThatTakesTooLongIsAborted) {
  SetPool("Creating");
  memory_.accepted_at = now_;
  now_ += absl::Minutes(20);
  const Step step = Launch();
  EXPECT_EQ(step.kind, StepKind::kAbort);
  EXPECT_EQ(step.launched->reason, "LaunchTimeout");
}

TEST_F(NextStepTest, EveryOfferingBlockedByQuotaNamesTheNumbers) {
  offerings_[0].blocked_by = BlockedBy::kQuota;
  offerings_[0].mark_class = ErrorClass::kQuotaFamily;
  offerings_[0].blocked_message = "quota of F in eastus: limit 24, used 24, need 24 for Standard_A";
  const Step step = Launch();
  EXPECT_EQ(step.kind, StepKind::kWait);
  EXPECT_EQ(step.launched->reason, "QuotaExceeded");
  EXPECT_THAT(step.launched->message, HasSubstr("limit 24, used 24, need 24"));
}

TEST_F(NextStepTest, AnotherOperationOnTheClusterIsWaitedFor) {
  LearnOf(Result(PoolJobKind::kPut, 409, ErrorClass::kInProgressOther));
  EXPECT_EQ(Launch().launched->reason, "WaitingForCluster");
  memory_.wait_until = PoolMemory::kNever;
  LearnOf(Result(PoolJobKind::kPut, 409, ErrorClass::kInProgressCreate));
  EXPECT_EQ(Launch().kind, StepKind::kGet) << "whose create is it?";
  LearnOf(Result(PoolJobKind::kGet, 404, ErrorClass::kPoolGone));
  EXPECT_EQ(Launch().launched->reason, "WaitingForCluster");
}

TEST_F(NextStepTest, ForbiddenBecomesFalseAfterTenMinutes) {
  LearnOf(Result(PoolJobKind::kPut, 403, ErrorClass::kForbidden));
  EXPECT_EQ(Launch().launched->status, "Unknown");
  now_ += absl::Minutes(10);
  LearnOf(Result(PoolJobKind::kPut, 403, ErrorClass::kForbidden));
  EXPECT_EQ(Launch().launched->status, "False");
  EXPECT_EQ(Launch().launched->reason, "AuthorizationFailed");
}

TEST_F(NextStepTest, AClaimThatWasNeverTriedGoesWithoutACall) {
  EXPECT_EQ(Delete().kind, StepKind::kDropFinalizer);
  view_.listed = PoolMemory::kNever;
  EXPECT_EQ(Delete().kind, StepKind::kWait) << "nobody knows yet whether there is a pool";
}

TEST_F(NextStepTest, TheFinalizerWaitsForAzuresWord) {
  claim_.attempt = 1;
  SetPool("Succeeded");
  EXPECT_EQ(Delete().kind, StepKind::kDelete);
  LearnOf(Result(PoolJobKind::kDelete, 202));
  SetPool("Deleting");
  EXPECT_EQ(Delete().kind, StepKind::kWait);
  view_.pools.clear();
  EXPECT_EQ(Delete().kind, StepKind::kWait) << "the list is older than the delete";
  view_.listed = now_ + absl::Seconds(1);
  EXPECT_EQ(Delete().kind, StepKind::kGet);
  LearnOf(Result(PoolJobKind::kGet, 404, ErrorClass::kPoolGone));
  EXPECT_EQ(Delete().kind, StepKind::kDropFinalizer);
}

TEST_F(NextStepTest, APoolThatIsBeingCreatedIsAbortedFirst) {
  SetPool("Creating");
  EXPECT_EQ(Delete().kind, StepKind::kAbort);
  LearnOf(Result(PoolJobKind::kAbort, 202));
  EXPECT_EQ(Delete().kind, StepKind::kWait);
  SetPool("Canceled");
  EXPECT_EQ(Delete().kind, StepKind::kDelete);
}

TEST_F(NextStepTest, AnAbortTooLateDeletesAndARefusedOneWaits) {
  SetPool("Creating");
  LearnOf(Result(PoolJobKind::kAbort, 409, ErrorClass::kUnclassified));
  EXPECT_EQ(Delete().kind, StepKind::kDelete);
  memory_.abort = AbortState::kNotTried;
  LearnOf(Result(PoolJobKind::kAbort, 403, ErrorClass::kForbidden));
  EXPECT_EQ(Delete().kind, StepKind::kWait);
  SetPool("Succeeded");
  EXPECT_EQ(Delete().kind, StepKind::kDelete);
}

TEST_F(NextStepTest, AClusterThatAzureDoesNotKnowDeletesNothing) {
  claim_.attempt = 1;
  view_.cluster_gone = true;
  EXPECT_EQ(Delete().kind, StepKind::kWait);
  EXPECT_EQ(Launch().kind, StepKind::kWait);
}

TEST_F(NextStepTest, ARegisteredClaimWithoutAPoolIsTheCollectors) {
  SetRegistered();
  EXPECT_EQ(Launch().kind, StepKind::kWait);
  EXPECT_FALSE(Launch().launched.has_value());
}

}  // namespace
}  // namespace gpu_provisioner

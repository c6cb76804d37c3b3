// What must hold when things break: design/provisioner-faults.md, in process. Numbers are its rows.

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "common/kube/json.h"
#include "testing/provisioner/rig.h"

namespace provisioner_testing {
namespace {

using testing::HasSubstr;

class ProvisionerTest : public testing::Test {
 protected:
  void TearDown() override { rig_.CheckInvariants(); }
  Rig rig_;
};

constexpr char kQuotaText[] =
    "Operation could not be completed as it results in exceeding approved "
    "StandardNCADSA100v4Family Cores quota. Additional details - Deployment Model: Resource "
    "Manager, Location: eastus, Current Limit: 24, Current Usage: 24, Additional Required: 24, "
    "(Minimum) New Limit Required: 48.";

TEST_F(ProvisionerTest, AClaimBecomesANodeAndGoesAgain) {
  rig_.CreateClaim("ws1");
  EXPECT_EQ(rig_.Condition("ws1", "Launched"), "Unknown/Launching");
  EXPECT_EQ(rig_.Count("PUT", "ws1"), 1);
  EXPECT_TRUE(rig_.Claim("ws1").HasFinalizer("karpenter.sh/termination"));

  rig_.Run(absl::Seconds(112));
  EXPECT_EQ(rig_.Condition("ws1", "Launched"), "True/Launched");
  EXPECT_EQ(rig_.Condition("ws1", "Registered"), "True/Registered");
  EXPECT_EQ(rig_.Condition("ws1", "Initialized"), "Unknown/ResourceNotRegistered");
  rig_.Run(absl::Seconds(10));
  EXPECT_EQ(rig_.Condition("ws1", "Ready"), "True/Ready");
  const kube::Object claim = rig_.Claim("ws1");
  EXPECT_EQ(claim.label("node.kubernetes.io/instance-type"), kSizeA);
  EXPECT_EQ(claim.label("karpenter.sh/capacity-type"), "on-demand");
  EXPECT_EQ(claim.annotation("gpu-provisioner.kaito.sh/attempt"), "1");
  EXPECT_THAT(std::string(claim.StringAt({"status", "providerID"})), HasSubstr("aks-ws1-"));
  ASSERT_EQ(rig_.Nodes().size(), 1U);
  const kube::Object node = rig_.Nodes().front();
  EXPECT_EQ(node.name(), claim.StringAt({"status", "nodeName"}));
  EXPECT_EQ(node.label("karpenter.sh/initialized"), "true");
  EXPECT_EQ(node.label("accelerator"), "nvidia");
  EXPECT_TRUE(node.HasFinalizer("karpenter.sh/termination"));

  rig_.DeleteClaim("ws1");
  rig_.Run(absl::Seconds(90));
  EXPECT_FALSE(rig_.HasClaim("ws1"));
  EXPECT_TRUE(rig_.Nodes().empty());
  EXPECT_FALSE(rig_.PoolExists("ws1"));
  EXPECT_EQ(rig_.Count("DELETE", "ws1"), 1);
}

TEST_F(ProvisionerTest, Row1AThrottledPutWaitsAndNoOtherDoes) {
  rig_.Control("faults", R"({id: t, match: {method: PUT, pool: ws1}, act: {status: 429, headers:
    {Retry-After: "30"}, body: {error: {code: Throttled, message: slow}}}})");
  rig_.CreateClaim("ws1");
  rig_.CreateClaim("ws2");
  EXPECT_EQ(rig_.Condition("ws1", "Launched"), "Unknown/Throttled");
  EXPECT_EQ(rig_.Count("PUT", "ws2"), 1);
  EXPECT_TRUE(rig_.RunUntilReady("ws1"));
  EXPECT_EQ(rig_.Count("PUT", "ws1"), 2);
}

TEST_F(ProvisionerTest, Row2AThrottledListKeepsTheLastKnownState) {
  rig_.CreateClaim("ws1");
  rig_.Run(absl::Seconds(10));
  rig_.Control("faults", R"({id: l, match: {method: GET, path: agentpools}, act: {status: 429,
    headers: {Retry-After: "60"}, body: {error: {code: Throttled}}}})");
  rig_.Run(absl::Seconds(6));
  const int lists = rig_.Count("GET", "");
  rig_.Run(absl::Seconds(50));
  EXPECT_EQ(rig_.Count("GET", ""), lists) << "the pause is kept";
  EXPECT_EQ(rig_.Condition("ws1", "Launched"), "Unknown/Launching");
  EXPECT_TRUE(rig_.RunUntilReady("ws1"));
}

TEST_F(ProvisionerTest, Row3AServerErrorThatDidNothingIsTriedAgainAfterTwo404) {
  rig_.Control("faults", "{id: e, match: {method: PUT}, act: {status: 500, body: '{}'}}");
  rig_.CreateClaim("ws1");
  EXPECT_TRUE(rig_.RunUntilReady("ws1"));
  EXPECT_EQ(rig_.Count("PUT", "ws1"), 2);
  EXPECT_GE(rig_.Count("GET", "ws1"), 2);
  EXPECT_EQ(rig_.History().size(), 1U);
}

TEST_F(ProvisionerTest, Row4ALostAnswerIsAdopted) {
  rig_.Control("faults", "{id: c, match: {method: PUT}, act: {cut: after}}");
  rig_.CreateClaim("ws1");
  EXPECT_TRUE(rig_.RunUntilReady("ws1", absl::Seconds(130)));
  EXPECT_EQ(rig_.Count("PUT", "ws1"), 1);
}

TEST_F(ProvisionerTest, Row6AnHtmlPageIsNoAnswer) {
  rig_.Control("faults", "{id: h, match: {method: PUT}, act: {raw: '<html>proxy</html>'}}");
  rig_.CreateClaim("ws1");
  rig_.Run(absl::Seconds(20));
  rig_.Control("faults",
               "{id: l, match: {method: GET, path: agentpools, times: 0}, act: {raw: '<html>'}}");
  rig_.Run(absl::Seconds(60));
  EXPECT_EQ(rig_.Condition("ws1", "Launched"), "Unknown/Launching");
  EXPECT_EQ(rig_.Count("DELETE", "ws1"), 0);
}

TEST_F(ProvisionerTest, Row7AnAllocationFailureMovesToTheNextSize) {
  rig_.Control("capacity", std::string("{size: ") + kSizeA + ", zone: '', free: 0}");
  rig_.CreateClaim("ws1", "A, B");
  EXPECT_TRUE(rig_.RunUntilReady("ws1"));
  const auto puts = rig_.Requests("PUT", "ws1");
  ASSERT_EQ(puts.size(), 2U);
  EXPECT_THAT(std::string(kube::StringAt(puts[0], {"body"})), HasSubstr(kSizeA));
  EXPECT_THAT(std::string(kube::StringAt(puts[1], {"body"})), HasSubstr(kSizeB));
  EXPECT_EQ(rig_.Count("DELETE", "ws1"), 1);
  EXPECT_EQ(rig_.Claim("ws1").label("node.kubernetes.io/instance-type"), kSizeB);
}

TEST_F(ProvisionerTest, Row7WithOneSizeTheClaimSaysSoAndWaitsAnHour) {
  rig_.Control("capacity", std::string("{size: ") + kSizeA + ", zone: '', free: 0}");
  rig_.CreateClaim("ws1");
  rig_.Run(absl::Minutes(10));
  EXPECT_EQ(rig_.Condition("ws1", "Launched"), "False/InsufficientCapacity");
  EXPECT_THAT(
      rig_.Message("ws1", "Launched"),
      HasSubstr("no capacity in eastus: Standard_NC24ads_A100_v4 regional AllocationFailed"));
  EXPECT_EQ(rig_.Count("PUT", "ws1"), 1);
  EXPECT_FALSE(rig_.PoolExists("ws1"));
}

TEST_F(ProvisionerTest, Row9ARefusalForQuotaIsOnTheClaimWithinTenSeconds) {
  rig_.Control("faults",
               "{id: u, match: {path: usages, times: 0}, act: {status: 403, body: {error: "
               "{code: AuthorizationFailed, message: no}}}}");
  rig_.Control("faults", std::string("{id: q, match: {method: PUT, times: 0}, act: {status: 409, "
                                     "body: {error: {code: OperationNotAllowed, message: '") +
                             kQuotaText + "'}}}}");
  rig_.CreateClaim("ws1");
  rig_.Run(absl::Seconds(10));
  EXPECT_EQ(rig_.Condition("ws1", "Launched"), "False/QuotaExceeded");
  EXPECT_EQ(rig_.Message("ws1", "Launched"),
            "quota of StandardNCADSA100v4Family in eastus: limit 24, used 24, need 24 for "
            "Standard_NC24ads_A100_v4");
  EXPECT_EQ(rig_.Condition("ws1", "Ready"), "False/UnhealthyDependents");
  rig_.Run(absl::Minutes(9));
  EXPECT_EQ(rig_.Count("PUT", "ws1"), 1);
}

TEST_F(ProvisionerTest, Row10RoomInTheQuotaIsUsedWithinAMinute) {
  rig_.Control("quota", "{family: StandardNCADSA100v4Family, limit: 24, used: 24}");
  rig_.CreateClaim("ws1");
  rig_.Run(absl::Seconds(10));
  EXPECT_EQ(rig_.Condition("ws1", "Launched"), "False/QuotaExceeded");
  const int puts = rig_.Count("PUT", "ws1");
  rig_.Run(absl::Minutes(3));
  EXPECT_EQ(rig_.Count("PUT", "ws1"), puts);
  rig_.Control("quota", "{family: StandardNCADSA100v4Family, limit: 48}");
  rig_.Run(absl::Seconds(61));
  EXPECT_EQ(rig_.Count("PUT", "ws1"), puts + 1);
  EXPECT_TRUE(rig_.RunUntilReady("ws1"));
}

TEST_F(ProvisionerTest, Row13AnotherOperationOfTheClusterIsWaitedFor) {
  rig_.Control("cluster", "{do: hold}");
  rig_.CreateClaim("ws1");
  EXPECT_EQ(rig_.Condition("ws1", "Launched"), "Unknown/WaitingForCluster");
  rig_.Run(absl::Seconds(30));
  rig_.Control("cluster", "{do: release}");
  EXPECT_TRUE(rig_.RunUntilReady("ws1"));
  EXPECT_EQ(rig_.Count("PUT", "ws1"), 2);
}

TEST_F(ProvisionerTest, Row14AKillAfterThePutRepeatsNothing) {
  rig_.CreateClaim("ws1");
  ASSERT_EQ(rig_.Count("PUT", "ws1"), 1);
  rig_.Restart();
  EXPECT_TRUE(rig_.RunUntilReady("ws1", absl::Seconds(130)));
  EXPECT_EQ(rig_.Count("PUT", "ws1"), 1);
}

TEST_F(ProvisionerTest, KillsAtAnyMomentConverge) {
  for (int i = 0; i < 5; ++i) rig_.CreateClaim("ws" + std::to_string(i));
  for (int i = 0; i < 12; ++i) {
    rig_.Run(absl::Seconds(7 + 3 * i));
    rig_.Restart();
    if (i == 4) rig_.DeleteClaim("ws0");
  }
  rig_.Run(absl::Minutes(5));
  EXPECT_FALSE(rig_.HasClaim("ws0"));
  EXPECT_FALSE(rig_.PoolExists("ws0"));
  for (int i = 1; i < 5; ++i) {
    EXPECT_EQ(rig_.Condition("ws" + std::to_string(i), "Ready"), "True/Ready");
    EXPECT_EQ(rig_.Count("PUT", "ws" + std::to_string(i)), 1);
  }
}

TEST_F(ProvisionerTest, Row21ACreationIsAbortedBeforeThePoolIsDeleted) {
  rig_.CreateClaim("ws1");
  rig_.Run(absl::Seconds(20));
  rig_.DeleteClaim("ws1");
  rig_.Run(absl::Seconds(90));
  EXPECT_FALSE(rig_.HasClaim("ws1"));
  EXPECT_FALSE(rig_.PoolExists("ws1"));
  EXPECT_EQ(rig_.Count("POST", "ws1/abort"), 1);
  EXPECT_EQ(rig_.Count("DELETE", "ws1"), 1);
}

TEST_F(ProvisionerTest, Row22ANodeDeletedByHandTakesItsClaimAndPool) {
  rig_.CreateClaim("ws1");
  ASSERT_TRUE(rig_.RunUntilReady("ws1"));
  const kube::Object node = rig_.Nodes().front();
  ASSERT_TRUE(rig_.kube().Delete(kube::resources::kNodes, node.key()).ok());
  rig_.Run(absl::Seconds(90));
  EXPECT_FALSE(rig_.HasClaim("ws1"));
  EXPECT_FALSE(rig_.PoolExists("ws1"));
  EXPECT_TRUE(rig_.Nodes().empty());
}

TEST_F(ProvisionerTest, Row27APoolDeletedInThePortalEndsItsClaim) {
  rig_.CreateClaim("ws1");
  ASSERT_TRUE(rig_.RunUntilReady("ws1"));
  rig_.Control("pools/ws1", "{do: delete}");
  rig_.Run(absl::Minutes(5));
  EXPECT_FALSE(rig_.HasClaim("ws1"));
  EXPECT_EQ(rig_.Count("DELETE", "ws1"), 0);
  EXPECT_TRUE(rig_.Nodes().empty());
}

TEST_F(ProvisionerTest, Row28APoolOfAnotherClaimIsWaitedFor) {
  rig_.CreateClaim("other", "A", "spec: {resources: {requests: {storage: '0'}}}");
  const std::string uid(rig_.Claim("other").uid());
  rig_.Control("pools/ws1", "{do: create, tags: {karpenter.sh_nodeclaim-uid: " + uid + "}}");
  rig_.Run(absl::Seconds(61));
  rig_.CreateClaim("ws1");
  EXPECT_EQ(rig_.Condition("ws1", "Launched"), "False/NameCollision");
  EXPECT_EQ(rig_.Count("PUT", "ws1"), 0);
  rig_.DeleteClaim("other");
  rig_.Run(absl::Minutes(6));
  EXPECT_EQ(rig_.Condition("ws1", "Ready"), "True/Ready") << "the name became free";
}

TEST_F(ProvisionerTest, Row29AUsersPoolIsNeverTouched) {
  rig_.Control("pools/ws1", "{do: create}");
  rig_.Run(absl::Minutes(3));
  rig_.CreateClaim("ws1");
  rig_.Run(absl::Minutes(3));
  EXPECT_EQ(rig_.Condition("ws1", "Launched"), "False/NameCollision");
  rig_.DeleteClaim("ws1");
  rig_.Run(absl::Minutes(3));
  EXPECT_FALSE(rig_.HasClaim("ws1"));
  EXPECT_TRUE(rig_.PoolExists("ws1"));
  EXPECT_EQ(rig_.Count("PUT", "ws1"), 0);
  EXPECT_EQ(rig_.Count("DELETE", "ws1"), 0);
}

TEST_F(ProvisionerTest, Row30WrongListsDeleteNothing) {
  rig_.CreateClaim("ws1");
  ASSERT_TRUE(rig_.RunUntilReady("ws1"));
  rig_.Control("faults",
               "{id: e, match: {method: GET, path: agentpools, times: 5}, act: {list: empty}}");
  rig_.Run(absl::Minutes(6));
  rig_.Control("faults",
               "{id: o, match: {method: GET, path: agentpools, times: 60}, act: {list: "
               "omit, pools: [ws1]}}");
  rig_.Run(absl::Minutes(10));
  EXPECT_EQ(rig_.Condition("ws1", "Ready"), "True/Ready");
  EXPECT_EQ(rig_.Count("DELETE", "ws1"), 0);
  EXPECT_EQ(rig_.Count("PUT", "ws1"), 1);
}

TEST_F(ProvisionerTest, Row31AFailedPoolWithAReadyNodeIsUsed) {
  rig_.CreateClaim("ws1");
  ASSERT_TRUE(rig_.RunUntilReady("ws1"));
  rig_.Control("pools/ws1", "{do: fail}");
  rig_.Run(absl::Minutes(5));
  EXPECT_EQ(rig_.Condition("ws1", "Ready"), "True/Ready");
  EXPECT_EQ(rig_.Count("DELETE", "ws1"), 0);
}

TEST_F(ProvisionerTest, Row33ClaimsOfOthersGetNoWrite) {
  rig_.CreateClaim("kpa", "A", R"(
metadata: {labels: {kaito.sh/workspace: null}}
spec: {nodeClassRef: {group: karpenter.azure.com, kind: AKSNodeClass, name: x}})");
  const std::string version(rig_.Claim("kpa").resource_version());
  rig_.Run(absl::Minutes(2));
  EXPECT_EQ(rig_.Claim("kpa").resource_version(), version);
  EXPECT_EQ(rig_.Count("PUT", "kpa"), 0);
}

TEST_F(ProvisionerTest, Row35ANodeThatNeverJoinsIsTriedTwiceThenStops) {
  rig_.Control("nodes/ws1", "{do: never_join}");
  rig_.CreateClaim("ws1");
  rig_.Run(absl::Seconds(150));
  EXPECT_EQ(rig_.Condition("ws1", "Launched"), "True/Launched");
  EXPECT_EQ(rig_.Condition("ws1", "Registered"), "Unknown/NodeNotFound");
  rig_.Run(absl::Minutes(120));
  EXPECT_EQ(rig_.Count("PUT", "ws1"), 2);
  EXPECT_FALSE(rig_.PoolExists("ws1"));
  EXPECT_EQ(rig_.Condition("ws1", "Registered"), "False/RegistrationTimeout");
  EXPECT_EQ(rig_.Condition("ws1", "Launched"), "False/RegistrationTimeout");
}

TEST_F(ProvisionerTest, Row36AGpuThatShowsUpLateIsWaitedFor) {
  rig_.Control("nodes/ws1", "{do: no_gpu}");
  rig_.CreateClaim("ws1");
  rig_.Run(absl::Minutes(5));
  EXPECT_EQ(rig_.Condition("ws1", "Initialized"), "Unknown/ResourceNotRegistered");
  rig_.Control("nodes/ws1", "{do: gpu}");
  rig_.Run(absl::Seconds(5));
  EXPECT_EQ(rig_.Condition("ws1", "Ready"), "True/Ready");
}

TEST_F(ProvisionerTest, Row38WithoutATokenNothingHappensUntilThereIsOne) {
  rig_.Control("token",
               "{status: 400, until: 120, body: {error: invalid_request, "
               "error_description: 'AADSTS70021: no'}}");
  rig_.CreateClaim("ws1");
  rig_.Run(absl::Seconds(60));
  EXPECT_EQ(rig_.Condition("ws1", "Launched"), "Unknown/AuthorizationFailed");
  EXPECT_TRUE(rig_.RunUntilReady("ws1"));
}

TEST_F(ProvisionerTest, Row39ATokenThatExpiredIsReplacedAtOnce) {
  rig_.Run(absl::Seconds(5));
  rig_.Control("faults",
               "{id: x, match: {method: PUT}, act: {status: 401, body: {error: {code: "
               "ExpiredAuthenticationToken}}}}");
  rig_.CreateClaim("ws1");
  EXPECT_EQ(rig_.Count("PUT", "ws1"), 2);
  EXPECT_EQ(rig_.Condition("ws1", "Launched"), "Unknown/Launching");
}

TEST_F(ProvisionerTest, Row41InvalidClaimsAreToldSoAndNeverLaunched) {
  rig_.CreateClaim("ws1234567890a");
  rig_.CreateClaim("nosize", "A", "spec: {requirements: []}");
  rig_.CreateClaim("nodisk", "A", "spec: {resources: {requests: {storage: '0'}}}");
  rig_.Run(absl::Minutes(2));
  for (const char* name : {"ws1234567890a", "nosize", "nodisk"}) {
    EXPECT_EQ(rig_.Condition(name, "Launched"), "False/InvalidSpec") << name;
    EXPECT_EQ(rig_.Count("PUT", name), 0);
  }
  EXPECT_THAT(rig_.Message("nodisk", "Launched"), HasSubstr("storage"));
}

TEST_F(ProvisionerTest, APoolWhoseClaimIsGoneIsCollected) {
  rig_.Control("pools/lost", "{do: create, tags: {karpenter.sh_nodeclaim-uid: nobody}}");
  rig_.Run(absl::Minutes(6));
  EXPECT_FALSE(rig_.PoolExists("lost"));
}

TEST_F(ProvisionerTest, AClusterThatAzureDoesNotKnowDeletesNothing) {
  rig_.CreateClaim("ws1");
  ASSERT_TRUE(rig_.RunUntilReady("ws1"));
  rig_.Control("cluster", "{do: missing}");
  rig_.DeleteClaim("ws1");
  rig_.Run(absl::Minutes(5));
  EXPECT_TRUE(rig_.HasClaim("ws1")) << "no finalizer goes on a wrong configuration's word";
  rig_.Control("cluster", "{do: back}");
  rig_.Run(absl::Minutes(3));
  EXPECT_FALSE(rig_.HasClaim("ws1"));
}

TEST_F(ProvisionerTest, Row19ManyClaimsComeUpTogether) {
  for (int i = 0; i < 40; ++i) rig_.CreateClaim("ws" + std::to_string(i));
  rig_.Run(absl::Seconds(160));
  for (int i = 0; i < 40; ++i) {
    EXPECT_EQ(rig_.Condition("ws" + std::to_string(i), "Launched"), "True/Launched");
  }
}

}  // namespace
}  // namespace provisioner_testing

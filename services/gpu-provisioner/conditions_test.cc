#include "gpu-provisioner/conditions.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "common/kube/json.h"

namespace gpu_provisioner {
namespace {

const absl::Time kCreated = absl::FromUnixSeconds(1'700'000'000);
const absl::Time kNow = kCreated + absl::Seconds(100);

kube::Object Claim() {
  kube::Object object =
      kube::Object::Parse(R"({"metadata":{"name":"ws1","generation":3}})").value();
  kube::MakePath(object.mutable_json(), {"metadata", "creationTimestamp"}) =
      kube::FormatTime(kCreated);
  return object;
}

const boost::json::object& Find(const boost::json::value& list, std::string_view type) {
  for (const auto& entry : list.as_array()) {
    if (kube::StringAt(entry, {"type"}) == type) return entry.as_object();
  }
  ADD_FAILURE() << "no condition " << type;
  return list.as_array().front().as_object();
}

TEST(ClaimConditionsTest, AllBeginUnknownAtTheCreationTime) {
  const auto list = ClaimConditions(Claim(), {}, kNow);
  ASSERT_EQ(list.as_array().size(), 4U);
  for (const auto& entry : list.as_array()) {
    EXPECT_EQ(kube::StringAt(entry, {"status"}), "Unknown");
    EXPECT_EQ(kube::StringAt(entry, {"lastTransitionTime"}), kube::FormatTime(kCreated));
    EXPECT_EQ(kube::IntAt(entry, {"observedGeneration"}), 3);
  }
  EXPECT_EQ(Find(list, "Launched").at("reason").as_string(), "AwaitingReconciliation");
  EXPECT_EQ(Find(list, "Ready").at("reason").as_string(), "ReconcilingDependents");
  EXPECT_EQ(kube::StringAt(list.as_array().back(), {"type"}), "Ready");
}

TEST(ClaimConditionsTest, TheTransitionTimeMovesOnlyWithTheStatus) {
  kube::Object claim = Claim();
  kube::MakePath(claim.mutable_json(), {"status", "conditions"}) =
      ClaimConditions(claim, {{"Launched", Unknown("Launching", "a")}}, kNow);
  const auto later = kNow + absl::Seconds(10);
  auto list = ClaimConditions(claim, {{"Launched", Unknown("Throttled", "b")}}, later);
  EXPECT_EQ(Find(list, "Launched").at("lastTransitionTime").as_string(),
            kube::FormatTime(kCreated));
  EXPECT_EQ(Find(list, "Launched").at("reason").as_string(), "Throttled");
  list = ClaimConditions(claim, {{"Launched", True()}}, later);
  EXPECT_EQ(Find(list, "Launched").at("lastTransitionTime").as_string(), kube::FormatTime(later));
  EXPECT_EQ(Find(list, "Launched").at("reason").as_string(), "Launched");
}

TEST(ClaimConditionsTest, ReadyFollowsTheThree) {
  auto list = ClaimConditions(
      Claim(), {{"Launched", True()}, {"Registered", True()}, {"Initialized", True()}}, kNow);
  EXPECT_EQ(Find(list, "Ready").at("status").as_string(), "True");
  list = ClaimConditions(Claim(), {{"Launched", False("QuotaExceeded", "m")}}, kNow);
  EXPECT_EQ(Find(list, "Ready").at("reason").as_string(), "UnhealthyDependents");
  EXPECT_EQ(Find(list, "Ready").at("message").as_string(),
            "Launched=False, Registered=Unknown, Initialized=Unknown");
}

TEST(VerdictTest, QuotaTellsTheThreeNumbersEarly) {
  ArmFailure failure{.error_class = ErrorClass::kQuotaFamily};
  failure.quota = QuotaNumbers{"StandardNCADSA100v4Family", 24, 24, 24};
  const Verdict verdict =
      VerdictOf(failure, {"Standard_NC24ads_A100_v4", "", "on-demand"}, "eastus");
  EXPECT_EQ(verdict.reason, "QuotaExceeded");
  EXPECT_EQ(verdict.message,
            "quota of StandardNCADSA100v4Family in eastus: limit 24, used 24, need 24 for "
            "Standard_NC24ads_A100_v4");
}

TEST(VerdictTest, MessagesAreBounded) {
  EXPECT_EQ(Bounded(std::string(5000, 'x')).size(), 800U);
  EXPECT_EQ(Bounded("a\nb"), "a b");
}

}  // namespace
}  // namespace gpu_provisioner

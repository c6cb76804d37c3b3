#include "gpu-provisioner/arm/arm_error.h"

#include <map>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "common/base/files.h"

namespace gpu_provisioner {
namespace {

boost::json::value ReadJson(const std::string& name) {
  const auto text = base::ReadFile(std::string(KAITO_TEST_DATA) + "/" + name);
  return boost::json::parse(text.value());
}

TEST(ClassifierTest, EveryBodyOfTheCatalogueGetsItsClass) {
  const std::map<std::string, ErrorClass> expected = {
      {"quota_family", ErrorClass::kQuotaFamily},
      {"quota_region", ErrorClass::kQuotaRegion},
      {"quota_spot", ErrorClass::kQuotaSpot},
      {"in_progress_same_pool", ErrorClass::kInProgressCreate},
      {"in_progress_other_pool", ErrorClass::kInProgressOther},
      {"in_progress_cluster", ErrorClass::kInProgressOther},
      {"in_progress_addon", ErrorClass::kInProgressOther},
      {"etag", ErrorClass::kPrecondition},
      {"throttled_rp", ErrorClass::kThrottled},
      {"throttled_arm", ErrorClass::kThrottled},
      {"sku_restricted", ErrorClass::kSkuRestricted},
      {"sku_not_available", ErrorClass::kSkuNotAvailable},
      {"allocation", ErrorClass::kAllocation},
      {"allocation_zone", ErrorClass::kAllocationZone},
      {"overconstrained", ErrorClass::kAllocationZone},
      {"subnet_full", ErrorClass::kSubnetFull},
      {"max_pools", ErrorClass::kPoolLimit},
      {"not_found_rg", ErrorClass::kClusterGone},
      {"not_found_pool", ErrorClass::kPoolGone},
      {"forbidden", ErrorClass::kForbidden},
      {"policy", ErrorClass::kPolicy},
      {"token", ErrorClass::kToken},
      {"gateway_timeout", ErrorClass::kUnknownOutcome},
      {"internal", ErrorClass::kUnknownOutcome},
      {"drain_pdb", ErrorClass::kDrainBlocked},
      {"cse", ErrorClass::kNodeBoot},
      {"overridden", ErrorClass::kOverridden},
      {"subnet_busy", ErrorClass::kSubnetBusy},
      {"reconcile_internal", ErrorClass::kReconcileInternal},
      {"spot_price", ErrorClass::kSpotPrice},
  };
  const auto catalogue = ReadJson("error-catalogue.json");
  size_t seen = 0;
  for (const auto& entry : catalogue.at("errors").as_array()) {
    const std::string name(entry.at("class").as_string().c_str());
    ASSERT_TRUE(expected.contains(name)) << name;
    const int status = static_cast<int>(entry.at("http").as_int64());
    const ArmFailure failure =
        ClassifyBody(status == 200 ? 0 : status, boost::json::serialize(entry.at("body")));
    EXPECT_EQ(ErrorClassName(failure.error_class), ErrorClassName(expected.at(name))) << name;
    ++seen;
  }
  EXPECT_EQ(seen, expected.size());
}

TEST(ClassifierTest, TheInnermostCodeDecides) {
  const auto recorded = ReadJson("recorded-failed-operation.json");
  const auto errors = ParseArmError(boost::json::serialize(recorded.at("body")));
  ASSERT_EQ(errors.size(), 2U);
  EXPECT_EQ(errors[0].code, "ReconcileVMSSAgentPoolFailed");
  EXPECT_EQ(errors[1].code, "AllocationFailed");
  EXPECT_EQ(Classify(0, errors).error_class, ErrorClass::kAllocation);
}

TEST(ClassifierTest, QuotaNumbersAreReadFromTheText) {
  const ArmFailure failure = ClassifyBody(
      409,
      R"({"error":{"code":"OperationNotAllowed","message":"Operation could not be completed as it results in exceeding approved StandardNCADSA100v4Family Cores quota. Additional details - Deployment Model: Resource Manager, Location: eastus, Current Limit: 24, Current Usage: 20, Additional Required: 48, (Minimum) New Limit Required: 68."}})");
  ASSERT_EQ(failure.error_class, ErrorClass::kQuotaFamily);
  EXPECT_EQ(failure.quota->family, "StandardNCADSA100v4Family");
  EXPECT_EQ(failure.quota->limit, 24);
  EXPECT_EQ(failure.quota->used, 20);
  EXPECT_EQ(failure.quota->need, 48);
}

TEST(ClassifierTest, AnErrorAsJsonInsideAMessageIsFound) {
  const ArmFailure failure = ClassifyBody(
      0,
      R"({"error":{"code":"Outer","message":"VMSS said: {\"error\":{\"code\":\"ZonalAllocationFailed\",\"message\":\"no\"}}"}})");
  EXPECT_EQ(failure.error_class, ErrorClass::kAllocationZone);
}

TEST(ClassifierTest, ANotFoundOfTheClusterIsNeverTakenForThePools) {
  EXPECT_EQ(
      ClassifyBody(404, R"({"error":{"code":"NotFound","message":"Agent Pool not found"}})", true)
          .error_class,
      ErrorClass::kClusterGone);
  EXPECT_EQ(ClassifyBody(404, "<html>not found</html>").error_class, ErrorClass::kUnclassified);
}

TEST(ClassifierTest, BodiesThatAreNoAnswerAreUnknownOutcomes) {
  EXPECT_EQ(ClassifyBody(200, "<html>").error_class, ErrorClass::kUnknownOutcome);
  EXPECT_EQ(ClassifyBody(502, "").error_class, ErrorClass::kUnknownOutcome);
  EXPECT_EQ(ClassifyBody(500, R"({"error":{"code":"AllocationFailed","message":""}})").error_class,
            ErrorClass::kUnknownOutcome);
}

TEST(ClassifierTest, ForbiddenNamesActionAndScope) {
  const ArmFailure failure = ClassifyBody(
      403,
      R"({"error":{"code":"AuthorizationFailed","message":"The client 'x' does not have authorization to perform action 'a/write' over scope '/s' or the scope is invalid."}})");
  EXPECT_EQ(failure.action, "a/write");
  EXPECT_EQ(failure.scope, "/s");
}

TEST(ClassifierTest, NestingAndSizeAreBounded) {
  std::string deep;
  for (int i = 0; i < 60; ++i) deep += R"({"error":{"code":"X","message":"m","details":[)";
  EXPECT_LE(ParseArmError(deep).size(), 9U);
  EXPECT_LE(ParseArmError(std::string(1 << 20, 'x')).size(), 1U);
  std::string wide = R"({"code":"A","message":"m","details":[)";
  for (int i = 0; i < 1000; ++i) wide += R"({"code":"B","message":"n"},)";
  wide += R"({"code":"B"}]})";
  EXPECT_LE(ParseArmError(wide).size(), 32U);
}

TEST(ReasonOfCodeTest, KeepsOnlyWhatAConditionAllows) {
  EXPECT_EQ(ReasonOfCode("InsufficientSubnetSize"), "InsufficientSubnetSize");
  EXPECT_EQ(ReasonOfCode("9 Bad/Code_"), "BadCode");
  EXPECT_EQ(ReasonOfCode(""), "Unclassified");
}

}  // namespace
}  // namespace gpu_provisioner

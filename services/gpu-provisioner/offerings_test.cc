#include "gpu-provisioner/offerings.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace gpu_provisioner {
namespace {

using testing::HasSubstr;

class OfferingsTest : public testing::Test {
 protected:
  OfferingsTest() {
    request_.sizes = {"Standard_B", "Standard_A"};
    request_.capacity_types = {"on-demand"};
    inputs_ = {
        .types = &types_, .skus = &skus_, .quota = &quota_, .marks = &marks_, .location = "eastus"};
  }

  std::vector<std::string> Order(bool open_only = false) {
    std::vector<std::string> order;
    for (const Offering& offering : PlanOfferings(request_, inputs_)) {
      if (open_only && offering.blocked_by != BlockedBy::kNothing) continue;
      order.push_back(offering.ref.ToString());
    }
    return order;
  }

  static catalog::GpuType Type(const char* name, double usd) {
    catalog::GpuType type;
    type.provider = "azure";
    type.name = name;
    type.gpus = 1;
    type.vcpus = 24;
    type.quota_family = std::string(name) + "Family";
    type.usd_per_hour = usd;
    return type;
  }

  catalog::GpuTypes types_{{Type("Standard_A", 3), Type("Standard_B", 7)}};
  std::map<std::string, SkuFacts> skus_;
  Quota quota_;
  Marks marks_;
  NodeRequest request_;
  OfferingInputs inputs_;
};

TEST_F(OfferingsTest, TheCheaperSizeComesFirst) {
  EXPECT_THAT(Order(), testing::ElementsAre("Standard_A/regional/on-demand",
                                            "Standard_B/regional/on-demand"));
}

TEST_F(OfferingsTest, SpotComesBeforeOnDemand) {
  request_.capacity_types = {"spot", "on-demand"};
  EXPECT_EQ(Order().front(), "Standard_A/regional/spot");
  EXPECT_EQ(Order()[2], "Standard_A/regional/on-demand");
}

TEST_F(OfferingsTest, ZonalFirstTriesTheZonesThenTheRegion) {
  skus_["standard_a"] = {.name = "Standard_A", .zones = {"1", "2"}};
  inputs_.zonal_first = true;
  EXPECT_THAT(Order(), testing::ElementsAre("Standard_A/1/on-demand", "Standard_A/2/on-demand",
                                            "Standard_A/regional/on-demand",
                                            "Standard_B/regional/on-demand"));
  request_.zones = {"1", "2"};
  EXPECT_THAT(Order(), testing::Not(testing::Contains(HasSubstr("regional"))));
}

TEST_F(OfferingsTest, QuotaThatIsShortBlocksWithItsNumbers) {
  quota_.SetUsages({{"standard_afamily", {.limit = 24, .used = 24}}, {"cores", {1000, 24}}},
                   absl::ZeroDuration());
  const auto plan = PlanOfferings(request_, inputs_);
  EXPECT_EQ(plan[0].blocked_by, BlockedBy::kQuota);
  EXPECT_EQ(plan[0].blocked_message,
            "quota of Standard_AFamily in eastus: limit 24, used 24, need 24 for Standard_A");
  EXPECT_EQ(plan[1].blocked_by, BlockedBy::kNothing);
}

TEST_F(OfferingsTest, ReservationsOfOthersCountUntilAzureCountsThem) {
  const QuotaNeed need{.family = "Standard_AFamily", .cores = 24};
  quota_.SetUsages({{"standard_afamily", {.limit = 24, .used = 0}}}, absl::Seconds(1));
  quota_.Reserve("other", need);
  EXPECT_FALSE(quota_.Check(need, "me").enough);
  EXPECT_TRUE(quota_.Check(need, "other").enough);
  quota_.Counted("other", absl::Seconds(2));
  quota_.SetUsages({{"standard_afamily", {.limit = 48, .used = 24}}}, absl::Seconds(3));
  EXPECT_TRUE(quota_.Check(need, "me").enough);
}

TEST_F(OfferingsTest, AnAllocationFailureMarksTheSizeForAnHour) {
  const OfferingRef a{"Standard_A", "", "on-demand"};
  EXPECT_TRUE(marks_.Add(a, {}, {.error_class = ErrorClass::kAllocation}, "no capacity",
                         absl::ZeroDuration()));
  EXPECT_THAT(Order(true), testing::ElementsAre("Standard_B/regional/on-demand"));
  inputs_.now = absl::Hours(1);
  EXPECT_EQ(Order(true).size(), 2U);
}

TEST_F(OfferingsTest, AZonalFailureLeavesTheOtherZones) {
  const OfferingRef zone1{"Standard_A", "1", "on-demand"};
  marks_.Add(zone1, {}, {.error_class = ErrorClass::kAllocationZone}, "", absl::ZeroDuration());
  EXPECT_TRUE(marks_.Find(zone1, "", absl::ZeroDuration()).has_value());
  EXPECT_FALSE(marks_.Find({"Standard_A", "2", "on-demand"}, "", absl::ZeroDuration()).has_value());
}

TEST_F(OfferingsTest, AQuotaMarkEndsWhenAReadingShowsRoom) {
  const OfferingRef a{"Standard_A", "", "on-demand"};
  const QuotaNeed need{.family = "Standard_AFamily", .cores = 24};
  marks_.Add(a, need, {.error_class = ErrorClass::kQuotaFamily}, "", absl::ZeroDuration());
  EXPECT_FALSE(marks_.EndWhereRoom(quota_)) << "nothing was read";
  quota_.SetUsages({{"standard_afamily", {.limit = 24, .used = 24}}}, absl::ZeroDuration());
  EXPECT_FALSE(marks_.EndWhereRoom(quota_));
  quota_.SetUsages({{"standard_afamily", {.limit = 48, .used = 24}}}, absl::ZeroDuration());
  EXPECT_TRUE(marks_.EndWhereRoom(quota_));
}

TEST_F(OfferingsTest, PriceRestrictionAndPoolLimitBlock) {
  request_.usd_per_hour_max = 5;
  EXPECT_EQ(PlanOfferings(request_, inputs_)[1].blocked_by, BlockedBy::kPrice);
  skus_["standard_a"] = {.name = "Standard_A", .restricted = true};
  EXPECT_EQ(PlanOfferings(request_, inputs_)[0].blocked_by, BlockedBy::kRestriction);
  skus_.clear();
  inputs_.pool_limit_reached = true;
  EXPECT_EQ(PlanOfferings(request_, inputs_)[0].blocked_by, BlockedBy::kPoolLimit);
}

TEST_F(OfferingsTest, ASizeInNoTableIsTriedIfItLooksLikeOne) {
  request_.sizes = {"Standard_Unheard_v9", "m5.large"};
  EXPECT_THAT(Order(), testing::ElementsAre("Standard_Unheard_v9/regional/on-demand"));
  EXPECT_TRUE(IsGpuSize(nullptr, "standard_NC7"));
}

}  // namespace
}  // namespace gpu_provisioner

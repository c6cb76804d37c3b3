#include "gpu-provisioner/rpc/messages.h"

#include "gtest/gtest.h"

namespace gpu_provisioner {
namespace {

namespace v1 = kaito::provisioner::v1;

Offering QuotaOffering(int64_t limit, int64_t used) {
  Offering offering{.ref = {"Standard_A", "", "on-demand"}};
  offering.need = {.family = "F", .cores = 24};
  offering.quota = {.known = true, .enough = true, .limit = limit, .used = used};
  return offering;
}

TEST(PlanTest, StartableCountsTheRoomInTheQuota) {
  const NodeRequest request;
  const auto plan =
      ToPlan(request, {QuotaOffering(100, 24)}, 5, 50, absl::ZeroDuration(), absl::UnixEpoch());
  EXPECT_EQ(plan.startable(), 3U);
  EXPECT_EQ(plan.reason(), "QuotaExceeded");
  EXPECT_EQ(plan.offerings(0).quota_limit(), 100U);
  EXPECT_EQ(ToPlan(request, {QuotaOffering(100, 24)}, 5, 2, absl::ZeroDuration(), absl::UnixEpoch())
                .startable(),
            2U);
}

TEST(PlanTest, ABlockedOfferingTellsItsReason) {
  Offering offering = QuotaOffering(24, 24);
  offering.blocked_by = BlockedBy::kQuota;
  offering.mark_class = ErrorClass::kQuotaFamily;
  offering.blocked_message = "quota of F";
  const auto plan = ToPlan({}, {offering}, 1, 50, absl::ZeroDuration(), absl::UnixEpoch());
  EXPECT_EQ(plan.startable(), 0U);
  EXPECT_EQ(plan.reason(), "QuotaExceeded");
  EXPECT_EQ(plan.message(), "quota of F");
  EXPECT_EQ(plan.offerings(0).blocked_by(), v1::BLOCKED_BY_QUOTA);
}

TEST(PlanTest, ARequestWithoutASizeIsInvalid) {
  EXPECT_EQ(ToRequest({}, "eastus").invalid, "instance_types: at least one is needed");
  v1::PlanRequest request;
  request.add_instance_types("Standard_A");
  request.add_zones("EastUS-2");
  const NodeRequest claim = ToRequest(request, "eastus");
  EXPECT_EQ(claim.invalid, "");
  EXPECT_EQ(claim.zones.front(), "2");
  EXPECT_EQ(claim.capacity_types.front(), "on-demand");
}

TEST(ProgressTest, TimeLeftIsWhatIsUsualLessWhatHasPassed) {
  const ClaimState state{.claim = "ws1", .phase = Phase::kLaunching, .since = absl::Seconds(10)};
  EXPECT_DOUBLE_EQ(ToProgress(state, absl::Seconds(40), 120.0).seconds_left(), 90);
  EXPECT_DOUBLE_EQ(ToProgress(state, absl::Seconds(40), std::nullopt).seconds_left(), -1);
  EXPECT_EQ(ToProgress(state, absl::Seconds(40), 120.0).phase(), v1::PHASE_LAUNCHING);
}

}  // namespace
}  // namespace gpu_provisioner

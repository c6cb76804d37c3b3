#include "local-cluster/controllers/job.h"

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "common/kube/json.h"

namespace local_cluster {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

kube::Object Job(std::string_view spec, std::string_view status = "") {
  return *kube::Object::Parse(absl::StrFormat(
      R"({"apiVersion": "batch/v1", "kind": "Job",
          "metadata": {"name": "j", "namespace": "d", "uid": "u"},
          "spec": {%s "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "m"}]}}},
          "status": {%s}})",
      spec, status));
}

kube::Object Pod(std::string_view phase, int exit_code = 0, absl::Time end = kNow) {
  return *kube::Object::Parse(absl::StrFormat(
      R"({"metadata": {"name": "j-x", "namespace": "d", "finalizers": ["batch.kubernetes.io/job-tracking"]},
          "status": {"phase": "%s", "containerStatuses": [{"name": "m", "state": {"terminated":
            {"exitCode": %d, "finishedAt": "%s"}}}]}})",
      phase, exit_code, kube::FormatTime(end)));
}

std::string Reason(const JobPlan& plan, std::string_view type) {
  const boost::json::value* conditions = kube::FindPath(*plan.status, {"conditions"});
  if (conditions == nullptr) return "";
  for (const auto& condition : conditions->as_array()) {
    if (kube::StringAt(condition, {"type"}) == type) {
      return std::string(kube::StringAt(condition, {"reason"}));
    }
  }
  return "";
}

TEST(JobTest, ParallelPodsRunUntilEnoughHaveSucceeded) {
  const kube::Object job = Job(R"("completions": 3, "parallelism": 2,)");
  EXPECT_THAT(PlanJob(job, {}, kNow).create, SizeIs(2));
  EXPECT_THAT(PlanJob(job, {Pod("Succeeded"), Pod("Succeeded")}, kNow).create, SizeIs(1));
  const JobPlan done = PlanJob(job, {Pod("Succeeded"), Pod("Succeeded"), Pod("Succeeded")}, kNow);
  EXPECT_THAT(done.create, IsEmpty());
  EXPECT_EQ(Reason(done, "Complete"), "CompletionsReached");
  EXPECT_THAT(done.release, SizeIs(3));
}

TEST(JobTest, RetriesWaitTenSecondsThenTwenty) {
  const kube::Object job = Job(R"("completions": 1,)");
  const JobPlan first = PlanJob(job, {Pod("Failed", 1)}, kNow + absl::Seconds(4));
  EXPECT_THAT(first.create, IsEmpty());
  EXPECT_EQ(first.look_again, absl::Seconds(6));
  EXPECT_THAT(PlanJob(job, {Pod("Failed", 1)}, kNow + absl::Seconds(10)).create, SizeIs(1));
  const std::vector<kube::Object> two = {Pod("Failed", 1), Pod("Failed", 1)};
  EXPECT_EQ(PlanJob(job, two, kNow).look_again, absl::Seconds(20));
}

TEST(JobTest, BackoffLimitEndsTheJob) {
  const kube::Object job = Job(R"("completions": 1, "backoffLimit": 1,)");
  const JobPlan plan = PlanJob(job, {Pod("Failed", 1), Pod("Failed", 1)}, kNow);
  EXPECT_EQ(Reason(plan, "Failed"), "BackoffLimitExceeded");
  EXPECT_EQ(kube::IntAt(*plan.status, {"failed"}), 2);
}

TEST(JobTest, DeadlineEndsTheJobAndItsPods) {
  const kube::Object job = Job(R"("completions": 1, "activeDeadlineSeconds": 5,)",
                               absl::StrFormat(R"("startTime": "%s")", kube::FormatTime(kNow)));
  EXPECT_EQ(PlanJob(job, {Pod("Running")}, kNow).look_again, absl::Seconds(5));
  const JobPlan late = PlanJob(job, {Pod("Running")}, kNow + absl::Seconds(5));
  EXPECT_EQ(Reason(late, "Failed"), "DeadlineExceeded");
  EXPECT_THAT(late.remove, SizeIs(1));
}

TEST(JobTest, PodFailurePolicyFailsTheJobOrIgnoresTheFailure) {
  const kube::Object job =
      Job(R"("completions": 1, "backoffLimit": 0, "podFailurePolicy": {"rules": [
      {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [10]}},
      {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [143]}}]},)");
  const JobPlan failed = PlanJob(job, {Pod("Failed", 10)}, kNow);
  EXPECT_EQ(Reason(failed, "Failed"), "PodFailurePolicy");
  const JobPlan ignored = PlanJob(job, {Pod("Failed", 143)}, kNow);
  EXPECT_EQ(Reason(ignored, "Failed"), "");
  EXPECT_THAT(ignored.create, SizeIs(1));
}

TEST(JobTest, FinishedJobIsDeletedAfterItsTimeToLive) {
  const kube::Object job = Job(
      R"("ttlSecondsAfterFinished": 60,)",
      absl::StrFormat(
          R"("conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": "%s"}])",
          kube::FormatTime(kNow)));
  EXPECT_EQ(PlanJob(job, {}, kNow).look_again, absl::Seconds(60));
  EXPECT_TRUE(PlanJob(job, {}, kNow + absl::Minutes(1)).delete_job);
}

TEST(JobTest, IndexedPodsGetTheFreeIndexes) {
  const kube::Object job =
      Job(R"("completions": 3, "parallelism": 3, "completionMode": "Indexed",)");
  kube::Object done = Pod("Succeeded");
  done.SetAnnotation("batch.kubernetes.io/job-completion-index", "1");
  const JobPlan plan = PlanJob(job, {done}, kNow);
  ASSERT_THAT(plan.create, SizeIs(2));
  EXPECT_EQ(plan.create[0].annotation("batch.kubernetes.io/job-completion-index"), "0");
  EXPECT_EQ(plan.create[1].annotation("batch.kubernetes.io/job-completion-index"), "2");
}

}  // namespace
}  // namespace local_cluster

#include "local-cluster/controllers/stateful_set.h"

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "common/kube/json.h"

namespace local_cluster {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

kube::Object Set(int replicas, std::string_view more = "") {
  return *kube::Object::Parse(absl::StrFormat(
      R"({"apiVersion": "apps/v1", "kind": "StatefulSet",
          "metadata": {"name": "x", "namespace": "d", "uid": "u", "generation": 3},
          "spec": {"replicas": %d, "serviceName": "s", %s
                   "selector": {"matchLabels": {"app": "x"}},
                   "template": {"metadata": {"labels": {"app": "x"}},
                                "spec": {"containers": [{"name": "m"}]}}}})",
      replicas, more));
}

kube::Object Pod(int ordinal, std::string_view revision, bool ready = true) {
  return *kube::Object::Parse(absl::StrFormat(
      R"({"metadata": {"name": "x-%d", "namespace": "d",
                       "labels": {"controller-revision-hash": "%s"}},
          "status": {"phase": "Running",
                     "conditions": [{"type": "Ready", "status": "%s"}]}})",
      ordinal, revision, ready ? "True" : "False"));
}

StatefulSetRevisions Revisions(const kube::Object& set, const std::string& current = "r1",
                               const std::string& update = "r1") {
  return {.current = current, .update = update, .current_set = set};
}

std::vector<std::string> Names(const std::vector<kube::Object>& objects) {
  std::vector<std::string> names;
  for (const kube::Object& object : objects) names.emplace_back(object.name());
  return names;
}

constexpr std::string_view kParallel = R"("podManagementPolicy": "Parallel",)";

TEST(StatefulSetTest, OrderedPodsAreMadeOneAfterTheOther) {
  const kube::Object set = Set(3);
  EXPECT_THAT(Names(PlanStatefulSet(set, {}, Revisions(set)).create), ElementsAre("x-0"));
  EXPECT_THAT(Names(PlanStatefulSet(set, {Pod(0, "r1", false)}, Revisions(set)).create), IsEmpty());
  EXPECT_THAT(Names(PlanStatefulSet(set, {Pod(0, "r1")}, Revisions(set)).create),
              ElementsAre("x-1"));
}

TEST(StatefulSetTest, ParallelPodsAreMadeTogetherWithTheirLabels) {
  const kube::Object set = Set(2, kParallel);
  const StatefulSetPlan plan = PlanStatefulSet(set, {}, Revisions(set));
  ASSERT_THAT(Names(plan.create), ElementsAre("x-0", "x-1"));
  const kube::Object& pod = plan.create[1];
  EXPECT_EQ(pod.label("statefulset.kubernetes.io/pod-name"), "x-1");
  EXPECT_EQ(pod.label("apps.kubernetes.io/pod-index"), "1");
  EXPECT_EQ(pod.label("controller-revision-hash"), "r1");
  EXPECT_EQ(pod.label("app"), "x");
  EXPECT_EQ(pod.StringAt({"spec", "hostname"}), "x-1");
  EXPECT_EQ(pod.StringAt({"spec", "subdomain"}), "s");
  EXPECT_EQ(pod.controller()->uid, "u");
}

TEST(StatefulSetTest, SurplusPodsGoFromTheTop) {
  const kube::Object set = Set(1);
  const std::vector<kube::Object> pods = {Pod(0, "r1"), Pod(1, "r1"), Pod(2, "r1")};
  EXPECT_THAT(Names(PlanStatefulSet(set, pods, Revisions(set)).remove), ElementsAre("x-2"));
}

TEST(StatefulSetTest, UpdateReplacesOnePodAtATimeFromTheTopAndWaitsUntilItIsReady) {
  const kube::Object set = Set(2, kParallel);
  const StatefulSetRevisions revisions = Revisions(set, "r1", "r2");
  EXPECT_THAT(Names(PlanStatefulSet(set, {Pod(0, "r1"), Pod(1, "r1")}, revisions).remove),
              ElementsAre("x-1"));
  EXPECT_THAT(Names(PlanStatefulSet(set, {Pod(0, "r1"), Pod(1, "r2", false)}, revisions).remove),
              IsEmpty());
  EXPECT_THAT(Names(PlanStatefulSet(set, {Pod(0, "r1"), Pod(1, "r2")}, revisions).remove),
              ElementsAre("x-0"));
  const StatefulSetPlan done = PlanStatefulSet(set, {Pod(0, "r2"), Pod(1, "r2")}, revisions);
  EXPECT_EQ(kube::StringAt(*done.status, {"currentRevision"}), "r2");
  EXPECT_EQ(kube::IntAt(*done.status, {"updatedReplicas"}), 2);
}

TEST(StatefulSetTest, PartitionKeepsLowerPodsAndBringsThemBackAsTheyWere) {
  const kube::Object set = Set(
      2,
      R"("podManagementPolicy": "Parallel", "updateStrategy": {"rollingUpdate": {"partition": 1}},)");
  const StatefulSetRevisions revisions = Revisions(set, "r1", "r2");
  const StatefulSetPlan plan = PlanStatefulSet(set, {Pod(1, "r2")}, revisions);
  ASSERT_THAT(Names(plan.create), ElementsAre("x-0"));
  EXPECT_EQ(plan.create[0].label("controller-revision-hash"), "r1");
  EXPECT_THAT(Names(PlanStatefulSet(set, {Pod(0, "r1"), Pod(1, "r2")}, revisions).remove),
              IsEmpty());
}

TEST(StatefulSetTest, FailedPodIsReplacedUnderItsName) {
  const kube::Object set = Set(1);
  kube::Object failed = Pod(0, "r1");
  kube::MakePath(failed.mutable_json(), {"status"}).as_object()["phase"] = "Failed";
  EXPECT_THAT(Names(PlanStatefulSet(set, {failed}, Revisions(set)).remove), ElementsAre("x-0"));
}

TEST(StatefulSetTest, ClaimsAreMadePerPodAndMounted) {
  const kube::Object set =
      Set(1, R"("volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {}}],)");
  const StatefulSetPlan plan = PlanStatefulSet(set, {}, Revisions(set));
  ASSERT_THAT(Names(plan.claims), ElementsAre("data-x-0"));
  EXPECT_EQ(plan.create.at(0)
                .json()
                .at("spec")
                .at("volumes")
                .at(0)
                .at("persistentVolumeClaim")
                .at("claimName"),
            "data-x-0");
}

}  // namespace
}  // namespace local_cluster

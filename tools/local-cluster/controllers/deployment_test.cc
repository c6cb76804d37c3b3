#include "local-cluster/controllers/deployment.h"

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "common/kube/json.h"

namespace local_cluster {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

kube::Object Deployment(std::string_view image, int replicas) {
  return *kube::Object::Parse(absl::StrFormat(
      R"({"metadata": {"name": "x", "namespace": "d", "uid": "u", "generation": 2},
          "spec": {"replicas": %d, "selector": {"matchLabels": {"app": "x"}},
                   "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
                   "template": {"metadata": {"labels": {"app": "x"}},
                                "spec": {"containers": [{"name": "m", "image": "%s"}]}}}})",
      replicas, image));
}

// As stored: with what its pods have become.
kube::Object Stored(kube::Object set, int replicas, int ready) {
  boost::json::value& json = set.mutable_json();
  kube::MakePath(json, {"spec"}).as_object()["replicas"] = replicas;
  kube::MakePath(json, {"status"}) =
      boost::json::object{{"replicas", replicas}, {"readyReplicas", ready}};
  return set;
}

TEST(DeploymentTest, FirstReplicaSetHasAllReplicasAndTheTemplatesHash) {
  const DeploymentPlan plan = PlanDeployment(Deployment("a", 2), {}, kNow);
  ASSERT_TRUE(plan.create.has_value());
  EXPECT_EQ(plan.create->IntAt({"spec", "replicas"}), 2);
  const std::string hash(plan.create->label("pod-template-hash"));
  EXPECT_EQ(plan.create->name(), "x-" + hash);
  EXPECT_EQ(plan.create->StringAt({"spec", "selector", "matchLabels", "pod-template-hash"}), hash);
}

TEST(DeploymentTest, RolloutGrowsTheNewSetFirstAndThenShrinksTheOldOne) {
  const kube::Object old_set = *PlanDeployment(Deployment("a", 2), {}, kNow).create;
  const kube::Object deployment = Deployment("b", 2);
  const DeploymentPlan start = PlanDeployment(deployment, {Stored(old_set, 2, 2)}, kNow);
  ASSERT_TRUE(start.create.has_value());
  EXPECT_EQ(start.create->IntAt({"spec", "replicas"}), 1);

  const kube::Object new_set = *start.create;
  EXPECT_THAT(
      PlanDeployment(deployment, {Stored(old_set, 2, 2), Stored(new_set, 1, 0)}, kNow).scale,
      IsEmpty());
  EXPECT_THAT(
      PlanDeployment(deployment, {Stored(old_set, 2, 2), Stored(new_set, 1, 1)}, kNow).scale,
      ElementsAre(Pair(std::string(old_set.name()), 1)));
  const DeploymentPlan done =
      PlanDeployment(deployment, {Stored(old_set, 0, 0), Stored(new_set, 2, 2)}, kNow);
  EXPECT_EQ(kube::IntAt(*done.status, {"updatedReplicas"}), 2);
  EXPECT_EQ(kube::IntAt(*done.status, {"observedGeneration"}), 2);
}

TEST(DeploymentTest, ReplicaSetMakesAndRemovesPods) {
  const kube::Object set = *PlanDeployment(Deployment("a", 2), {}, kNow).create;
  EXPECT_THAT(PlanReplicaSet(set, {}).create, SizeIs(2));
  const kube::Object unready = *kube::Object::Parse(R"({"metadata": {"name": "unready"}})");
  const kube::Object ready = *kube::Object::Parse(R"({"metadata": {"name": "ready"},
      "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}})");
  const ReplicaSetPlan plan = PlanReplicaSet(set, {ready, unready, ready});
  ASSERT_THAT(plan.remove, SizeIs(1));
  EXPECT_EQ(plan.remove[0].name(), "unready");
}

}  // namespace
}  // namespace local_cluster

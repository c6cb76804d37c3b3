#include "local-cluster/controllers/endpoints.h"

#include "absl/strings/str_format.h"
#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "common/kube/json.h"
#include "local-cluster/controllers/objects.h"

namespace local_cluster {
namespace {

kube::Object Service() {
  return *kube::Object::Parse(R"({"metadata": {"name": "s", "namespace": "d", "uid": "u"},
      "spec": {"selector": {"app": "x"},
               "ports": [{"name": "http", "port": 80, "targetPort": "web"},
                         {"name": "grpc", "port": 8001}]}})");
}

kube::Object Pod(std::string_view name, std::string_view app, bool ready) {
  return *kube::Object::Parse(absl::StrFormat(
      R"({"metadata": {"name": "%s", "namespace": "d", "labels": {"app": "%s"}},
          "spec": {"containers": [{"ports": [{"name": "web", "containerPort": 5000}]}]},
          "status": {"phase": "Running", "podIP": "127.32.0.1",
                     "conditions": [{"type": "Ready", "status": "%s"}]}})",
      name, app, ready ? "True" : "False"));
}

TEST(EndpointsTest, SliceHasMatchingPodsWithTheirReadinessAndResolvedPorts) {
  const kube::Object slice = PlanEndpointSlice(
      Service(), {Pod("b", "x", false), Pod("a", "x", true), Pod("c", "other", true)});
  const auto& endpoints = ArrayAt(slice.json(), {"endpoints"});
  ASSERT_EQ(endpoints.size(), 2U);
  EXPECT_EQ(kube::StringAt(endpoints[0], {"targetRef", "name"}), "a");
  EXPECT_TRUE(kube::BoolAt(endpoints[0], {"conditions", "ready"}));
  EXPECT_FALSE(kube::BoolAt(endpoints[1], {"conditions", "ready"}));
  EXPECT_EQ(kube::IntAt(ArrayAt(slice.json(), {"ports"})[0], {"port"}), 5000);
  EXPECT_EQ(kube::IntAt(ArrayAt(slice.json(), {"ports"})[1], {"port"}), 8001);
  EXPECT_EQ(slice.label("kubernetes.io/service-name"), "s");
}

TEST(EndpointsTest, EndpointsSeparateReadyFromUnready) {
  const kube::Object endpoints =
      PlanEndpoints(Service(), {Pod("a", "x", true), Pod("b", "x", false)});
  const auto& subset = ArrayAt(endpoints.json(), {"subsets"}).at(0);
  EXPECT_EQ(ArrayAt(subset, {"addresses"}).size(), 1U);
  EXPECT_EQ(ArrayAt(subset, {"notReadyAddresses"}).size(), 1U);
}

TEST(ObjectsTest, SelectorsMatchLabelsAndExpressions) {
  const auto selector = boost::json::parse(R"({"matchLabels": {"a": "1"},
      "matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["2"]},
                           {"key": "c", "operator": "Exists"}]})");
  EXPECT_TRUE(MatchesSelector(&selector, {{"a", "1"}, {"c", ""}}));
  EXPECT_FALSE(MatchesSelector(&selector, {{"a", "1"}, {"b", "2"}, {"c", ""}}));
  EXPECT_FALSE(MatchesSelector(&selector, {{"a", "2"}, {"c", ""}}));
  EXPECT_FALSE(MatchesSelector(nullptr, {{"a", "1"}}));
  EXPECT_EQ(SelectorText(&selector), "a=1,b notin (2),c");
}

}  // namespace
}  // namespace local_cluster

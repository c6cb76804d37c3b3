#include "common/kube/conditions.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "common/kube/fake_transport.h"

namespace kube {
namespace {

namespace json = boost::json;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

Object Workspace() {
  return *Object::Parse(R"({"metadata":{"namespace":"n","name":"w","resourceVersion":"7",
    "finalizers":["other"]},"status":{"workers":["a"],"old":1,"conditions":[
    {"type":"Ready","status":"False","reason":"Waiting","lastTransitionTime":"2020-01-01T00:00:00Z"}
    ]}})");
}

TEST(ConditionsTest, TheTransitionTimeMovesOnlyWithTheStatus) {
  const json::value conditions =
      ConditionsJson(Workspace(),
                     {{.type = "Ready", .status = "False", .reason = "Other", .message = "m"},
                      {.type = "Accepted", .status = "True", .reason = "Yes"}},
                     kNow);
  EXPECT_EQ(conditions, json::parse(R"([
    {"type":"Accepted","status":"True","reason":"Yes","message":"","observedGeneration":0,
     "lastTransitionTime":"2023-11-14T22:13:20Z"},
    {"type":"Ready","status":"False","reason":"Other","message":"m","observedGeneration":0,
     "lastTransitionTime":"2020-01-01T00:00:00Z"}])"));
}

TEST(ConditionsTest, ConditionsAreFound) {
  EXPECT_EQ(FindCondition(Workspace(), "Ready")->reason, "Waiting");
  EXPECT_EQ(FindCondition(Workspace(), "Gone"), std::nullopt);
  EXPECT_FALSE(IsConditionTrue(Workspace(), "Ready"));
}

class StatusWriterTest : public ::testing::Test {
 protected:
  json::value Sent() const { return json::parse(transport_.requests().at(0).body); }

  FakeTransport transport_;
  Client client_{transport_, {.field_manager = "tester"}};
};

TEST_F(StatusWriterTest, AnEqualStatusIsNotWritten) {
  const auto written =
      WriteStatus(client_, resources::kWorkspaces, Workspace(), *Workspace().Find({"status"}));
  ASSERT_TRUE(written.ok());
  EXPECT_FALSE(written->changed);
  EXPECT_TRUE(transport_.requests().empty());
}

TEST_F(StatusWriterTest, OnlyTheDifferenceIsSentWithTheVersion) {
  json::value status = *Workspace().Find({"status"});
  status.as_object().erase("old");
  status.as_object()["workers"] = json::array{"a", "b"};
  transport_.Answer(200, "{}");
  const auto written = WriteStatus(client_, resources::kWorkspaces, Workspace(), status);
  ASSERT_TRUE(written.ok()) << written.status();
  EXPECT_TRUE(written->changed);
  EXPECT_EQ(Sent(), json::parse(R"({"metadata":{"resourceVersion":"7"},
                                    "status":{"workers":["a","b"],"old":null}})"));
  EXPECT_EQ(transport_.requests()[0].target,
            "/apis/kaito.sh/v1beta1/namespaces/n/workspaces/w/status?fieldManager=tester-status");
}

TEST_F(StatusWriterTest, AFinalizerIsAddedAndRemovedOnce) {
  transport_.Answer(200, "{}");
  ASSERT_TRUE(AddFinalizer(client_, resources::kWorkspaces, Workspace(), "mine").ok());
  EXPECT_EQ(Sent(), json::parse(R"({"metadata":{"resourceVersion":"7",
                                    "finalizers":["other","mine"]}})"));
  ASSERT_TRUE(AddFinalizer(client_, resources::kWorkspaces, Workspace(), "other").ok());
  ASSERT_TRUE(RemoveFinalizer(client_, resources::kWorkspaces, Workspace(), "mine").ok());
  EXPECT_EQ(transport_.requests().size(), 1U);
  transport_.Answer(200, "{}");
  ASSERT_TRUE(RemoveFinalizer(client_, resources::kWorkspaces, Workspace(), "other").ok());
  EXPECT_EQ(json::parse(transport_.requests()[1].body).at("metadata").at("finalizers"),
            json::array());
}

}  // namespace
}  // namespace kube

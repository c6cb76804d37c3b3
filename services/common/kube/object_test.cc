#include "common/kube/object.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "boost/json.hpp"

namespace kube {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

Object Parsed(std::string_view text) {
  absl::StatusOr<Object> object = Object::Parse(text);
  EXPECT_TRUE(object.ok()) << object.status();
  return object.ok() ? *std::move(object) : Object();
}

TEST(ObjectTest, MetadataIsReadAndMissingMembersAreEmpty) {
  const Object object = Parsed(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p",
    "namespace":"n","uid":"u","resourceVersion":"5","generation":3,"labels":{"a":"b","c":4},
    "finalizers":["f"],"creationTimestamp":"2024-02-03T04:05:06Z",
    "ownerReferences":[{"apiVersion":"apps/v1","kind":"StatefulSet","name":"s","uid":"su",
    "controller":true}]}})");
  EXPECT_EQ(object.key(), (ObjectKey{"n", "p"}));
  EXPECT_EQ(object.resource_version(), "5");
  EXPECT_EQ(object.generation(), 3);
  EXPECT_THAT(object.labels(), ElementsAre(Pair("a", "b")));
  EXPECT_TRUE(object.HasFinalizer("f"));
  EXPECT_EQ(object.controller()->name, "s");
  EXPECT_EQ(kube::FormatTime(*object.creation_time()), "2024-02-03T04:05:06Z");
  EXPECT_FALSE(object.being_deleted());
  EXPECT_EQ(Object().name(), "");
  EXPECT_EQ(Object().labels().size(), 0U);
}

TEST(ObjectTest, AChangeOfACopyIsNotSeenByTheOriginal) {
  Object original = Parsed(R"({"metadata":{"name":"a"}})");
  Object copy = original;
  copy.SetLabel("app", "x");
  copy.SetAnnotation("example.com/a", "y");
  EXPECT_EQ(copy.label("app"), "x");
  EXPECT_EQ(copy.annotation("example.com/a"), "y");
  EXPECT_EQ(original.label("app"), "");
  EXPECT_FALSE(original == copy);
  Object empty;
  empty.SetLabel("a", "b");
  EXPECT_EQ(Object().label("a"), "");
}

TEST(ObjectTest, AnOwnerIsReferredToOnce) {
  Object object;
  object.AddOwnerReference({.api_version = "v1", .kind = "Pod", .name = "p", .uid = "1"});
  object.AddOwnerReference(
      {.api_version = "v1", .kind = "Pod", .name = "p", .uid = "1", .controller = true});
  ASSERT_EQ(object.owner_references().size(), 1U);
  EXPECT_TRUE(object.controller().has_value());
}

TEST(ObjectTest, OnlyObjectsAreParsed) {
  EXPECT_FALSE(Object::Parse("[]").ok());
  EXPECT_FALSE(Object::Parse("{").ok());
}

TEST(TextFormsTest, TimesHaveWholeSecondsOrMicroseconds) {
  const absl::Time time = absl::FromUnixMicros(1'700'000'000'123'456);
  EXPECT_EQ(kube::FormatTime(time), "2023-11-14T22:13:20Z");
  EXPECT_EQ(FormatMicroTime(time), "2023-11-14T22:13:20.123456Z");
  EXPECT_EQ(ParseTime("2023-11-14T22:13:20.123456Z"), time);
  EXPECT_EQ(ParseTime("2023-11-14T23:13:20.123456+01:00"), time);
  EXPECT_EQ(ParseTime("yesterday"), std::nullopt);
}

TEST(TextFormsTest, QuantitiesAreRead) {
  EXPECT_DOUBLE_EQ(*ParseQuantity("500m"), 0.5);
  EXPECT_DOUBLE_EQ(*ParseQuantity("16Gi"), 16.0 * (1 << 30));
  EXPECT_DOUBLE_EQ(*ParseQuantity("1e3"), 1000);
  EXPECT_DOUBLE_EQ(*ParseQuantity("2E"), 2e18);
  EXPECT_DOUBLE_EQ(*ParseQuantity("100k"), 100'000);
  EXPECT_DOUBLE_EQ(*ParseQuantity("-1.5"), -1.5);
  EXPECT_DOUBLE_EQ(*ParseQuantity("+.5"), 0.5);
  EXPECT_DOUBLE_EQ(*ParseQuantity("0"), 0);
  for (const char* bad : {"", "Gi", "1GiB", "1 Gi", "abc", "1e", "--1", "1.2.3", "0x10"}) {
    EXPECT_EQ(ParseQuantity(bad), std::nullopt) << bad;
  }
}

TEST(ResourceTest, PathsNameGroupNamespaceAndSubresource) {
  EXPECT_EQ(resources::kPods.Path({"ns", "p"}, "log"), "/api/v1/namespaces/ns/pods/p/log");
  EXPECT_EQ(resources::kStatefulSets.Path({"ns", ""}), "/apis/apps/v1/namespaces/ns/statefulsets");
  EXPECT_EQ(resources::kPods.Path(), "/api/v1/pods");
  EXPECT_EQ(resources::kNodes.Path({"", "n"}, "status"), "/api/v1/nodes/n/status");
  EXPECT_EQ(resources::kPods.Path({"ns", "a/../b?c"}), "/api/v1/namespaces/ns/pods/a%2F..%2Fb%3Fc");
}

}  // namespace
}  // namespace kube

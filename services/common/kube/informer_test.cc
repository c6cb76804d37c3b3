#include "common/kube/informer.h"

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "common/kube/fake_transport.h"
#include "common/kube/sharded_store.h"

namespace kube {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

std::string Pod(std::string_view name, std::string_view version, std::string_view uid = "u") {
  return absl::StrFormat(
      R"({"kind":"Pod","metadata":{"namespace":"n","name":"%s","resourceVersion":"%s","uid":"%s"}})",
      name, version, uid);
}

std::string PodList(std::string_view version, const std::vector<std::string>& pods) {
  std::string items;
  for (const std::string& pod : pods) items += (items.empty() ? "" : ",") + pod;
  return absl::StrFormat(R"({"metadata":{"resourceVersion":"%s"},"items":[%s]})", version, items);
}

std::string Event(std::string_view type, const std::string& object) {
  return absl::StrFormat("{\"type\":\"%s\",\"object\":%s}\n", type, object);
}

constexpr char kExpired[] =
    R"({"kind":"Status","code":410,"reason":"Expired","message":"too old resource version"})";

// Drives an informer by hand, against answers from a script and a clock that stands still.
class InformerTest : public ::testing::Test {
 protected:
  void Begin(InformerOptions options = {}) {
    ClientOptions client_options;
    client_options.sleep = [](absl::Duration) {};
    client_ = std::make_unique<Client>(transport_, client_options);
    informer_ = std::make_unique<Informer>(*client_, resources::kPods, std::move(options), clock_);
    informer_->AddHandler([this](const InformerEvent& event) {
      const char* const names[] = {"+", "~", "-", "="};
      told_.push_back(names[static_cast<int>(event.change)] + std::string(event.object.name()) +
                      std::string(event.object.resource_version()));
    });
  }

  // Steps until nothing happens any more; returns the back-off asked for, if any.
  absl::Duration Run() {
    for (int i = 0; i < 50; ++i) {
      const size_t requests = transport_.requests().size();
      const size_t told = told_.size();
      const absl::Duration pause = informer_->Step(absl::ZeroDuration());
      if (pause > absl::ZeroDuration()) return pause;
      if (requests == transport_.requests().size() && told == told_.size() && ++quiet_ > 3) break;
    }
    quiet_ = 0;
    return absl::ZeroDuration();
  }

  std::vector<std::string> TakeTold() { return std::exchange(told_, {}); }
  std::string LastTarget() const { return transport_.requests().back().target; }

  base::ManualClock clock_;
  FakeTransport transport_;
  std::unique_ptr<Client> client_;
  std::unique_ptr<Informer> informer_;
  std::vector<std::string> told_;
  int quiet_ = 0;
};

TEST_F(InformerTest, AListThenAWatchKeepTheCacheCurrent) {
  Begin();
  transport_.Answer(200, PodList("5", {Pod("a", "1"), Pod("b", "2")}));
  const auto watch = transport_.AnswerStream();
  EXPECT_FALSE(informer_->synced());
  Run();
  EXPECT_TRUE(informer_->synced());
  EXPECT_THAT(TakeTold(), ElementsAre("+a1", "+b2"));
  EXPECT_THAT(LastTarget(), HasSubstr("resourceVersion=5"));
  EXPECT_THAT(LastTarget(), HasSubstr("allowWatchBookmarks=true"));

  const auto before = informer_->Snapshot();
  watch->Push(Event("ADDED", Pod("c", "6")) + Event("MODIFIED", Pod("a", "7")) +
              Event("DELETED", Pod("b", "8")));
  Run();
  EXPECT_THAT(TakeTold(), ElementsAre("+c6", "~a7", "-b8"));
  EXPECT_EQ(informer_->Snapshot()->size(), 2U);
  EXPECT_EQ(informer_->Find({"n", "a"})->resource_version(), "7");
  EXPECT_EQ(before->Find({"n", "a"})->resource_version(), "1") << "a picture changed";
}

TEST_F(InformerTest, AWatchThatEndsIsReopenedAtTheLastVersionBookmarksIncluded) {
  Begin();
  transport_.Answer(200, PodList("5", {}));
  const auto first = transport_.AnswerStream();
  Run();
  first->Push(Event("BOOKMARK", R"({"metadata":{"resourceVersion":"77"}})"));
  Run();
  first->End();
  const auto second = transport_.AnswerStream();
  EXPECT_EQ(Run(), absl::ZeroDuration());
  EXPECT_THAT(LastTarget(), HasSubstr("resourceVersion=77"));
  EXPECT_EQ(transport_.requests().size(), 3U) << "a clean end needs no list";
}

TEST_F(InformerTest, An410EventListsAgainAndReportsWhatIsDifferent) {
  Begin();
  transport_.Answer(200, PodList("5", {Pod("a", "1"), Pod("b", "2"), Pod("d", "3", "old")}));
  const auto first = transport_.AnswerStream();
  Run();
  TakeTold();
  clock_.Advance(absl::Minutes(1));
  first->Push(Event("ERROR", kExpired));
  transport_.Answer(200, PodList("9", {Pod("a", "1"), Pod("c", "8"), Pod("d", "9", "new")}));
  transport_.AnswerStream();
  EXPECT_EQ(Run(), absl::ZeroDuration());
  EXPECT_THAT(TakeTold(), UnorderedElementsAre("-b2", "-d3", "+c8", "+d9"));
  EXPECT_THAT(LastTarget(), HasSubstr("resourceVersion=9"));
}

TEST_F(InformerTest, An410AsHttpStatusListsAgain) {
  Begin();
  transport_.Answer(200, PodList("5", {Pod("a", "1")}));
  const auto first = transport_.AnswerStream();
  Run();
  clock_.Advance(absl::Minutes(1));
  first->End();
  const auto refused = transport_.AnswerStream(410);
  refused->Push(std::string(kExpired));
  refused->End();
  transport_.Answer(200, PodList("9", {}));
  transport_.AnswerStream();
  TakeTold();
  EXPECT_EQ(Run(), absl::ZeroDuration());
  EXPECT_THAT(TakeTold(), ElementsAre("-a1"));
}

TEST_F(InformerTest, AFailedListIsRetriedWithGrowingWaits) {
  Begin();
  transport_.SetFallback([](const net::Request&) { return net::Response{.status = 500}; });
  double least = 0.8;
  for (int i = 0; i < 7; ++i) {
    const double pause = absl::ToDoubleSeconds(Run());
    EXPECT_GE(pause, least);
    EXPECT_LE(pause, 2 * least);
    least = std::min(2 * least, 30.0);
  }
  clock_.Advance(absl::Minutes(3));
  EXPECT_LE(Run(), absl::Seconds(1.6)) << "two healthy minutes start over";
  EXPECT_FALSE(informer_->synced());
}

TEST_F(InformerTest, ACutWatchIsReopenedAfterAWaitWithoutAList) {
  Begin();
  transport_.Answer(200, PodList("5", {}));
  const auto first = transport_.AnswerStream();
  Run();
  first->Push(absl::UnavailableError("connection reset"));
  EXPECT_GE(Run(), absl::Seconds(0.8));
  transport_.AnswerStream();
  Run();
  EXPECT_THAT(LastTarget(), HasSubstr("watch=true"));
}

TEST_F(InformerTest, AWatchThatEndsAtOnceIsAFailureAndNotAHotLoop) {
  Begin();
  transport_.Answer(200, PodList("5", {}));
  transport_.AnswerStream()->End();
  EXPECT_GE(Run(), absl::Seconds(0.8));
}

TEST_F(InformerTest, ASilentWatchIsClosedAfterItsTimeout) {
  Begin();
  transport_.Answer(200, PodList("5", {}));
  const auto first = transport_.AnswerStream();
  Run();
  clock_.Advance(absl::Seconds(301));
  EXPECT_FALSE(first->was_cancelled());
  clock_.Advance(absl::Seconds(330));
  EXPECT_GT(Run(), absl::ZeroDuration());
  EXPECT_TRUE(first->was_cancelled());
}

TEST_F(InformerTest, AWatchListReplacesTheStoreOnlyWhenComplete) {
  Begin({.watch_list = true});
  const auto watch = transport_.AnswerStream();
  watch->Push(Event("ADDED", Pod("a", "1")) + Event("ADDED", Pod("b", "2")));
  Run();
  EXPECT_THAT(LastTarget(), HasSubstr("sendInitialEvents=true"));
  EXPECT_THAT(LastTarget(), HasSubstr("resourceVersionMatch=NotOlderThan"));
  EXPECT_FALSE(informer_->synced());
  EXPECT_THAT(TakeTold(), IsEmpty());
  watch->Push(Event(
      "BOOKMARK",
      R"({"metadata":{"resourceVersion":"9","annotations":{"k8s.io/initial-events-end":"true"}}})"));
  Run();
  EXPECT_TRUE(informer_->synced());
  EXPECT_THAT(TakeTold(), ElementsAre("+a1", "+b2"));
  EXPECT_EQ(transport_.requests().size(), 1U);
}

TEST_F(InformerTest, AnErrorBeforeTheEndOfAWatchListFallsBackToAList) {
  Begin({.watch_list = true});
  const auto first = transport_.AnswerStream();
  first->Push(Event("ADDED", Pod("ghost", "1")));
  first->Push(absl::UnavailableError("connection reset"));
  transport_.Answer(200, PodList("5", {Pod("a", "1")}));
  transport_.AnswerStream();
  Run();
  EXPECT_THAT(TakeTold(), ElementsAre("+a1"));

  Begin({.watch_list = true});  // And where it is not known at all.
  transport_.AnswerStream(422)->End();
  transport_.Answer(200, PodList("5", {Pod("b", "1")}));
  transport_.AnswerStream();
  Run();
  EXPECT_THAT(TakeTold(), ElementsAre("+b1"));
}

TEST_F(InformerTest, AKindThatIsNotInstalledIsWaitedFor) {
  Begin();
  transport_.Answer(404, "404 page not found");
  EXPECT_GT(Run(), absl::ZeroDuration());
  EXPECT_FALSE(informer_->synced());
  transport_.Answer(200, PodList("5", {}));
  transport_.AnswerStream();
  Run();
  EXPECT_TRUE(informer_->synced());
}

TEST_F(InformerTest, ResyncTellsEveryObjectAgainWithoutTheNetwork) {
  Begin({.resync = absl::Minutes(1)});
  transport_.Answer(200, PodList("5", {Pod("a", "1")}));
  transport_.AnswerStream();
  Run();
  TakeTold();
  clock_.Advance(absl::Seconds(67));
  Run();
  EXPECT_THAT(TakeTold(), ElementsAre("=a1"));
  EXPECT_EQ(transport_.requests().size(), 2U);
}

TEST_F(InformerTest, WhatNobodyReadsIsDropped) {
  Begin({.trim = [](Object& object) { object.SetLabel("trimmed", "yes"); }});
  transport_.Answer(200, PodList("5", {R"({"metadata":{"name":"a","managedFields":[{}],
      "annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}","x":"y"}}})"}));
  transport_.AnswerStream();
  Run();
  const Object object = *informer_->Find({"", "a"});
  EXPECT_EQ(object.Find({"metadata", "managedFields"}), nullptr);
  EXPECT_EQ(object.annotations().size(), 1U);
  EXPECT_EQ(object.label("trimmed"), "yes");
}

TEST_F(InformerTest, TheThreadDeliversAndStopsAtOnce) {
  Begin();
  transport_.Answer(200, PodList("5", {Pod("a", "1")}));
  transport_.AnswerStream();
  informer_->Start();
  EXPECT_TRUE(informer_->AwaitSync(absl::Seconds(10)));
  informer_->Stop();
  EXPECT_THAT(told_, ElementsAre("+a1"));
}

TEST(ShardedStoreTest, AllIsInKeyOrderAndPicturesStayAsTheyWere) {
  ShardedStore store;
  for (int i = 0; i < 300; ++i) {
    const ObjectKey key{"n", absl::StrFormat("p%03d", 299 - i)};
    store.Put(key, *Object::Parse(absl::StrFormat(R"({"metadata":{"name":"%s"}})", key.name)));
  }
  const auto picture = store.Snapshot();
  EXPECT_EQ(store.Snapshot(), picture) << "nothing changed in between";
  store.Erase({"n", "p000"});
  store.Erase({"n", "p000"});
  EXPECT_EQ(store.size(), 299U);
  EXPECT_EQ(picture->size(), 300U);
  EXPECT_EQ(picture->All().front().name(), "p000");
  EXPECT_EQ(picture->All().back().name(), "p299");
  EXPECT_EQ(store.Snapshot()->Find({"n", "p000"}), nullptr);
}

}  // namespace
}  // namespace kube

#include "common/kube/events.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "common/kube/fake_transport.h"
#include "common/kube/json.h"
#include "common/metrics/metrics.h"

namespace kube {
namespace {

namespace json = boost::json;

class EventRecorderTest : public ::testing::Test {
 protected:
  EventRecorderTest() {
    transport_.SetFallback([](const net::Request& request) {
      return net::Response{.status = request.method == "POST" ? 201 : 200, .body = "{}"};
    });
  }

  // Requests as they stand once everything recorded has been written.
  std::vector<net::Request> Finish() {
    recorder_.reset();
    return transport_.requests();
  }
  // Waits until the recorder has written `count` requests, so that the clock may move.
  void AwaitRequests(size_t count) {
    for (int i = 0; i < 10'000 && transport_.requests().size() < count; ++i) {
      absl::Mutex mutex;
      absl::MutexLock lock(&mutex);
      const bool never = false;
      mutex.AwaitWithTimeout(absl::Condition(&never), absl::Milliseconds(1));
    }
  }

  base::ManualClock clock_;
  metrics::Registry registry_;
  FakeTransport transport_;
  Client client_{transport_, {.sleep = [](absl::Duration) {}}};
  std::unique_ptr<EventRecorder> recorder_ = std::make_unique<EventRecorder>(
      client_,
      EventRecorderOptions{.reporting_controller = "workspace-controller",
                           .reporting_instance = "host",
                           .registry = &registry_},
      clock_);
  const Object workspace_ = *Object::Parse(
      R"({"apiVersion":"kaito.sh/v1beta1","kind":"Workspace","metadata":{"namespace":"n","name":"w","uid":"u"}})");
};

TEST_F(EventRecorderTest, AnEventSaysWhatHappenedToWhat) {
  recorder_->Warning(workspace_, "QuotaExceeded", "no cores left", "Provision");
  const auto requests = Finish();
  ASSERT_EQ(requests.size(), 1U);
  EXPECT_TRUE(requests[0].target.starts_with("/apis/events.k8s.io/v1/namespaces/n/events?"));
  const json::value event = json::parse(requests[0].body);
  EXPECT_EQ(StringAt(event, {"type"}), "Warning");
  EXPECT_EQ(StringAt(event, {"reason"}), "QuotaExceeded");
  EXPECT_EQ(StringAt(event, {"note"}), "no cores left");
  EXPECT_EQ(StringAt(event, {"action"}), "Provision");
  EXPECT_EQ(StringAt(event, {"regarding", "uid"}), "u");
  EXPECT_EQ(StringAt(event, {"eventTime"}), "2023-11-14T22:13:20.000000Z");
}

TEST_F(EventRecorderTest, EqualEventsBecomeASeries) {
  for (int i = 0; i < 5; ++i) recorder_->Normal(workspace_, "Created", "made it");
  AwaitRequests(2);
  const auto requests = Finish();
  ASSERT_EQ(requests.size(), 2U) << "the third and later only count";
  EXPECT_EQ(requests[1].method, "PATCH");
  EXPECT_EQ(IntAt(json::parse(requests[1].body), {"series", "count"}), 2);
}

TEST_F(EventRecorderTest, SixMinutesOfSilenceEndASeries) {
  recorder_->Normal(workspace_, "Created", "made it");
  AwaitRequests(1);
  clock_.Advance(absl::Minutes(6));
  recorder_->Normal(workspace_, "Created", "made it");
  const auto requests = Finish();
  ASSERT_EQ(requests.size(), 2U);
  EXPECT_EQ(requests[1].method, "POST");
}

TEST_F(EventRecorderTest, AnObjectHas25AndThenOnePerFiveMinutes) {
  for (int i = 0; i < 40; ++i) recorder_->Normal(workspace_, "Created", std::to_string(i));
  EXPECT_EQ(Finish().size(), 25U);
  EXPECT_EQ(registry_.GetCounter("kube_events_dropped_total", "").value(), 15);
}

TEST_F(EventRecorderTest, ANoteIsCutAtACharacter) {
  recorder_->Normal(workspace_, "Created", std::string(1023, 'x') + "\xC3\xA4");
  const auto requests = Finish();
  EXPECT_EQ(StringAt(json::parse(requests.at(0).body), {"note"}).size(), 1023U);
}

TEST_F(EventRecorderTest, ARefusedEventIsDroppedAndCounted) {
  transport_.Answer(403, "");
  recorder_->Normal(workspace_, "Created", "made it");
  EXPECT_EQ(Finish().size(), 1U);
  EXPECT_EQ(registry_.GetCounter("kube_events_dropped_total", "").value(), 1);
}

}  // namespace
}  // namespace kube

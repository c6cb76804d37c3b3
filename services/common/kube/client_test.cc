#include "common/kube/client.h"

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "common/kube/fake_transport.h"
#include "common/metrics/metrics.h"

namespace kube {
namespace {

namespace json = boost::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const ObjectKey kPod{"ns", "p"};
constexpr char kPodJson[] =
    R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"ns"}})";

std::string StatusBody(int code, std::string_view reason, std::string_view message,
                       std::string_view details = "{}") {
  return absl::StrFormat(
      R"({"kind":"Status","apiVersion":"v1","status":"Failure","code":%d,"reason":"%s","message":"%s","details":%s})",
      code, reason, message, details);
}

class ClientTest : public ::testing::Test {
 protected:
  ClientOptions Options() {
    ClientOptions options;
    options.field_manager = "tester";
    options.sleep = [this](absl::Duration wait) { waits_.push_back(wait); };
    return options;
  }

  std::vector<absl::Duration> waits_;
  FakeTransport transport_;
  Client client_{transport_, Options()};
};

TEST_F(ClientTest, ErrorsFollowTheReasonOfTheStatus) {
  const struct {
    int http;
    std::string_view reason, details;
    absl::StatusCode code;
  } cases[] = {
      {409, "AlreadyExists", "{}", absl::StatusCode::kAlreadyExists},
      {409, "Conflict", "{}", absl::StatusCode::kAborted},
      {404, "NotFound", "{}", absl::StatusCode::kNotFound},
      {403, "Forbidden", "{}", absl::StatusCode::kPermissionDenied},
      {403, "Forbidden", R"({"causes":[{"reason":"NamespaceTerminating"}]})",
       absl::StatusCode::kFailedPrecondition},
      {422, "Invalid", "{}", absl::StatusCode::kInvalidArgument},
      {415, "UnsupportedMediaType", "{}", absl::StatusCode::kInvalidArgument},
      {401, "Unauthorized", "{}", absl::StatusCode::kUnauthenticated},
      {410, "Expired", "{}", absl::StatusCode::kOutOfRange},
      {410, "Gone", "{}", absl::StatusCode::kOutOfRange},
      {504, "Timeout", "{}", absl::StatusCode::kDeadlineExceeded},
  };
  for (const auto& one : cases) {
    const absl::Status status = StatusOfResponse(
        {.status = one.http, .body = StatusBody(one.http, one.reason, "why", one.details)}, "do");
    EXPECT_EQ(status.code(), one.code) << one.reason;
    EXPECT_EQ(status.message(), absl::StrFormat("do: %d why", one.http));
  }
  EXPECT_EQ(StatusOfResponse({.status = 410}, "x").code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(StatusOfResponse({.status = 502, .body = "<html>"}, "x").code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(StatusOfResponse({.status = 404, .body = "{broken"}, "x").code(),
            absl::StatusCode::kNotFound);
}

TEST_F(ClientTest, AnInvalidObjectsCausesAreAllInTheMessage) {
  const std::string details = R"({"causes":[
      {"reason":"FieldValueInvalid","field":"spec.a","message":"must be x"},
      {"reason":"FieldValueRequired","field":"spec.b","message":"is missing"}]})";
  transport_.Answer(422, StatusBody(422, "Invalid", "p is invalid: spec.a: must be x", details));
  const auto result = client_.Get(resources::kPods, kPod);
  EXPECT_EQ(result.status().message(),
            "get Pod ns/p: 422 p is invalid: spec.a: must be x; spec.b: is missing");
}

TEST_F(ClientTest, TooManyRequestsAreWaitedForAsLongAsTheServerSays) {
  transport_.Answer(429, "", {{"Retry-After", "3"}});
  transport_.Answer(503, StatusBody(503, "ServiceUnavailable", "", R"({"retryAfterSeconds":2})"));
  transport_.Answer(200, kPodJson);
  EXPECT_TRUE(client_.Create(resources::kPods, *Object::Parse(kPodJson)).ok());
  EXPECT_THAT(waits_, ElementsAre(absl::Seconds(3), absl::Seconds(2)));
}

TEST_F(ClientTest, WaitingEndsAfterTenTries) {
  transport_.SetFallback(
      [](const net::Request&) { return net::Response{.status = 429, .body = "slow down"}; });
  EXPECT_EQ(client_.Get(resources::kPods, kPod).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(transport_.requests().size(), 10U);
}

TEST_F(ClientTest, AWaitBeyondTheDeadlineIsNotBegun) {
  transport_.Answer(429, "", {{"Retry-After", "3600"}});
  EXPECT_EQ(client_.Get(resources::kPods, kPod).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(waits_.empty());
}

TEST_F(ClientTest, AReadIsTriedAgainAfterACutAndAfter500ButAWriteIsNot) {
  transport_.Fail(absl::UnavailableError("connection reset"));
  transport_.Answer(500, "");
  transport_.Answer(200, kPodJson);
  EXPECT_TRUE(client_.Get(resources::kPods, kPod).ok());

  transport_.Answer(500, "");
  EXPECT_EQ(client_.Create(resources::kPods, *Object::Parse(kPodJson)).status().code(),
            absl::StatusCode::kUnavailable);
  transport_.Fail(absl::UnavailableError("connection reset"));
  const absl::Status status = client_.Create(resources::kPods, *Object::Parse(kPodJson)).status();
  EXPECT_EQ(status.message(), "create Pod ns/p: connection reset");
  EXPECT_EQ(transport_.requests().size(), 5U);
}

TEST_F(ClientTest, AListReadsAllPagesAndFillsInTheKind) {
  transport_.Answer(
      200,
      R"({"kind":"PodList","metadata":{"resourceVersion":"7","continue":"to/2"},"items":[{"metadata":{"name":"a"}}]})");
  transport_.Answer(200,
                    R"({"metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"b"}}]})");
  const auto list =
      client_.List(resources::kPods, {.namespace_name = "ns", .label_selector = "a=b,c"});
  ASSERT_TRUE(list.ok()) << list.status();
  EXPECT_EQ(list->resource_version, "7");
  ASSERT_EQ(list->items.size(), 2U);
  EXPECT_EQ(list->items[1].name(), "b");
  EXPECT_EQ(list->items[1].kind(), "Pod");
  EXPECT_EQ(list->items[1].api_version(), "v1");
  EXPECT_EQ(transport_.requests()[0].target,
            "/api/v1/namespaces/ns/pods?labelSelector=a%3Db%2Cc&limit=500");
  EXPECT_EQ(transport_.requests()[1].target,
            "/api/v1/namespaces/ns/pods?labelSelector=a%3Db%2Cc&limit=500&continue=to%2F2");
}

TEST_F(ClientTest, AListWhosePagesExpiredBeginsAgainInOnePiece) {
  transport_.Answer(
      200,
      R"({"metadata":{"resourceVersion":"7","continue":"2"},"items":[{"metadata":{"name":"a"}}]})");
  transport_.Answer(410, StatusBody(410, "Expired", "too old"));
  transport_.Answer(200,
                    R"({"metadata":{"resourceVersion":"9"},"items":[{"metadata":{"name":"c"}}]})");
  const auto list = client_.List(resources::kPods);
  ASSERT_TRUE(list.ok()) << list.status();
  EXPECT_EQ(list->resource_version, "9");
  ASSERT_EQ(list->items.size(), 1U);
  EXPECT_EQ(transport_.requests()[2].target, "/api/v1/pods");
}

TEST_F(ClientTest, WritesNameTheirFieldManager) {
  transport_.SetFallback(
      [](const net::Request&) { return net::Response{.status = 200, .body = kPodJson}; });
  const Object pod = *Object::Parse(kPodJson);
  ASSERT_TRUE(client_.Create(resources::kPods, pod, {.dry_run = true}).ok());
  ASSERT_TRUE(client_.Apply(resources::kPods, pod).ok());
  ASSERT_TRUE(client_
                  .Patch(resources::kPods, kPod, PatchType::kMerge, json::object(),
                         {.field_manager = "tester-status"}, "status")
                  .ok());
  const auto requests = transport_.requests();
  EXPECT_EQ(requests[0].target, "/api/v1/namespaces/ns/pods?fieldManager=tester&dryRun=All");
  EXPECT_EQ(requests[1].target, "/api/v1/namespaces/ns/pods/p?fieldManager=tester&force=true");
  EXPECT_EQ(requests[1].headers.Find("Content-Type"), "application/apply-patch+yaml");
  EXPECT_EQ(requests[2].target, "/api/v1/namespaces/ns/pods/p/status?fieldManager=tester-status");
}

TEST_F(ClientTest, DeletingWhatIsGoneIsDone) {
  transport_.Answer(404, StatusBody(404, "NotFound", "gone"));
  EXPECT_TRUE(client_.Delete(resources::kPods, kPod, {.uid = "u1"}).ok());
  EXPECT_EQ(json::parse(transport_.requests()[0].body),
            json::parse(R"({"kind":"DeleteOptions","apiVersion":"v1",
              "propagationPolicy":"Background","preconditions":{"uid":"u1"}})"));
}

TEST_F(ClientTest, CallsAreCounted) {
  metrics::Registry registry;
  ClientOptions options = Options();
  options.registry = &registry;
  Client client(transport_, options);
  transport_.Answer(200, kPodJson);
  ASSERT_TRUE(client.Get(resources::kPods, kPod).ok());
  EXPECT_THAT(registry.Text(), HasSubstr("rest_client_requests_total{"));
}

TEST_F(ClientTest, OurOwnLimitSpreadsCalls) {
  ClientOptions options = Options();
  options.queries_per_second = 0.5;
  options.burst = 1;
  Client client(transport_, options);
  transport_.SetFallback(
      [](const net::Request&) { return net::Response{.status = 200, .body = kPodJson}; });
  ASSERT_TRUE(client.Get(resources::kPods, kPod).ok());
  ASSERT_TRUE(client.Get(resources::kPods, kPod).ok());
  ASSERT_EQ(waits_.size(), 1U);
  EXPECT_NEAR(absl::ToDoubleSeconds(waits_[0]), 2, 0.1);
}

// One watch over a fake stream.
class WatchTest : public ClientTest {
 protected:
  std::unique_ptr<Watch> Start() {
    pipe_ = transport_.AnswerStream();
    auto watch = client_.StartWatch(resources::kPods, {.resource_version = "5"});
    EXPECT_TRUE(watch.ok()) << watch.status();
    return *std::move(watch);
  }
  std::shared_ptr<FakeStream::Pipe> pipe_;
};

constexpr char kEvents[] =
    "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\"}}}\n\r\n"
    "{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"name\":\"b\\n\"}}}\n"
    "{\"type\":\"DELETED\",\"object\":{\"metadata\":{\"name\":\"\xC3\xA4\"}}}\r\n"
    "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"9\"}}}\n";

TEST_F(WatchTest, EventsAreReadAcrossAnyBorder) {
  const std::string text = kEvents;
  for (size_t cut = 1; cut < text.size(); ++cut) {
    const std::unique_ptr<Watch> watch = Start();
    pipe_->Push(text.substr(0, cut));
    pipe_->Push(text.substr(cut));
    pipe_->End();
    std::vector<std::string> seen;
    while (true) {
      const auto event = watch->Next(absl::Seconds(1));
      ASSERT_TRUE(event.ok()) << event.status() << " cut at " << cut;
      if (!event->has_value()) break;
      seen.emplace_back((*event)->object.name());
    }
    ASSERT_THAT(seen, ElementsAre("a", "b\n", "\xC3\xA4", "")) << "cut at " << cut;
  }
}

TEST_F(WatchTest, EventsAreReadByteByByte) {
  const std::unique_ptr<Watch> watch = Start();
  for (const char c : std::string(kEvents)) pipe_->Push(std::string(1, c));
  for (int i = 0; i < 4; ++i) {
    const auto event = watch->Next(absl::Seconds(1));
    ASSERT_TRUE(event.ok() && event->has_value()) << event.status();
  }
  EXPECT_EQ(watch->Next(absl::Milliseconds(1)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
}

TEST_F(WatchTest, AnErrorEventWith410MeansListAgain) {
  for (const char* reason : {"Expired", "Gone"}) {
    const std::unique_ptr<Watch> watch = Start();
    pipe_->Push(absl::StrFormat("{\"type\":\"ERROR\",\"object\":%s}\n",
                                StatusBody(410, reason, "too old")));
    EXPECT_EQ(watch->Next(absl::Seconds(1)).status().code(), absl::StatusCode::kOutOfRange);
  }
}

TEST_F(WatchTest, ARefusedWatchHasTheServersReason) {
  pipe_ = transport_.AnswerStream(410);
  pipe_->Push(StatusBody(410, "Expired", "too old"));
  pipe_->End();
  EXPECT_EQ(client_.StartWatch(resources::kPods, {}).status().code(),
            absl::StatusCode::kOutOfRange);
}

TEST_F(WatchTest, AHalfLineAtTheEndIsACut) {
  const std::unique_ptr<Watch> watch = Start();
  pipe_->Push(std::string("{\"type\":\"ADDED\",\"obj"));
  pipe_->End();
  EXPECT_EQ(watch->Next(absl::Seconds(1)).status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(WatchTest, GarbageAndEndlessLinesAreCuts) {
  for (const std::string& line :
       {std::string("<html>\n"), std::string("[]\n"), std::string("{\"type\":\"ADDED\"}\n"),
        std::string("{\"type\":\"NEW\",\"object\":{}}\n"), std::string(17 << 20, 'x')}) {
    const std::unique_ptr<Watch> watch = Start();
    pipe_->Push(line);
    EXPECT_EQ(watch->Next(absl::Seconds(1)).status().code(), absl::StatusCode::kUnavailable);
  }
}

}  // namespace
}  // namespace kube

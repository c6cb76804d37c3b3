#include "gpu-provisioner/arm/arm_client.h"

#include <deque>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "gpu-provisioner/arm/agent_pool_client.h"

namespace gpu_provisioner {
namespace {

// Answers from a script and keeps what was asked.
class ScriptedSender final : public HttpSender {
 public:
  absl::StatusOr<net::Response> Send(const net::Request& request, absl::Duration) override {
    requests.push_back(request);
    if (answers.empty()) return absl::UnavailableError("nothing scripted");
    auto answer = std::move(answers.front());
    answers.pop_front();
    return answer;
  }

  std::deque<absl::StatusOr<net::Response>> answers;
  std::vector<net::Request> requests;
};

class CountingSource final : public TokenSource {
 public:
  absl::StatusOr<FetchedToken> Fetch(const std::string& claims) override {
    last_claims = claims;
    if (!error.ok()) return error;
    return FetchedToken{"token" + std::to_string(++fetched), absl::Hours(1)};
  }
  int fetched = 0;
  std::string last_claims;
  absl::Status error;
};

class ArmClientTest : public testing::Test {
 protected:
  base::ManualClock clock_;
  ScriptedSender sender_;
  CountingSource* source_ = new CountingSource();
  TokenCache tokens_{std::unique_ptr<TokenSource>(source_), clock_};
  Buckets buckets_{clock_};
  ArmClient arm_{sender_, tokens_, buckets_, clock_, {.sleep = [](absl::Duration) {}}};
  AgentPoolClient pools_{arm_,
                         {.subscription_id = "s",
                          .resource_group = "rg",
                          .cluster_name = "c",
                          .location = "eastus",
                          .arm_url = "https://arm.example"}};
};

constexpr char kPool[] =
    R"({"name":"ws1","properties":{"provisioningState":"Creating","vmSize":"A"}})";

TEST_F(ArmClientTest, AnExpiredTokenIsReplacedAndTheCallRepeatedOnce) {
  net::Response refused{.status = 401, .body = "{}"};
  refused.headers.Set("WWW-Authenticate", "Bearer error=\"x\", claims=\"abc\"");
  sender_.answers = {refused, net::Response{.status = 200, .body = kPool}};
  const PoolAnswer answer = pools_.Get("ws1", "uid");
  ASSERT_TRUE(answer.failure.ok());
  EXPECT_EQ(sender_.requests[0].headers.Find("Authorization"), "Bearer token1");
  EXPECT_EQ(sender_.requests[1].headers.Find("Authorization"), "Bearer token2");
  EXPECT_EQ(source_->last_claims, "abc");
}

TEST_F(ArmClientTest, ATokenThatIsRefusedSendsNothing) {
  source_->error = absl::UnauthenticatedError("AADSTS70021: …");
  EXPECT_EQ(pools_.Get("ws1", "").failure.error_class, ErrorClass::kToken);
  EXPECT_TRUE(sender_.requests.empty());
  EXPECT_FALSE(tokens_.ready());
}

TEST_F(ArmClientTest, ReadsAreRepeatedAndWritesAreNot) {
  sender_.answers = {net::Response{.status = 503}, absl::UnavailableError("cut"),
                     net::Response{.status = 200, .body = kPool}};
  EXPECT_TRUE(pools_.Get("ws1", "").failure.ok());
  sender_.answers = {net::Response{.status = 503}};
  EXPECT_EQ(pools_.Put("ws1", "{}", "", "").failure.error_class, ErrorClass::kUnknownOutcome);
  EXPECT_EQ(sender_.requests.size(), 4U);
  EXPECT_EQ(sender_.requests[3].headers.Find("If-None-Match"), "*");
}

TEST_F(ArmClientTest, A429PausesItsBucketWithoutAskingAgain) {
  net::Response throttled{.status = 429, .body = R"({"error":{"code":"Throttled"}})"};
  throttled.headers.Set("Retry-After", "30");
  sender_.answers = {throttled};
  EXPECT_EQ(pools_.Put("ws1", "{}", "", "").failure.retry_after, absl::Seconds(30));
  EXPECT_EQ(pools_.Put("ws1", "{}", "", "").failure.error_class, ErrorClass::kThrottled);
  EXPECT_EQ(sender_.requests.size(), 1U);
}

TEST_F(ArmClientTest, AnHtmlPageWith200IsAnUnknownOutcome) {
  sender_.answers = {net::Response{.status = 200, .body = "<html>"}};
  EXPECT_EQ(pools_.Put("ws1", "{}", "", "").failure.error_class, ErrorClass::kUnknownOutcome);
}

TEST_F(ArmClientTest, AListEndsAtTheEmptyPageAndNeverLeavesTheHost) {
  const std::string first = std::string(R"({"value":[)") + kPool +
                            R"(],"nextLink":"https://arm.example/next?skipToken=1"})";
  sender_.answers = {net::Response{.body = first}, net::Response{.body = R"({"value":[]})"}};
  PoolList list = pools_.List();
  EXPECT_TRUE(list.failure.ok());
  EXPECT_TRUE(list.complete);
  EXPECT_EQ(list.pools.size(), 1U);
  EXPECT_EQ(sender_.requests[1].target, "/next?skipToken=1");

  sender_.answers = {
      net::Response{.body = R"({"value":[],"nextLink":"https://evil.example/next"})"}};
  EXPECT_EQ(pools_.List().failure.error_class, ErrorClass::kUnknownOutcome);
  EXPECT_EQ(sender_.requests.size(), 3U);
}

TEST_F(ArmClientTest, AListThatTurnsInCirclesIsIncomplete) {
  const std::string page =
      std::string(R"({"value":[)") + kPool + R"(],"nextLink":"https://arm.example/next"})";
  sender_.answers = {net::Response{.body = page}, net::Response{.body = page}};
  const PoolList list = pools_.List();
  EXPECT_TRUE(list.failure.ok());
  EXPECT_FALSE(list.complete);
}

TEST_F(ArmClientTest, UsagesAreReadByFamily) {
  sender_.answers = {net::Response{
      .body =
          R"({"value":[{"currentValue":24,"limit":48,"name":{"value":"StandardNCADSA100v4Family"}}]})"}};
  ArmFailure failure;
  const auto usages = pools_.Usages(failure);
  ASSERT_TRUE(failure.ok());
  EXPECT_EQ(usages.at("standardncadsa100v4family").limit, 48);
}

TEST_F(ArmClientTest, TokensStayInUseWhenARefreshFails) {
  ASSERT_TRUE(tokens_.Get().ok());
  source_->error = absl::UnavailableError("down");
  clock_.Advance(absl::Minutes(56));
  EXPECT_EQ(tokens_.Get().value(), "token1");
  clock_.Advance(absl::Minutes(5));
  EXPECT_FALSE(tokens_.Get().ok());
}

TEST(RetryAfterTest, MillisecondsSecondsAndDatesAreUnderstood) {
  const absl::Time now = absl::FromUnixSeconds(784111777);  // Sun, 06 Nov 1994 08:49:37 GMT
  EXPECT_EQ(RetryAfterOf({{"retry-after-ms", "1500"}}, now), absl::Milliseconds(1500));
  EXPECT_EQ(RetryAfterOf({{"Retry-After", "7"}}, now), absl::Seconds(7));
  EXPECT_EQ(RetryAfterOf({{"Retry-After", "Sun, 06 Nov 1994 08:50:37 GMT"}}, now),
            absl::Seconds(60));
  EXPECT_EQ(RetryAfterOf({}, now), absl::ZeroDuration());
}

TEST(RedactedTest, SignaturesAndTokensAreCut) {
  const std::string text = Redacted(
      "GET https://arm/operations/1?api-version=1&t=123&c=CERT&s=SIG&h=HASH failed, Bearer abc.def "
      "x");
  for (const char* secret : {"123", "CERT", "SIG", "HASH", "abc.def"}) {
    EXPECT_THAT(text, testing::Not(testing::HasSubstr(secret)));
  }
}

}  // namespace
}  // namespace gpu_provisioner

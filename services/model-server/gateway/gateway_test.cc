#include "model-server/gateway/gateway.h"

#include <thread>

#include <unistd.h>

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "common/base/files.h"
#include "common/net/client_socket.h"
#include "common/net/digest.h"
#include "common/net/scripted_server.h"
#include "model-server/gateway/testing/gateway_fixture.h"

namespace model_server::gateway {
namespace {

namespace json = boost::json;
namespace pb = kaito::inference::v1;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::StartsWith;

TEST_F(GatewayTest, RequestIdsAreKeptOrMade) {
  EXPECT_EQ(Get("/version", {{"X-Request-Id", "abc-1"}}).headers.Find("X-Request-Id"), "abc-1");
  for (const std::string& bad : {std::string(129, 'a'), std::string("a b")}) {
    EXPECT_THAT(std::string(*Get("/version", {{"X-Request-Id", bad}}).headers.Find("X-Request-Id")),
                StartsWith("req-"));
  }
}

TEST_F(GatewayTest, PathsMethodsAndContentTypesAreChecked) {
  for (const char* path : {"/v1/../chat", "/%2e%2e/chat", "//chat", "/v1%2fmodels", "/./chat"}) {
    EXPECT_EQ(Get(path).status, 400) << path;
  }
  EXPECT_EQ(Get("/nothing").status, 404);
  EXPECT_EQ(Post("/shutdown", "{}").status, 404);
  const net::Response wrong_method = Get("/chat");
  EXPECT_EQ(wrong_method.status, 405);
  EXPECT_EQ(wrong_method.headers.Find("Allow"), "POST, OPTIONS");
  EXPECT_THAT(wrong_method.body, StartsWith("{\"detail\":"));
  EXPECT_THAT(Get("/v1/completions").body, StartsWith("{\"error\":"));
  EXPECT_EQ(Send({.method = "HEAD", .target = "/version"}).status, 200);

  const net::Headers form = {{"Content-Type", "application/x-www-form-urlencoded"}};
  EXPECT_EQ(Post("/chat", R"({"prompt":"x"})", form).status, 200);
  EXPECT_EQ(Post("/v1/chat/completions", "{}", form).status, 415);
  EXPECT_EQ(Post("/chat", "{}", {{"Content-Type", "text/plain"}}).status, 415);
  EXPECT_EQ(Post("/chat", "{}", {{"Content-Encoding", "gzip"}}).status, 415);
  EXPECT_EQ(Post("/chat", R"({"prompt":"x"})", {}).status, 200);
  EXPECT_EQ(
      Post("/chat", R"({"prompt":"x"})", {{"Content-Type", "application/x+json; charset=utf-8"}})
          .status,
      200);
}

TEST_F(GatewayTest, OnLoopbackOnlyLoopbackNamesMayAsk) {
  // The client sets Host itself, so that another origin stands for both.
  EXPECT_EQ(Get("/version", {{"Origin", "http://evil.example"}}).status, 403);
  EXPECT_EQ(Get("/version", {{"Origin", "null"}}).status, 403);
  EXPECT_EQ(Get("/version", {{"Origin", "http://localhost:8080"}}).status, 200);
  EXPECT_EQ(Get("/version").headers.Find("Access-Control-Allow-Origin"), std::nullopt);
}

TEST_F(GatewayTest, HealthFollowsTheModelServer) {
  EXPECT_THAT(Get("/health").body, IsEmpty());
  EXPECT_EQ(Get("/healthz").body, R"({"status":"Healthy"})");
  EXPECT_EQ(Get("/readyz").status, 200);

  server_.SetState(pb::ServerState::STATE_LOADING, 7.2);
  AwaitHealth(503);
  EXPECT_EQ(Get("/health").headers.Find("Retry-After"), "8");
  EXPECT_THAT(Get("/ready").body, HasSubstr(R"("state":"LOADING")"));
  EXPECT_EQ(Get("/healthz").status, 500);
  EXPECT_EQ(Get("/healthz").body, R"({"detail":"Model not initialized"})");
  EXPECT_EQ(Get("/livez").status, 200);

  server_.SetState(pb::ServerState::STATE_STALLED);
  for (int i = 0; i < 2000 && Get("/livez").status != 503; ++i) std::this_thread::yield();
  EXPECT_EQ(Get("/livez").status, 503);
  EXPECT_EQ(Get("/healthz").body, R"({"detail":"Engine stalled"})");
  server_.SetState(pb::ServerState::STATE_SERVING);
  AwaitHealth(200);

  gateway_->BeginDrain();
  EXPECT_EQ(Get("/health").status, 503);
  EXPECT_EQ(Get("/healthz").body, R"({"detail":"Draining"})");
  EXPECT_EQ(Chat().status, 200) << "late arrivals are served";
  gateway_->RefuseNew();
  const net::Response refused = Chat();
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(ErrorOf(refused).second, "draining");
  EXPECT_EQ(refused.headers.Find("Retry-After"), "5");
}

TEST_F(GatewayTest, TheModelServerMayComeLateAndComeAgain) {
  const std::string target = absl::StrFormat("unix:%s/gw-%d.sock", testing::TempDir(), getpid());
  StartGateway({.model_server = target});
  EXPECT_EQ(Get("/health").status, 503);
  EXPECT_EQ(Get("/livez").status, 200);
  const net::Response away = Chat();
  EXPECT_EQ(away.status, 503);
  EXPECT_EQ(ErrorOf(away).second, "engine_unavailable");
  EXPECT_EQ(away.headers.Find("Retry-After"), "1");
  const auto await = [&](int status) {
    const absl::Time deadline = net::SteadyNow() + absl::Seconds(10);
    while (Get("/health").status != status && net::SteadyNow() < deadline) {
      std::this_thread::yield();
    }
    EXPECT_EQ(Get("/health").status, status);
  };
  {
    FakeModelServer late(target);
    await(200);
    EXPECT_EQ(Chat().status, 200);
  }
  await(503);
  EXPECT_EQ(Chat().status, 503);
  FakeModelServer again(target);
  await(200);
  EXPECT_EQ(Chat().status, 200);
}

TEST_F(GatewayTest, ModelsAreListedWithTheirAliases) {
  // GetModelInfo follows the state, on its own time.
  for (int i = 0; i < 2000 && Get("/v1/models").status != 200; ++i) std::this_thread::yield();
  const json::object list = Parsed(Get("/v1/models"));
  EXPECT_EQ(json::serialize(list.at("data").at(0)),
            R"({"id":"fake","object":"model","created":1600000000,"owned_by":"kaito",)"
            R"("root":"fake","parent":null,"max_model_len":512,"device":"cpu","permission":[]})");
  EXPECT_EQ(Get("/v1/models/alias/of-fake").status, 200);
  const net::Response unknown = Get("/v1/models/other");
  EXPECT_EQ(unknown.status, 404);
  EXPECT_EQ(ErrorOf(unknown).second, "model_not_found");
}

TEST_F(GatewayTest, TokensAreCountedAndTurnedBack) {
  EXPECT_EQ(Post("/tokenize", R"({"prompt":"a b","return_token_strs":true})").body,
            R"({"count":2,"max_model_len":512,"tokens":[0,1],"token_strs":["t","t"]})");
  EXPECT_EQ(Parsed(Post("/tokenize", R"({"messages":[{"role":"user","content":"a b"}]})"))
                .at("count")
                .as_int64(),
            3);
  EXPECT_EQ(Post("/detokenize", R"({"tokens":[1,2,3]})").body, R"({"prompt":"3 tokens"})");
  EXPECT_EQ(Post("/tokenize", "{}").status, 400);
  EXPECT_EQ(Post("/detokenize", R"({"tokens":[-1]})").status, 400);
}

TEST_F(GatewayTest, ThePageIsForBrowsersAndRunsNothingForeign) {
  EXPECT_EQ(Get("/").body, R"({"message":"Server is running"})");
  const net::Response page = Get("/", {{"Accept", "text/html,*/*"}});
  EXPECT_THAT(page.body, StartsWith("<!doctype html>"));
  const std::string policy(*page.headers.Find("Content-Security-Policy"));
  EXPECT_THAT(policy, HasSubstr("default-src 'none'; script-src 'sha256-"));
  EXPECT_THAT(policy, Not(HasSubstr("unsafe")));
  for (const char* outside :
       {"src=\"http", "href=\"http", "url(http", "@import", " onclick=", " style=\""}) {
    EXPECT_THAT(page.body, Not(HasSubstr(outside)));
  }
}

TEST_F(GatewayTest, MetricsJoinBothProcesses) {
  net::ScriptedServer ops;
  ops.SetDefault("GET", "/metrics",
                 {.response = {.body = "# TYPE build_info gauge\nbuild_info{version=\"m\"} 1\n"
                                       "# TYPE model_server_x counter\nmodel_server_x 5\n"}});
  StartGateway({.metrics_upstream = ops.url()});
  Chat();
  const std::string text = Get("/metrics", {{"Accept", "*/*"}}).body;
  EXPECT_THAT(text, HasSubstr("model_server_x 5\n"));
  EXPECT_THAT(text, Not(HasSubstr("version=\"m\""))) << "a family came twice";
  EXPECT_THAT(text, HasSubstr("gateway_upstream_up 1\n"));
  EXPECT_THAT(
      text, HasSubstr("gateway_http_requests_total{code=\"200\",route=\"/v1/chat/completions\"} "));
  Get("/metrics");
  EXPECT_EQ(ops.requests().size(), 1U) << "scrapes within a second share the answer";
  const json::object seed = Parsed(Get("/metrics", {{"Accept", "application/json"}}));
  EXPECT_TRUE(seed.at("gpu_info").is_null());
  const json::object& cpu = seed.at("cpu_info").as_object();
  EXPECT_THAT(std::string(cpu.at("memory").at("used").as_string()),
              MatchesRegex("[0-9]+\\.[0-9][0-9] GB"));
  EXPECT_NE(cpu.at("memory").at("used").as_string(), "0.00 GB");
}

class KeysTest : public GatewayTest {
 protected:
  void SetUp() override {
    path_ = absl::StrFormat("%s/keys-%d", testing::TempDir(), getpid());
    Write(net::Sha256Hex("secret") + " infer\n" + net::Sha256Hex("slow") +
          " infer requests_per_minute=1\n" + net::Sha256Hex("scrape") + " metrics\n");
    StartGateway({.api_keys_file = path_, .cors_origins = {"https://app.example"}});
  }
  void Write(const std::string& text) { ASSERT_TRUE(base::WriteFileAtomic(path_, text).ok()); }
  std::string path_;
};

TEST_F(KeysTest, KeysAreNeededBeforeTheBody) {
  const net::Response none = Chat();
  EXPECT_EQ(none.status, 401);
  EXPECT_EQ(ErrorOf(none).second, "invalid_api_key");
  for (const net::Headers& headers :
       {net::Headers{{"Authorization", "Bearer secret"}}, net::Headers{{"X-Api-Key", "secret"}},
        net::Headers{{"Api-Key", "secret"}}}) {
    EXPECT_EQ(Get("/version", headers).status, 200);
  }
  EXPECT_EQ(Get("/version", {{"X-Api-Key", "scrape"}}).status, 403);
  for (const char* open : {"/", "/health", "/ping", "/livez", "/metrics"}) {
    EXPECT_EQ(Get(open).status, 200) << open;
  }
  net::ClientSocket socket;
  const absl::Time deadline = net::SteadyNow() + absl::Seconds(10);
  ASSERT_TRUE(socket.ConnectTcp("127.0.0.1", gateway_->port(), deadline).ok());
  ASSERT_TRUE(socket
                  .WriteAll("POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
                            "10000000\r\n\r\n",
                            deadline)
                  .ok());
  std::string answer;
  ASSERT_TRUE(socket.Read(&answer, deadline).ok());
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 401 "));
}

TEST_F(KeysTest, AKeysOwnLimitIs429) {
  const net::Headers headers = {{"X-Api-Key", "slow"}};
  const std::string body = std::string(kHello) + "}";
  EXPECT_EQ(Post("/v1/chat/completions", body, headers).status, 200);
  const net::Response refused = Post("/v1/chat/completions", body, headers);
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.headers.Find("Retry-After"), "60");
  EXPECT_EQ(Post("/v1/chat/completions", body, {{"X-Api-Key", "secret"}}).status, 200);
}

TEST_F(KeysTest, OnlyListedOriginsMayCallAcrossOrigins) {
  const auto preflight = [&](const char* origin) {
    return Send({.method = "OPTIONS",
                 .target = "/v1/chat/completions",
                 .headers = {{"Origin", origin}, {"Access-Control-Request-Method", "POST"}}});
  };
  const net::Response listed = preflight("https://app.example");
  EXPECT_EQ(listed.status, 204);
  EXPECT_EQ(listed.headers.Find("Access-Control-Allow-Origin"), "https://app.example");
  EXPECT_EQ(listed.headers.Find("Access-Control-Max-Age"), "600");
  EXPECT_EQ(preflight("https://other.example").headers.Find("Access-Control-Allow-Origin"),
            std::nullopt);
}

TEST(GatewayStartTest, BeyondLoopbackItWantsKeysOrAWord) {
  metrics::Registry registry;
  const auto refused = Gateway::Start(
      {.bind_address = "0.0.0.0", .port = 0, .model_server = "127.0.0.1:1"}, registry);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.status().message()),
              AllOf(HasSubstr("--api_keys_file"), HasSubstr("--allow_anonymous")));
  EXPECT_TRUE(Gateway::Start({.bind_address = "0.0.0.0",
                              .port = 0,
                              .model_server = "127.0.0.1:1",
                              .allow_anonymous = true},
                             registry)
                  .ok());
}

}  // namespace
}  // namespace model_server::gateway

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
#include "common/net/http_client.h"
#include "common/net/scripted_server.h"
#include "model-server/gateway/testing/fake_model_server.h"

namespace model_server::gateway {
namespace {

namespace json = boost::json;
namespace pb = kaito::inference::v1;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::StartsWith;

constexpr char kHello[] = R"({"messages":[{"role":"user","content":"say hello"}])";

class GatewayTest : public testing::Test {
 protected:
  void SetUp() override { StartGateway({}); }

  void StartGateway(GatewayOptions options) {
    options.port = 0;
    if (options.model_server.empty()) options.model_server = server_.target();
    auto gateway = Gateway::Start(options, registry_);
    ASSERT_TRUE(gateway.ok()) << gateway.status();
    gateway_ = *std::move(gateway);
    client_ = std::make_unique<net::HttpClient>(net::HttpClientOptions{
        .base_url = absl::StrFormat("http://127.0.0.1:%d", gateway_->port())});
    if (options.model_server == server_.target()) AwaitHealth(200);
  }

  // The state travels on its own stream: until it has arrived, ask again.
  void AwaitHealth(int status) {
    for (int i = 0; i < 2000 && Get("/health").status != status; ++i) std::this_thread::yield();
    ASSERT_EQ(Get("/health").status, status);
  }

  net::Response Send(const net::Request& request) {
    auto response = client_->Send(request);
    EXPECT_TRUE(response.ok()) << response.status();
    return response.ok() ? *response : net::Response{.status = 0};
  }
  net::Response Get(const std::string& target, net::Headers headers = {}) {
    return Send({.target = target, .headers = std::move(headers)});
  }
  net::Response Post(const std::string& target, const std::string& body,
                     net::Headers headers = {{"Content-Type", "application/json"}}) {
    return Send({.method = "POST", .target = target, .headers = std::move(headers), .body = body});
  }
  // kHello with more fields.
  net::Response Chat(const std::string& fields = "") {
    return Post("/v1/chat/completions", kHello + fields + "}");
  }

  FakeModelServer server_;
  metrics::Registry registry_{"test"};
  std::unique_ptr<Gateway> gateway_;
  std::unique_ptr<net::HttpClient> client_;
};

json::object Parsed(const net::Response& response) {
  return json::parse(response.body).as_object();
}

// {param, code} of an OpenAI error.
std::pair<std::string, std::string> ErrorOf(const net::Response& response) {
  const json::object error = Parsed(response).at("error").as_object();
  EXPECT_EQ(error.size(), 4U) << response.body;
  const auto text = [&](const char* name) {
    return error.at(name).is_null() ? std::string() : std::string(error.at(name).as_string());
  };
  return {text("param"), text("code")};
}

std::vector<std::string> EventsOf(const std::string& body) {
  std::vector<std::string> events;
  size_t at = 0;
  while (at < body.size()) {
    const size_t end = body.find("\n\n", at);
    EXPECT_NE(end, std::string::npos) << body;
    EXPECT_EQ(body.substr(at, 6), "data: ");
    events.push_back(body.substr(at + 6, end - at - 6));
    at = end + 2;
  }
  return events;
}

TEST_F(GatewayTest, ChatCompletionHasOpenAisShape) {
  const net::Response response = Chat(R"(,"model":"fake","temperature":0)");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.headers.Find("Content-Type"), "application/json");
  const std::string id(*response.headers.Find("X-Request-Id"));
  EXPECT_THAT(id, MatchesRegex("req-[0-9a-f]{32}"));
  EXPECT_EQ(json::parse(response.body),
            json::parse(R"({"id":"chatcmpl-)" + id + R"(","object":"chat.completion",
      "created":1700000000,"model":"fake","system_fingerprint":"fp_0123456789",
      "choices":[{"index":0,"message":{"role":"assistant","content":"one two three",
        "refusal":null},"logprobs":null,"finish_reason":"stop","stop_reason":null}],
      "usage":{"prompt_tokens":3,"completion_tokens":3,"total_tokens":6,
        "prompt_tokens_details":{"cached_tokens":0},
        "completion_tokens_details":{"reasoning_tokens":0}}})"));
  EXPECT_EQ(server_.last_request_id_metadata(), id);
  EXPECT_EQ(server_.last_chat().request_id(), id);
}

TEST_F(GatewayTest, ChatStreamHasRolePiecesFinishAndDone) {
  const net::Response response =
      Chat(R"(,"max_tokens":2,"stream":true,"stream_options":{"include_usage":true})");
  EXPECT_EQ(response.status, 200);
  EXPECT_THAT(std::string(*response.headers.Find("Content-Type")), StartsWith("text/event-stream"));
  EXPECT_EQ(response.headers.Find("Cache-Control"), "no-cache");
  EXPECT_EQ(response.headers.Find("X-Accel-Buffering"), "no");
  const std::vector<std::string> events = EventsOf(response.body);
  ASSERT_EQ(events.size(), 6U) << response.body;
  std::vector<std::string> deltas;
  for (size_t i = 0; i < 4; ++i) {
    const json::object chunk = json::parse(events[i]).as_object();
    EXPECT_EQ(chunk.at("object").as_string(), "chat.completion.chunk");
    EXPECT_TRUE(chunk.at("usage").is_null());
    const json::object& choice = chunk.at("choices").as_array().at(0).as_object();
    deltas.push_back(json::serialize(choice.at("delta")));
    EXPECT_EQ(choice.at("finish_reason").is_null(), i != 3);
  }
  EXPECT_THAT(deltas, ElementsAre(R"({"role":"assistant","content":""})", R"({"content":"one"})",
                                  R"({"content":" two"})", "{}"));
  const json::object last = json::parse(events[4]).as_object();
  EXPECT_TRUE(last.at("choices").as_array().empty());
  EXPECT_EQ(last.at("usage").at("total_tokens").as_int64(), 5);
  EXPECT_EQ(events[5], "[DONE]");
}

TEST_F(GatewayTest, SeveralChoicesKeepTheirIndexAndShareThePrompt) {
  const json::object answer = Parsed(Chat(R"(,"n":3,"seed":1)"));
  ASSERT_EQ(answer.at("choices").as_array().size(), 3U);
  EXPECT_EQ(answer.at("choices").as_array()[2].at("index").as_int64(), 2);
  EXPECT_EQ(answer.at("usage").at("prompt_tokens").as_int64(), 3);
  EXPECT_EQ(answer.at("usage").at("completion_tokens").as_int64(), 9);
}

TEST_F(GatewayTest, LogprobsHaveTokensBytesAndAlternatives) {
  server_.SetWords({"\xc3\xa4"});
  const json::object chat = Parsed(Chat(R"(,"logprobs":true,"top_logprobs":1)"));
  EXPECT_EQ(json::serialize(chat.at("choices").at(0).at("logprobs")),
            "{\"content\":[{\"token\":\"\xc3\xa4\",\"logprob\":-5E-1,\"bytes\":[195,164],"
            "\"top_logprobs\":[{\"token\":\"\xc3\xa4\",\"logprob\":-5E-1,\"bytes\":[195,164]}]}],"
            "\"refusal\":null}");
  server_.SetWords({"\xc3\xa4", "b"});
  const json::object completion = Parsed(Post("/v1/completions", R"({"prompt":"x","logprobs":1})"));
  EXPECT_EQ(json::serialize(completion.at("choices").at(0).at("logprobs")),
            "{\"tokens\":[\"\xc3\xa4\",\"b\"],\"token_logprobs\":[-5E-1,-5E-1],"
            "\"top_logprobs\":[{\"\xc3\xa4\":-5E-1},{\"b\":-5E-1}],\"text_offset\":[0,1]}");
}

TEST_F(GatewayTest, CompletionsTakeEveryFormOfPrompt) {
  for (const char* prompt : {R"("a b")", R"(["a b"])", "[1,2]", "[[1,2]]"}) {
    const json::object answer =
        Parsed(Post("/v1/completions", absl::StrFormat(R"({"prompt":%s})", prompt)));
    EXPECT_EQ(answer.at("object").as_string(), "text_completion") << prompt;
    EXPECT_EQ(answer.at("usage").at("prompt_tokens").as_int64(), 2) << prompt;
    EXPECT_EQ(server_.last_generate().sampling().max_tokens(), 16U);
  }
  const json::object two = Parsed(Post("/v1/completions", R"({"prompt":["a","b c"],"n":2})"));
  ASSERT_EQ(two.at("choices").as_array().size(), 4U);
  EXPECT_EQ(two.at("choices").at(3).at("index").as_int64(), 3);
  EXPECT_EQ(two.at("usage").at("prompt_tokens").as_int64(), 3);
  EXPECT_EQ(two.at("usage").at("completion_tokens").as_int64(), 12);

  const net::Response stream =
      Post("/v1/completions", R"({"prompt":"a","stream":true,"max_tokens":1})");
  const std::vector<std::string> events = EventsOf(stream.body);
  ASSERT_EQ(events.size(), 3U) << stream.body;
  EXPECT_EQ(json::parse(events[0]).at("choices").at(0).at("text").as_string(), "one");
  EXPECT_EQ(json::parse(events[1]).at("choices").at(0).at("finish_reason").as_string(), "length");
  EXPECT_EQ(events[2], "[DONE]");
}

TEST_F(GatewayTest, WrongFieldsAreNamed) {
  struct Case {
    const char* fields;
    const char* param;
    const char* code;
  };
  const Case cases[] = {
      {R"(,"temperature":"hot")", "temperature", "invalid_type"},
      {R"(,"temperature":2.1)", "temperature", "invalid_value"},
      {R"(,"temperature":-1)", "temperature", "invalid_value"},
      {R"(,"top_p":0)", "top_p", "invalid_value"},
      {R"(,"top_p":1.5)", "top_p", "invalid_value"},
      {R"(,"min_p":1)", "min_p", "invalid_value"},
      {R"(,"top_k":-2)", "top_k", "invalid_value"},
      {R"(,"n":0)", "n", "invalid_value"},
      {R"(,"n":17)", "n", "invalid_value"},
      {R"(,"best_of":2)", "best_of", "unsupported_parameter"},
      {R"(,"use_beam_search":true)", "use_beam_search", "unsupported_parameter"},
      {R"(,"max_tokens":0)", "max_tokens", "invalid_value"},
      {R"(,"max_tokens":1.5)", "max_tokens", "invalid_type"},
      {R"(,"stop":[""])", "stop", "invalid_value"},
      {R"(,"stop":5)", "stop", "invalid_type"},
      {R"(,"logit_bias":{"x":1})", "logit_bias", "invalid_value"},
      {R"(,"logit_bias":{"1":101})", "logit_bias", "invalid_value"},
      {R"(,"top_logprobs":3)", "top_logprobs", "invalid_value"},
      {R"(,"logprobs":true,"top_logprobs":21)", "top_logprobs", "invalid_value"},
      {R"(,"stream_options":{"include_usage":true})", "stream_options", "invalid_value"},
      {R"(,"response_format":{"type":"yaml"})", "response_format.type", "invalid_value"},
      {R"(,"response_format":{"type":"json_object"})", "response_format.type",
       "unsupported_parameter"},
      {R"(,"guided_regex":"a*")", "guided_regex", "unsupported_parameter"},
      {R"(,"tools":[{"type":"function"}])", "tools[0]", "invalid_tools"},
      {R"(,"tool_choice":"maybe")", "tool_choice", "invalid_value"},
      {R"(,"chat_template":"x")", "chat_template", "unsupported_parameter"},
      {R"(,"presence_penalty":3)", "presence_penalty", "invalid_value"},
  };
  for (const Case& wrong : cases) {
    const net::Response response = Chat(wrong.fields);
    EXPECT_EQ(response.status, 400) << wrong.fields;
    EXPECT_EQ(ErrorOf(response), std::pair(std::string(wrong.param), std::string(wrong.code)))
        << response.body;
  }
}

TEST_F(GatewayTest, WrongMessagesAreNamedByTheirPath) {
  const std::pair<std::string, std::pair<std::string, std::string>> cases[] = {
      {R"({})", {"messages", "missing_parameter"}},
      {R"({"messages":"hi"})", {"messages", "invalid_type"}},
      {R"({"messages":[]})", {"messages", "invalid_value"}},
      {R"({"messages":[{"role":"robot","content":"x"}]})", {"messages[0].role", "invalid_value"}},
      {R"({"messages":[{"content":"x"}]})", {"messages[0].role", "missing_parameter"}},
      {R"({"messages":[{"role":"user"}]})", {"messages[0].content", "missing_parameter"}},
      {R"({"messages":[{"role":"user","content":null}]})",
       {"messages[0].content", "missing_parameter"}},
      {R"({"messages":[{"role":"user","content":[{"type":"image_url","image_url":{}}]}]})",
       {"messages[0].content", "unsupported_content"}},
      {R"([])", {"", "invalid_type"}},
      {R"({"messages":1,"messages":2})", {"", "invalid_json"}},
      {R"({not json})", {"", "invalid_json"}},
  };
  for (const auto& [body, expected] : cases) {
    const net::Response response = Post("/v1/chat/completions", body);
    EXPECT_EQ(response.status, 400) << body;
    EXPECT_EQ(ErrorOf(response), expected) << response.body;
  }
  EXPECT_EQ(Post("/v1/chat/completions",
                 R"({"messages":[{"role":"assistant","content":null,"tool_calls":[
                    {"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},
                    {"role":"tool","tool_call_id":"c","content":[{"type":"text","text":"a"},
                    {"type":"text","text":"b"}]}]})")
                .status,
            200);
  EXPECT_EQ(server_.last_chat().messages(1).content(), "a\nb");
}

TEST_F(GatewayTest, NullIsAbsentAndUnknownFieldsAreNamed) {
  const net::Response response = Chat(
      R"(,"temperature":null,"stop":null,"tools":null,"stream":null,"foo":1,"bar":2,"user":"u")");
  EXPECT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(response.headers.Find("X-Ignored-Fields"), "foo, bar");
  EXPECT_FALSE(server_.last_chat().sampling().has_temperature());
  EXPECT_EQ(server_.last_chat().sampling().order(), pb::FILTER_ORDER_VLLM);
}

TEST_F(GatewayTest, RefusalsOfTheModelServerBecomeStatuses) {
  struct Case {
    absl::Status status;
    const char* code;
    const char* field;
    int http;
    const char* type;
    const char* retry_after;
  };
  const Case cases[] = {
      {absl::InvalidArgumentError("too long"), "context_length_exceeded", "messages", 400,
       "invalid_request_error", ""},
      {absl::NotFoundError("no model"), "model_not_found", "model", 404, "not_found_error", ""},
      {absl::ResourceExhaustedError("queue full"), "", "", 429, "requests", "3"},
      {absl::UnavailableError("loading"), "loading", "", 503, "service_unavailable", "3"},
      {absl::UnimplementedError("later"), "", "", 501, "server_error", ""},
  };
  for (const Case& refused : cases) {
    server_.Refuse(refused.status, refused.code, refused.field, 2100);
    for (const char* stream : {"", R"(,"stream":true)"}) {
      const net::Response response = Chat(stream);
      EXPECT_EQ(response.status, refused.http) << response.body;
      const json::object error = Parsed(response).at("error").as_object();
      EXPECT_EQ(error.at("type").as_string(), refused.type);
      EXPECT_EQ(error.at("message").as_string(), std::string(refused.status.message()));
      EXPECT_EQ(response.headers.Find("Retry-After").value_or(""), refused.retry_after);
    }
  }
  EXPECT_EQ(Post("/chat", R"({"prompt":"x"})").body, R"({"detail":"later"})");
  server_.Refuse(absl::InternalError("secret at /dev/x"));
  const net::Response internal = Chat();
  EXPECT_EQ(internal.status, 500);
  EXPECT_THAT(internal.body, Not(HasSubstr("secret")));
}

TEST_F(GatewayTest, AStreamThatBreaksHasAnErrorEventAndNoDone) {
  server_.BreakAfter(2);
  auto stream = client_->Open({.method = "POST",
                               .target = "/v1/chat/completions",
                               .headers = {{"Content-Type", "application/json"}},
                               .body = std::string(kHello) + R"(,"stream":true})"});
  ASSERT_TRUE(stream.ok()) << stream.status();
  EXPECT_EQ((*stream)->status(), 200);
  std::string text;
  absl::Status end;
  while (true) {
    const auto piece = (*stream)->Read(absl::Seconds(10));
    end = piece.status();
    if (!piece.ok() || piece->empty()) break;
    text += *piece;
  }
  EXPECT_EQ(end.code(), absl::StatusCode::kUnavailable) << "the stream looks finished";
  EXPECT_THAT(text,
              HasSubstr(R"(data: {"error":{"message":"the model server had an internal error")"));
  EXPECT_THAT(text, Not(HasSubstr("[DONE]")));
  EXPECT_EQ(Chat().status, 500);
}

TEST_F(GatewayTest, AClientThatLeavesCancelsItsCall) {
  server_.Hold();
  for (const char* body : {R"({"messages":[{"role":"user","content":"x"}],"stream":true})",
                           R"({"messages":[{"role":"user","content":"x"}]})"}) {
    net::ClientSocket socket;
    const absl::Time deadline = net::SteadyNow() + absl::Seconds(10);
    ASSERT_TRUE(socket.ConnectTcp("127.0.0.1", gateway_->port(), deadline).ok());
    ASSERT_TRUE(socket
                    .WriteAll(absl::StrFormat("POST /v1/chat/completions HTTP/1.1\r\nHost: "
                                              "localhost\r\nContent-Length: %d\r\n\r\n%s",
                                              std::string_view(body).size(), body),
                              deadline)
                    .ok());
    static int calls = 0;
    ASSERT_TRUE(server_.AwaitCalls(++calls));
  }
  EXPECT_TRUE(server_.AwaitCancelled(2));
}

TEST_F(GatewayTest, TheDeadlineOfARequestIs504) {
  server_.Hold();
  const net::Response response =
      Post("/v1/chat/completions", std::string(kHello) + "}", {{"X-Request-Deadline-Ms", "50"}});
  EXPECT_EQ(response.status, 504);
  EXPECT_EQ(ErrorOf(response).second, "deadline_exceeded");
  EXPECT_EQ(
      Post("/v1/chat/completions", std::string(kHello) + "}", {{"X-Request-Deadline-Ms", "0"}})
          .status,
      400);
}

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

// --- /chat ---

class SeedChatTest : public GatewayTest {
 protected:
  net::Response Ask(const std::string& body) { return Post("/chat", body); }
  pb::Sampling Sampled(const std::string& body) {
    EXPECT_EQ(Ask(body).status, 200) << body;
    return server_.last_generate().sampling();
  }
};

TEST_F(SeedChatTest, ResultBeginsWithThePromptUnlessAskedNotTo) {
  EXPECT_EQ(Ask(R"({"prompt":"once upon "})").body, R"({"Result":"once upon one two three"})");
  EXPECT_EQ(Ask(R"({"prompt":"b","prefix":"a ","return_full_text":false})").body,
            R"({"Result":"one two three"})");
  EXPECT_EQ(server_.last_generate().text(), "a b");
  EXPECT_EQ(Ask(R"({"messages":[{"role":"user","content":"x"}]})").body,
            R"({"Result":"one two three"})");
  EXPECT_EQ(Ask(R"({"prompt":"p","generate_kwargs":{"num_return_sequences":2}})").body,
            R"({"Result":"pone two threepone two three"})");
}

TEST_F(SeedChatTest, DefaultsDependOnWhetherKwargsAreThere) {
  const pb::Sampling without = Sampled(R"({"prompt":"a b"})");
  EXPECT_EQ(without.temperature(), 0);
  EXPECT_FALSE(without.has_top_k());
  EXPECT_EQ(without.max_tokens(), 198U);
  EXPECT_EQ(without.order(), pb::FILTER_ORDER_TRANSFORMERS);
  const pb::Sampling empty = Sampled(R"({"prompt":"a b","generate_kwargs":{}})");
  EXPECT_EQ(empty.temperature(), 1);
  EXPECT_EQ(empty.top_k(), 10);
  EXPECT_EQ(empty.max_tokens(), 198U);
  EXPECT_EQ(Sampled(R"({"prompt":"a","generate_kwargs":{"do_sample":false}})").temperature(), 0);
  const pb::Sampling eos = Sampled(R"({"prompt":"a","generate_kwargs":{"eos_token_id":11}})");
  EXPECT_TRUE(eos.ignore_eos());
  EXPECT_THAT(eos.stop_token_ids(), ElementsAre(11));
}

TEST_F(SeedChatTest, LengthsCountAsTheyDidThen) {
  std::string long_prompt;
  for (int i = 0; i < 300; ++i) long_prompt += "w ";
  EXPECT_EQ(Sampled(absl::StrFormat(R"({"prompt":"%s"})", long_prompt)).max_tokens(), 200U);
  EXPECT_EQ(Sampled(R"({"prompt":"a b c","generate_kwargs":{"max_length":10}})").max_tokens(), 7U);
  EXPECT_EQ(Sampled(R"({"prompt":"a b c","generate_kwargs":{"max_length":1,"max_new_tokens":9}})")
                .max_tokens(),
            9U);
  EXPECT_EQ(Sampled(R"({"prompt":"a b c","generate_kwargs":{"min_length":8}})").min_tokens(), 5U);
  const net::Response refused = Ask(R"({"prompt":"a b c","generate_kwargs":{"max_length":3}})");
  EXPECT_EQ(refused.status, 400);
  EXPECT_THAT(refused.body, HasSubstr("max_length is 3, but the prompt alone has 3 tokens"));
}

TEST_F(SeedChatTest, WrongRequestsAre400Or422AsTheyWere) {
  EXPECT_EQ(Ask("{}").body, R"({"detail":"Text generation parameter prompt required"})");
  EXPECT_EQ(Ask("{}").status, 400);
  EXPECT_EQ(Ask(R"({"prompt":"a","messages":[]})").status, 400);
  EXPECT_EQ(Ask(R"({"prompt":5})").body,
            R"({"detail":[{"loc":["body","prompt"],"msg":"str type expected",)"
            R"("type":"type_error.str"}]})");
  EXPECT_EQ(Ask(R"({"prompt":5})").status, 422);
  EXPECT_EQ(Ask("{not json").status, 422);
  EXPECT_EQ(Ask(R"({"prompt":"a","prompt":"b"})").status, 422);
  EXPECT_EQ(Ask(R"({"messages":[{"role":"user"}]})").status, 422);
  EXPECT_THAT(Ask(R"({"messages":[{"role":"user"}]})").body,
              HasSubstr(R"("loc":["body","messages",0,"content"])"));
  for (const char* kwargs : {R"({"num_beams":2})", R"({"foo":1})", R"({"top_p":0})"}) {
    const net::Response response =
        Ask(absl::StrFormat(R"({"prompt":"a","generate_kwargs":%s})", kwargs));
    EXPECT_EQ(response.status, 400) << kwargs;
    EXPECT_THAT(response.body, StartsWith("{\"detail\":\"generate_kwargs: "));
  }
  StartGateway({.chat_pipeline = ChatPipeline::kConversational});
  EXPECT_EQ(Ask("{}").body, R"({"detail":"Conversational parameter messages required"})");
}

TEST_F(SeedChatTest, StreamedPiecesJoinToTheResult) {
  server_.SetWords({"it", " 's", " fine", " .", " a", " '", " b", " ,", " n", "'t"});
  for (const char* more :
       {"", R"(,"clean_up_tokenization_spaces":true)",
        R"(,"return_full_text":false,"generate_kwargs":{"num_return_sequences":2})"}) {
    const std::string body = absl::StrFormat(R"({"prompt":"p q"%s)", more);
    const net::Response whole = Ask(body + "}");
    const net::Response stream = Ask(body + R"(,"stream":true})");
    const std::vector<std::string> events = EventsOf(stream.body);
    std::string joined;
    for (size_t i = 0; i + 1 < events.size(); ++i) {
      joined += json::parse(events[i]).at("Result").as_string();
    }
    EXPECT_EQ(events.back(), "[DONE]");
    const json::object last = json::parse(events[events.size() - 2]).as_object();
    EXPECT_EQ(last.at("finish_reason").as_string(), "stop");
    EXPECT_TRUE(last.contains("usage"));
    EXPECT_EQ(joined, std::string(Parsed(whole).at("Result").as_string())) << more;
  }
  EXPECT_EQ(
      Ask(R"({"prompt":"p","return_full_text":false,"clean_up_tokenization_spaces":true})").body,
      R"({"Result":"it's fine. a'b,n't"})");
}

}  // namespace
}  // namespace model_server::gateway

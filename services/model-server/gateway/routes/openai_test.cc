#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "common/net/client_socket.h"
#include "model-server/gateway/testing/gateway_fixture.h"

namespace model_server::gateway {
namespace {

namespace json = boost::json;
namespace pb = kaito::inference::v1;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::StartsWith;

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

}  // namespace
}  // namespace model_server::gateway

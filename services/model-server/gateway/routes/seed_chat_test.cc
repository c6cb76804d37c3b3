#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "model-server/gateway/testing/gateway_fixture.h"

namespace model_server::gateway {
namespace {

namespace json = boost::json;
namespace pb = kaito::inference::v1;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

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

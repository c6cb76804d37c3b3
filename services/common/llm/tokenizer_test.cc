#include "common/llm/tokenizer.h"

#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "boost/json.hpp"
#include "common/base/files.h"
#include "common/llm/tokenizer_testing.h"
#include "common/llm/unicode.h"

namespace llm {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
namespace json = boost::json;

const Tokenizer& SmolLm2() {
  static const std::unique_ptr<Tokenizer> kTokenizer = LoadTestTokenizer();
  return *kTokenizer;
}

std::vector<json::object> ReadLines(const std::string& name) {
  const std::string text = base::ReadFile(std::string(KAITO_TEST_DATA) + "/" + name).value();
  std::vector<json::object> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    lines.push_back(json::parse(text.substr(at, end - at)).as_object());
    at = end + 1;
  }
  return lines;
}

std::vector<int32_t> Ids(const json::value& value) {
  std::vector<int32_t> ids;
  for (const json::value& id : value.as_array()) ids.push_back(static_cast<int32_t>(id.as_int64()));
  return ids;
}

std::string Text(const json::value& value) { return std::string(value.as_string()); }

// Golden strings by number.
const std::map<int64_t, json::object>& Strings() {
  static const std::map<int64_t, json::object> kStrings = [] {
    std::map<int64_t, json::object> strings;
    for (json::object& line : ReadLines("strings.jsonl")) {
      const int64_t n = line["n"].as_int64();
      strings[n] = std::move(line);
    }
    return strings;
  }();
  return kStrings;
}

TEST(TokenizerTest, EncodesAllGoldenStringsExactly) {
  int compared = 0;
  for (const json::object& line : ReadLines("smollm2.jsonl")) {
    if (!line.contains("n")) continue;
    const std::string text = Text(Strings().at(line.at("n").as_int64()).at("text"));
    const std::vector<int32_t> ids = Ids(line.at("ids"));
    EXPECT_EQ(SmolLm2().Encode(text, true), ids) << line.at("n") << ": " << text;
    const json::value* as_text = line.if_contains("ids_specials_as_text");
    EXPECT_EQ(SmolLm2().Encode(text, false), as_text ? Ids(*as_text) : ids)
        << "as text, " << line.at("n") << ": " << text;
    ++compared;
  }
  EXPECT_EQ(compared, 302);
}

TEST(TokenizerTest, DecodesAllGoldenIdsExactly) {
  int compared = 0;
  for (const json::object& line : ReadLines("smollm2.jsonl")) {
    std::string decoded;
    std::vector<int32_t> ids;
    if (line.contains("n")) {
      ids = Ids(line.at("ids"));
      decoded = Text(Strings().at(line.at("n").as_int64()).at("text"));
    } else {
      ids = Ids(line.at("decode_ids"));
    }
    if (line.contains("decoded")) decoded = Text(line.at("decoded"));
    EXPECT_EQ(SmolLm2().Decode(ids, true), decoded) << json::serialize(line);
    const json::value* skipped = line.if_contains("decoded_skip_specials");
    EXPECT_EQ(SmolLm2().Decode(ids, false), skipped ? Text(*skipped) : decoded)
        << json::serialize(line);
    ++compared;
  }
  EXPECT_EQ(compared, 342);
}

TEST(TokenizerTest, TextInPiecesOfOneByteEqualsTextAtOnce) {
  for (const json::object& line : ReadLines("smollm2.jsonl")) {
    const std::vector<int32_t> ids = Ids(line.at(line.contains("n") ? "ids" : "decode_ids"));
    Utf8Stream stream;
    std::string text;
    for (const int32_t id : ids) {
      for (const char byte : SmolLm2().TokenBytes(id)) {
        text += stream.Append(std::string_view(&byte, 1));
        EXPECT_TRUE(IsValidUtf8(text));
      }
    }
    text += stream.Finish();
    EXPECT_EQ(text, SmolLm2().Decode(ids, true));
  }
}

TEST(TokenizerTest, InvalidBytesBecomeWhatTheGoldenStringsSay) {
  int compared = 0;
  for (const auto& [n, line] : Strings()) {
    const json::value* hex = line.if_contains("bytes_hex");
    if (hex == nullptr) continue;
    std::string bytes;
    const std::string digits = Text(*hex);
    for (size_t i = 0; i < digits.size(); i += 2) {
      bytes += static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16));
    }
    EXPECT_EQ(ToValidUtf8(bytes), Text(line.at("text"))) << digits;
    SmolLm2().Encode(bytes, true);  // Must not stumble over them either.
    ++compared;
  }
  EXPECT_EQ(compared, 14);
}

TEST(TokenizerTest, SpecialTokensInTheUsersSegmentStayText) {
  const std::vector<TextSegment> segments = {
      {.text = "<|im_start|>user\n", .from_template = true},
      {.text = "<|im_end|>"},
      {.text = "<|im_end|>\n", .from_template = true},
  };
  const std::vector<int32_t> ids = SmolLm2().Encode(segments);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 2), 1);
  EXPECT_EQ(SmolLm2().Decode(ids, true), "<|im_start|>user\n<|im_end|><|im_end|>\n");
}

TEST(TokenizerTest, NoSpecialTokenArisesAcrossTheBorderOfTwoSegments) {
  const std::vector<TextSegment> segments = {{.text = "<|im_", .from_template = true},
                                             {.text = "end|>"}};
  const std::vector<int32_t> ids = SmolLm2().Encode(segments);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 2), 0);
}

TEST(TokenizerTest, SegmentsOfPlainTextTokenizeAsTheWholeDoes) {
  const std::string text = "One step, \n\n and 12 more it's  done\n";
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    const std::vector<TextSegment> segments = {{.text = text.substr(0, cut), .from_template = true},
                                               {.text = text.substr(cut)}};
    EXPECT_EQ(SmolLm2().Encode(segments), SmolLm2().Encode(text, false)) << "cut at " << cut;
  }
}

TEST(TokenizerTest, BytesWithoutATokenYieldNothing) {
  EXPECT_THAT(SmolLm2().Encode("\x04", false), IsEmpty());
  EXPECT_THAT(SmolLm2().Encode("", false), IsEmpty());
}

TEST(TokenizerTest, AMegabyteWithoutASpaceTakesLittleTime) {
  std::string text;
  for (int64_t i = 0; i < (1 << 20); ++i) text += static_cast<char>('a' + (i * i + i / 7) % 26);
  const std::vector<int32_t> ids = SmolLm2().Encode(text, false);
  EXPECT_EQ(SmolLm2().Decode(ids, false), text);
}

TEST(TokenizerTest, KnowsWhichTokensEndText) {
  EXPECT_EQ(SmolLm2().eos(), 2);
  EXPECT_TRUE(SmolLm2().EndsText(2));
  EXPECT_TRUE(SmolLm2().EndsText(0));
  EXPECT_FALSE(SmolLm2().EndsText(1));
  EXPECT_TRUE(SmolLm2().IsSpecial(1));
  EXPECT_FALSE(SmolLm2().IsSpecial(19556));
  EXPECT_FALSE(SmolLm2().IsSpecial(-1));
  EXPECT_EQ(SmolLm2().TokenBytes(49152), "");
}

TEST(TokenizerTest, WrongVocabulariesAreRefusedWithTheReason) {
  TokenizerData data{.tokens = {"a", "b"}, .merges = {"a b"}};
  EXPECT_EQ(Tokenizer::Create(data).status().code(), absl::StatusCode::kInvalidArgument);
  data.merges = {"ab"};
  EXPECT_EQ(Tokenizer::Create(data).status().code(), absl::StatusCode::kInvalidArgument);
  data.merges = {};
  EXPECT_THAT(Tokenizer::Create(data).value()->Encode("abc", false), ElementsAre(0, 1));
  data.types = {TokenType::kNormal};
  EXPECT_EQ(Tokenizer::Create(data).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Tokenizer::Create({.tokens = {}}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Tokenizer::Create({.pre = "klingon", .tokens = {"a"}}).status().code(),
            absl::StatusCode::kUnimplemented);
  EXPECT_EQ(Tokenizer::Create({.model = "bert", .tokens = {"a"}}).status().code(),
            absl::StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace llm

#include "model-server/gateway/codec/json_text.h"

#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "boost/json.hpp"

namespace model_server::gateway {
namespace {

using ::testing::HasSubstr;

std::string ErrorOf(std::string_view text) {
  const auto value = ParseJson(text);
  return value.ok() ? "" : std::string(value.status().message());
}

std::string Nested(int depth) { return std::string(depth, '[') + std::string(depth, ']'); }

TEST(ParseJsonTest, GoodTextIsRead) {
  const auto value = ParseJson(R"( {"a":[1,-2,3.5,true,null,"x\u00e4"],"b":{"a":1}} )");
  ASSERT_TRUE(value.ok()) << value.status();
  EXPECT_EQ(value->at("a").as_array().size(), 6U);
  EXPECT_EQ(value->at("a").as_array()[5].as_string(), "x\xc3\xa4");
  EXPECT_TRUE(ParseJson(R"([{"a":1},{"a":2}])").ok()) << "the same key in different objects";
}

TEST(ParseJsonTest, SixtyFourLevelsAreReadAndOneMoreIsNot) {
  EXPECT_EQ(ErrorOf(Nested(64)), "");
  EXPECT_THAT(ErrorOf(Nested(65)), HasSubstr("deeper than 64 levels"));
  EXPECT_NE(ErrorOf(Nested(100'000)), "");
}

TEST(ParseJsonTest, RepeatedKeysAreNamed) {
  EXPECT_EQ(ErrorOf(R"({"a":1,"b":2,"a":3})"), "the key \"a\" stands twice in one object");
  EXPECT_THAT(ErrorOf(R"({"b":{"x":1,"\u0078":2}})"), HasSubstr("\"x\""));
  EXPECT_THAT(ErrorOf(R"({"":1,"":2})"), HasSubstr("twice"));
}

TEST(ParseJsonTest, WhatIsNoJsonIsRefused) {
  for (const char* text :
       {"", " ", "{", "{not json}", "[1,]", "{\"a\":1,}", "NaN", "Infinity", "'a'", "[1] x",
        "\"\xff\"", "\"\xed\xa0\x80\"", "\"a\nb\"", "01", "// c\n1", "\"\\ud800\""}) {
    EXPECT_THAT(ErrorOf(text), HasSubstr("no JSON")) << text;
  }
}

TEST(AppendJsonTest, TextIsEscapedAndMadeValid) {
  std::string out;
  AppendJsonString("a\"b\\c\n\t\x01 \xc3\xa4 \xff \xf0\x9f\x98\x80", &out);
  EXPECT_EQ(out, "\"a\\\"b\\\\c\\n\\u0009\\u0001 \xc3\xa4 \xef\xbf\xbd \xf0\x9f\x98\x80\"");
  EXPECT_EQ(ToUtf8("a\xc3"), "a\xef\xbf\xbd");
}

TEST(AppendJsonTest, NumbersReadBackAndInfinityIsNull) {
  std::string out;
  AppendJsonNumber(-0.1F, &out);
  out += ' ';
  AppendJsonNumber(-std::numeric_limits<float>::infinity(), &out);
  EXPECT_EQ(out, "-0.1 null");
}

}  // namespace
}  // namespace model_server::gateway

#include "common/llm/chat_template.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/files.h"

namespace llm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
namespace json = boost::json;

std::string Folder() { return std::string(KAITO_TEST_DATA) + "/chat_templates/"; }

std::vector<json::object> ReadLines(const std::string& name) {
  const std::string text = base::ReadFile(Folder() + name).value();
  std::vector<json::object> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(json::parse(text.substr(at, end - at)).as_object());
    at = end + 1;
  }
  return lines;
}

std::string Joined(const std::vector<TextSegment>& segments) {
  std::string text;
  for (const TextSegment& segment : segments) text += segment.text;
  return text;
}

// Renders `source` with `variables`, a JSON object; errors come out as "ERROR message".
std::string Render(std::string_view source, std::string_view variables = "{}",
                   ChatTemplateLimits limits = {}) {
  const auto parsed = ChatTemplate::Parse(source, limits);
  if (!parsed.ok()) return "PARSE " + std::string(parsed.status().message());
  const json::value value = json::parse(variables);
  const auto rendered = (*parsed)->Render({.variables = value.as_object()});
  if (!rendered.ok()) return "ERROR " + std::string(rendered.status().message());
  return Joined(*rendered);
}

class GoldenTest : public ::testing::TestWithParam<const char*> {};

TEST_P(GoldenTest, RendersEveryConversationExactly) {
  const std::string name = GetParam();
  const json::value file = json::parse(base::ReadFile(Folder() + name + ".template.json").value());
  const auto chat_template = ChatTemplate::Parse(std::string(file.at("template").as_string()));
  ASSERT_TRUE(chat_template.ok()) << chat_template.status();
  std::map<std::string, std::string> special_tokens;
  for (const auto& [key, token] : file.at("special_tokens").as_object()) {
    special_tokens[key] = std::string(token.as_string());
  }
  const std::vector<json::object> conversations = ReadLines("conversations.jsonl");
  int compared = 0;
  for (const json::object& golden : ReadLines(name + ".jsonl")) {
    const json::object& conversation = conversations[golden.at("n").as_int64()];
    json::object variables;
    variables["messages"] = conversation.at("messages");
    variables["tools"] = conversation.contains("tools") ? conversation.at("tools") : nullptr;
    variables["documents"] = nullptr;
    variables["add_generation_prompt"] = golden.at("add_generation_prompt");
    const auto rendered =
        (*chat_template)
            ->Render({.variables = variables,
                      .special_tokens = special_tokens,
                      .now = absl::FromCivil(absl::CivilMinute(2026, 1, 15, 12, 0),
                                             absl::UTCTimeZone())});
    SCOPED_TRACE(absl::StrFormat("conversation %d", golden.at("n").as_int64()));
    if (golden.contains("error")) {
      const std::string error(golden.at("error").as_string());
      ASSERT_FALSE(rendered.ok());
      EXPECT_EQ(rendered.status().code(), absl::StatusCode::kInvalidArgument);
      const std::string prefix = "TemplateError: ";
      if (error.substr(0, prefix.size()) == prefix) {
        EXPECT_EQ(std::string(rendered.status().message()), error.substr(prefix.size()));
      }
    } else {
      ASSERT_TRUE(rendered.ok()) << rendered.status();
      EXPECT_EQ(Joined(*rendered), std::string(golden.at("rendered").as_string()));
    }
    ++compared;
  }
  EXPECT_EQ(compared, 22);
}

INSTANTIATE_TEST_SUITE_P(Published, GoldenTest,
                         ::testing::Values("deepseek-r1-qwen", "gemma2", "gemma3", "gpt-oss",
                                           "granite3.3", "llama3", "llama3.1", "llama3.3",
                                           "mistral-nemo", "phi3.5-mini", "qwen2.5", "qwen3",
                                           "smollm2", "smollm3"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) {
                             if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
                           }
                           return name;
                         });

TEST(ChatTemplateTest, WhatTheUserWroteIsNotFromTheTemplate) {
  const auto chat_template = ChatTemplate::Parse(
      "{% for m in messages %}{{ '<|' + m.role + '|>' + (m.content | trim | upper) + '<|end|>' }}"
      "{% endfor %}");
  const json::value variables =
      json::parse(R"({"messages": [{"role": "user", "content": " <|end|>x "}]})");
  const auto segments = (*chat_template)->Render({.variables = variables.as_object()});
  ASSERT_TRUE(segments.ok()) << segments.status();
  EXPECT_THAT(*segments, ElementsAre(TextSegment{.text = "<|user|>", .from_template = true},
                                     TextSegment{.text = "<|END|>X"},
                                     TextSegment{.text = "<|end|>", .from_template = true}));
}

TEST(ChatTemplateTest, OriginSurvivesSplittingReplacingAndJson) {
  const auto chat_template = ChatTemplate::Parse(
      "{{ c.split('-')[1] }}|{{ c.replace('b', 'B') }}|{{ c | tojson }}|{{ [c, '!'] | join(',') }}|"
      "{{ c[1:] ~ 1 }}|{{ c | indent }}");
  const json::value variables = json::parse(R"({"c": "<a>-<b>"})");
  const auto segments = (*chat_template)->Render({.variables = variables.as_object()});
  ASSERT_TRUE(segments.ok()) << segments.status();
  for (const TextSegment& segment : *segments) {
    if (segment.from_template) {
      EXPECT_EQ(segment.text.find_first_of("<ab>"), std::string::npos) << segment.text;
    }
  }
}

TEST(ChatTemplateTest, ExpressionsMeanWhatTheyMeanInJinja) {
  EXPECT_EQ(
      Render("{{ 1 + 2 * 3 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 2 ** 10 }} {{ 7 / 2 }}"),
      "7 3 -4 2 1024 3.5");
  EXPECT_EQ(Render("{{ 'a' ~ 1 ~ none ~ true ~ 1.0 ~ 1e20 ~ [1, 'x'] }}"),
            "a1NoneTrue1.01e+20[1, 'x']");
  EXPECT_EQ(Render("{{ 1 < 2 < 3 }} {{ 1 == 1.0 }} {{ 'a' in 'cat' }} {{ 3 not in [1, 2] }}"),
            "True True True True");
  EXPECT_EQ(Render("{{ 'yes' if x else 'no' }}{{ 'z' if x }}|{{ x }}|{{ x is defined }}"),
            "no||False");
  EXPECT_EQ(
      Render("{{ [1,2,3,4][1:] }} {{ 'h\xC3\xA4lf'[::-1] }} {{ 'abc'[-1] }} {{ [1,2,3][::2] }}"),
      "[2, 3, 4] fl\xC3\xA4h c [1, 3]");
  EXPECT_EQ(Render("{{ not true or true and false }}{{ 'a' 'b' }}{{ {'k': {'v': 1}}.k.v }}"),
            "Falseab1");
  EXPECT_EQ(
      Render("{{ 5 is odd }} {{ 6 is divisibleby 3 }} {{ 1 is not none }} {{ 'x' is in ['x'] }}"),
      "True True True True");
  EXPECT_EQ(Render("{{ -1 | abs }} {{ '%s' }} {{ (1, 2)[1] }} {{ {}.get('a', 'd') }}"), "1 %s 2 d");
}

TEST(ChatTemplateTest, FiltersMeanWhatTheyMeanInJinja) {
  EXPECT_EQ(
      Render("{{ [3,1,2] | sort | join('-') }} {{ ['b','A','c'] | sort(reverse=true) | list }}"),
      "1-2-3 ['c', 'b', 'A']");
  EXPECT_EQ(Render("{{ {'b':1,'a':2} | dictsort }} {{ [1,1,2] | unique | list }}"),
            "[['a', 2], ['b', 1]] [1, 2]");
  EXPECT_EQ(Render("{{ [{'a':1},{'a':2},{}] | map(attribute='a') | select('defined') | list }}"),
            "[1, 2]");
  EXPECT_EQ(Render("{{ [1,2,3] | reject('equalto', 2) | map('string') | join }}"), "13");
  EXPECT_EQ(Render("{{ 'heLLo wORLD' | title }} {{ 'heLLo' | capitalize }}"), "Hello World Hello");
  EXPECT_EQ(Render("{{ {'b': [1, 2.5, none], 'a': '\\u00e9\"'} | tojson(sort_keys=true) }}"),
            "{\"a\": \"\xC3\xA9\\\"\", \"b\": [1, 2.5, null]}");
  EXPECT_EQ(Render("{{ {'a': [1], 'b': {}} | tojson(indent=2) }}"),
            "{\n  \"a\": [\n    1\n  ],\n  \"b\": {}\n}");
  EXPECT_EQ(Render("{{ x | default('d') }} {{ '' | default('d', true) }} {{ '42' | int + 1 }}"),
            "d d 43");
  EXPECT_EQ(
      Render("{{ 'a\nb' | indent(2) }}|{{ 'abc' | first }}{{ 'abc' | last }}{{ 'abc' | length }}"),
      "a\n  b|ac3");
  EXPECT_THAT(Render("{{ 1 | frobnicate }}"), HasSubstr("ERROR unknown filter"));
}

TEST(ChatTemplateTest, StatementsMeanWhatTheyMeanInJinja) {
  EXPECT_EQ(Render("{% for k, v in {'a': 1, 'b': 2}.items() if v > 1 %}{{ k }}{{ loop.length }}{% "
                   "endfor %}"),
            "b1");
  EXPECT_EQ(
      Render("{% for i in range(9) %}{% if i == 2 %}{% continue %}{% elif i == 4 %}{% break %}"
             "{% endif %}{{ i }}{% endfor %}"),
      "013");
  EXPECT_EQ(Render("{% for i in [] %}x{% else %}empty{% endfor %}"), "empty");
  EXPECT_EQ(Render("{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{% endfor %}{{ x }}"), "1");
  EXPECT_EQ(
      Render(
          "{% set n = namespace(x=1) %}{% for i in [1] %}{% set n.x = 2 %}{% endfor %}{{ n.x }}"),
      "2");
  EXPECT_EQ(Render("{% set x %}a{{ 1 }}{% endset %}{{ x }}{% set y | upper %}b{% endset %}{{ y }}"),
            "a1B");
  EXPECT_EQ(Render("{% macro m(a, b=2) %}{{ a }}{{ b }}{{ caller() if caller }}{% endmacro %}"
                   "{{ m(1) }}{{ m(b=3, a=4) }}{% call m(5) %}!{% endcall %}"),
            "124352!");
  EXPECT_EQ(
      Render("{% raw %}{{ x }}{% endraw %}{# {% if %} #}{% generation %}g{% endgeneration %}"),
      "{{ x }}g");
  EXPECT_EQ(Render("{% filter upper %}a{{ 'b' }}{% endfilter %}{% set a, b = 1, 2 %}{{ a + b }}"),
            "AB3");
}

TEST(ChatTemplateTest, WhiteSpaceAroundTagsFollowsTrimAndLstripBlocks) {
  EXPECT_EQ(Render("a\n  {% if true %}\nb\n  {% endif %}\nc\n"), "a\nb\nc");
  EXPECT_EQ(Render("a  {%- if true -%}  b  {%- endif -%}  c"), "abc");
  EXPECT_EQ(Render("  {%+ if true %}x{% endif %}"), "  x");
  EXPECT_EQ(Render("{{ 1 }}\n{{- 2 -}}\n 3"), "123");
  EXPECT_EQ(Render("{{ 1 }}\n{{ 2 }}"), "1\n2");
  EXPECT_EQ(Render("x {% if true %}\ny{% endif %}"), "x y");
  EXPECT_EQ(Render("  {# c #}\r\n  z"), "  z");
}

TEST(ChatTemplateTest, MistakesAreNamedWithTheirLine) {
  EXPECT_THAT(Render("a\n{% if x %}"), HasSubstr("PARSE template line 2"));
  EXPECT_THAT(Render("{{ 1 + }}"), HasSubstr("PARSE template line 1: expected an expression"));
  EXPECT_THAT(Render("{% import 'x' %}"), HasSubstr("unknown tag \"import\""));
  EXPECT_THAT(Render("{% break %}"), HasSubstr("outside a loop"));
  EXPECT_THAT(Render("{{ 'abc }}"), HasSubstr("a string does not end"));
  EXPECT_THAT(Render("{% endif %}"), HasSubstr("PARSE"));
  EXPECT_EQ(Render("{{ raise_exception('no ' + 'way') }}"), "ERROR no way");
  EXPECT_THAT(Render("{{ x.y }}"), HasSubstr("ERROR \"x\" is undefined"));
  EXPECT_THAT(Render("{{ 1 + 'a' }}"), HasSubstr("ERROR operator +"));
  EXPECT_THAT(Render("{{ 'a'.__class__.__mro__ }}"), HasSubstr("ERROR"));
  EXPECT_THAT(Render("{{ 9223372036854775807 + 1 }}"), HasSubstr("out of range"));
  EXPECT_THAT(Render("{{ 1 // 0 }}"), HasSubstr("division by zero"));
}

TEST(ChatTemplateTest, NoTemplateRunsForEverOrTakesAllMemory) {
  EXPECT_THAT(
      Render("{% for i in range(10000) %}{% for j in range(10000) %}{% endfor %}{% endfor %}"),
      HasSubstr("too many steps"));
  EXPECT_THAT(Render("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"), HasSubstr("too deeply"));
  EXPECT_THAT(Render("{% set n = namespace(s='xxxxxxxx') %}{% for i in range(60) %}"
                     "{% set n.s = n.s + n.s %}{% endfor %}"),
              HasSubstr("too many steps"));
  EXPECT_THAT(Render("{{ 'x' * 5000000 }}"), HasSubstr("too long"));
  EXPECT_THAT(Render("{{ x }}", R"({"x": "0123456789"})", {.output_bytes_max = 9}),
              HasSubstr("output is too long"));
  EXPECT_EQ(Render("{{ x }}", R"({"x": "0123456789"})", {.output_bytes_max = 10}), "0123456789");
  EXPECT_THAT(Render("{% set n = namespace() %}{% set n.n = n %}{{ n | tojson }}"),
              HasSubstr("too deeply"));
  EXPECT_THAT(Render("{{ " + std::string(5000, '(') + " }}"), HasSubstr("PARSE"));
  EXPECT_THAT(Render("{{ " + std::string(5000, '-') + "1 }}"), HasSubstr("PARSE"));
  std::string sum = "{{ 1";
  for (int i = 0; i < 100'000; ++i) sum += "+1";
  EXPECT_THAT(Render(sum + " }}"), HasSubstr("PARSE"));
  std::string blocks;
  for (int i = 0; i < 5000; ++i) blocks += "{% if 1 %}";
  EXPECT_THAT(Render(blocks), HasSubstr("nested too deeply"));
}

}  // namespace
}  // namespace llm

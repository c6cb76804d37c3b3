#include "common/kube/json.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "boost/json.hpp"

namespace kube {
namespace {

namespace json = boost::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

json::value Yaml(std::string_view text) {
  const auto documents = ParseYaml(text);
  EXPECT_TRUE(documents.ok()) << documents.status();
  return documents.ok() && !documents->empty() ? documents->front() : json::value();
}

std::string YamlError(std::string_view text) {
  const auto documents = ParseYaml(text);
  EXPECT_EQ(documents.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(documents.status().message());
}

TEST(JsonTest, PathsLeadToMembersAndMissingOnesGiveTheDefault) {
  const json::value value = json::parse(R"({"a":{"b":"x","n":7,"t":true,"l":["p",1,"q"]}})");
  EXPECT_EQ(StringAt(value, {"a", "b"}), "x");
  EXPECT_EQ(StringAt(value, {"a", "n"}, "none"), "none");
  EXPECT_EQ(StringAt(value, {"a", "b", "c"}), "");
  EXPECT_EQ(IntAt(value, {"a", "n"}), 7);
  EXPECT_EQ(IntAt(value, {"a", "b"}, -1), -1);
  EXPECT_TRUE(BoolAt(value, {"a", "t"}));
  EXPECT_THAT(StringsAt(value, {"a", "l"}), ElementsAre("p", "q"));
}

TEST(JsonTest, MakePathReplacesWhatIsNoObject) {
  json::value value = json::parse(R"({"a":5})");
  MakePath(value, {"a", "b"}) = 1;
  EXPECT_EQ(value, json::parse(R"({"a":{"b":1}})"));
}

TEST(JsonTest, ParseNamesTheOffsetOfAnError) {
  EXPECT_TRUE(ParseJson(" {\"a\": 1} \n").ok());
  EXPECT_THAT(std::string(ParseJson("{\"a\": x}").status().message()), HasSubstr("offset 6"));
  EXPECT_FALSE(ParseJson("{} {}").ok());
  EXPECT_FALSE(ParseJson("").ok());
  EXPECT_FALSE(ParseJson("{\"a\":").ok());
}

TEST(JsonTest, DepthIsLimited) {
  EXPECT_TRUE(ParseJson(std::string(512, '[') + std::string(512, ']')).ok());
  EXPECT_FALSE(ParseJson(std::string(514, '[') + std::string(514, ']')).ok());
}

TEST(JsonTest, CanonicalTextDoesNotDependOnTheOrderOfMembers) {
  const json::value a = json::parse(R"({"b":[{"y":1,"x":2}],"a":"\n"})");
  const json::value b = json::parse(R"({"a":"\n","b":[{"x":2,"y":1}]})");
  EXPECT_EQ(CanonicalJson(a), R"({"a":"\n","b":[{"x":2,"y":1}]})");
  EXPECT_EQ(CanonicalJson(a), CanonicalJson(b));
  EXPECT_EQ(CanonicalJson(json::parse(R"({"a":"{","b":{}})")), R"({"a":"{","b":{}})");
}

TEST(JsonTest, MergePatchFollowsTheExamplesOfItsSpecification) {
  const struct {
    const char *target, *patch, *result;
  } cases[] = {{R"({"a":"b"})", R"({"a":"c"})", R"({"a":"c"})"},
               {R"({"a":"b","b":"c"})", R"({"a":null})", R"({"b":"c"})"},
               {R"({"a":["b"]})", R"({"a":"c"})", R"({"a":"c"})"},
               {R"({"a":{"b":"c"}})", R"({"a":{"b":"d","c":null}})", R"({"a":{"b":"d"}})"},
               {R"({"a":[{"b":"c"}]})", R"({"a":[1]})", R"({"a":[1]})"},
               {R"({"a":"foo"})", R"("bar")", R"("bar")"},
               {R"({"e":null})", R"({"a":1})", R"({"e":null,"a":1})"},
               {R"({})", R"({"a":{"bb":{"ccc":null}}})", R"({"a":{"bb":{}}})"}};
  for (const auto& one : cases) {
    json::value target = json::parse(one.target);
    MergePatch(target, json::parse(one.patch));
    EXPECT_EQ(target, json::parse(one.result)) << one.target << " + " << one.patch;
  }
}

TEST(YamlTest, PlainScalarsFollowTheCoreSchemaAndYesStaysText) {
  EXPECT_EQ(Yaml("a: 1\nb: -2\nc: 0x10\nd: 0o17\ne: 0644\nf: 1.5\ng: 1e3\nh: true\ni: ~\nj: yes\n"
                 "k: \"1\"\nl: 1.2.3\nm: 0.5Gi\nn: 2024-01-01\no: '-'\np: 089\nq:\n-\n"
                 "r: 18446744073709551615"),
            json::parse(R"({"a":1,"b":-2,"c":16,"d":15,"e":420,"f":1.5,"g":1000.0,"h":true,
              "i":null,"j":"yes","k":"1","l":"1.2.3","m":"0.5Gi","n":"2024-01-01","o":"-","p":89,
              "q":[null],"r":18446744073709551615})"));
}

TEST(YamlTest, DocumentsOfAStreamComeOneByOneAndEmptyOnesAreSkipped) {
  const auto documents = ParseYaml("---\na: 1\n---\n# nothing\n---\nb: [x, {c: d}]\n");
  ASSERT_TRUE(documents.ok()) << documents.status();
  EXPECT_THAT(*documents,
              ElementsAre(json::parse(R"({"a":1})"), json::parse(R"({"b":["x",{"c":"d"}]})")));
}

TEST(YamlTest, JsonIsYaml) {
  EXPECT_EQ(Yaml(R"({"a": [1, "x\n", null]})"), json::parse(R"({"a":[1,"x\n",null]})"));
}

TEST(YamlTest, AliasesAndMergeKeysAreExpanded) {
  EXPECT_EQ(Yaml("base: &b {x: 1, y: 2}\none: *b\ntwo:\n  <<: *b\n  y: 3\n"),
            json::parse(R"({"base":{"x":1,"y":2},"one":{"x":1,"y":2},"two":{"x":1,"y":3}})"));
}

TEST(YamlTest, ErrorsNameTheLine) {
  EXPECT_THAT(YamlError("a: 1\nb: [1\n"), HasSubstr("line"));
  EXPECT_THAT(YamlError("a: 1\na: 2\n"), HasSubstr("line 2: key \"a\" is given twice"));
  EXPECT_THAT(YamlError("? [a]\n: b\n"), HasSubstr("plain text"));
  EXPECT_THAT(YamlError("a: &x [*x]\n"), HasSubstr("contains itself"));
}

TEST(YamlTest, BombsAreRefused) {
  std::string laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 8; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    laughs += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + before;
    for (int j = 0; j < 9; ++j) laughs += ", " + before;
    laughs += "]\n";
  }
  EXPECT_THAT(YamlError(laughs), HasSubstr("too many values"));

  std::string many = "a: &a x\nl:\n";
  for (int i = 0; i < 101; ++i) many += "- *a\n";
  EXPECT_THAT(YamlError(many), HasSubstr("more than 100 aliases"));

  EXPECT_FALSE(ParseYaml(std::string(100'000, '[')).ok());
  EXPECT_THAT(YamlError(std::string(150, '[') + std::string(150, ']')), HasSubstr("deep"));
  EXPECT_THAT(YamlError(std::string((3 << 20) + 1, ' ')), HasSubstr("larger"));
}

TEST(ParseYamlTest, ControlCharactersAreRefused) {
  using std::string_literals::operator""s;
  EXPECT_THAT(YamlError("a: [1, \0\0, 2"s), HasSubstr("control character"));
}

TEST(ParseYamlTest, StrayFlowCharactersAreAnError) {
  for (const char* text : {", a", "] b", "a: b\n---\n, c", "} "}) {
    EXPECT_FALSE(ParseYaml(text).ok()) << text;
  }
}

}  // namespace
}  // namespace kube

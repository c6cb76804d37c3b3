#include "local-cluster/apiserver/cel/program.h"

#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "boost/json.hpp"
#include "local-cluster/apiserver/cel/schema.h"

namespace local_cluster::cel {
namespace {

const Schema& AnySchema() {
  static const Schema schema;
  return schema;
}

absl::StatusOr<bool> Holds(std::string_view rule, std::string_view self,
                           std::string_view old = "") {
  const auto program = Program::Compile(rule, AnySchema());
  if (!program.ok()) return program.status();
  const boost::json::value self_json = boost::json::parse(std::string(self));
  const boost::json::value old_json =
      old.empty() ? boost::json::value() : boost::json::parse(std::string(old));
  int64_t budget = 100'000;
  return (*program)->Holds(self_json, old.empty() ? nullptr : &old_json, budget);
}

TEST(CelProgramTest, RulesOfNodeClaimsHoldOrNotAsUpstreams) {
  const std::string operators =
      "self.all(x, (x.operator == 'Gt' || x.operator == 'Lt') ? (x.values.size() == 1 && "
      "int(x.values[0]) >= 0) : true)";
  EXPECT_EQ(Holds(operators, R"([{"operator":"Gt","values":["3"]}])").value(), true);
  EXPECT_EQ(Holds(operators, R"([{"operator":"Gt","values":["-3"]}])").value(), false);
  EXPECT_EQ(Holds(operators, R"([{"operator":"Gt","values":["1","2"]}])").value(), false);
  EXPECT_EQ(Holds(operators, R"([{"operator":"In","values":[]}])").value(), true);

  const std::string restricted =
      R"re(self in ["karpenter.sh/nodepool"] || !self.find("^([^/]+)").endsWith("karpenter.sh"))re";
  EXPECT_EQ(Holds(restricted, R"("karpenter.sh/nodepool")").value(), true);
  EXPECT_EQ(Holds(restricted, R"("karpenter.sh/other")").value(), false);
  EXPECT_EQ(Holds(restricted, R"("example.com/other")").value(), true);
}

TEST(CelProgramTest, TransitionRulesSeeTheOldValue) {
  EXPECT_EQ(Holds("self == oldSelf", R"({"a":[1,2]})", R"({"a":[1,2]})").value(), true);
  EXPECT_EQ(Holds("self == oldSelf", R"({"a":[1,2]})", R"({"a":[1,3]})").value(), false);
  EXPECT_TRUE(Program::Compile("self == oldSelf", AnySchema()).value()->uses_old());
  EXPECT_FALSE(Program::Compile("self == 1", AnySchema()).value()->uses_old());
}

TEST(CelProgramTest, MissingFieldsAreErrorsAndHasAsksForThem) {
  EXPECT_EQ(Holds("has(self.a)", R"({"a":1})").value(), true);
  EXPECT_EQ(Holds("has(self.a)", R"({})").value(), false);
  EXPECT_FALSE(Holds("self.a == 1", R"({})").ok());
  EXPECT_EQ(Holds("!has(self.a) || self.a == 1", R"({})").value(), true);
  // An operand that decides makes up for an error of the other one.
  EXPECT_EQ(Holds("self.a == 1 || true", R"({})").value(), true);
}

TEST(CelProgramTest, FunctionsThatAreNotKnownAreNamed) {
  const auto refused = Holds("quantity(self) == quantity('1')", "\"1\"");
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(std::string(refused.status().message()).find("quantity"), std::string::npos);
  EXPECT_FALSE(Holds("self.isURL()", "\"x\"").ok());
  EXPECT_FALSE(Holds("nobody == 1", "1").ok());
}

TEST(CelProgramTest, MacrosStringsAndNumbers) {
  EXPECT_EQ(Holds("self.map(x, x * 2).exists(x, x == 4)", "[1,2]").value(), true);
  EXPECT_EQ(Holds("self.filter(x, x > 1).size() == 1", "[1,2]").value(), true);
  EXPECT_EQ(Holds("self.exists_one(x, x == 1)", "[1,1]").value(), false);
  EXPECT_EQ(Holds("self.all(k, size(self[k]) <= 3)", R"({"a":"xyz"})").value(), true);
  EXPECT_EQ(
      Holds("int(self.split('\\t')[1]) - int(self.split(\"\\t\")[0]) == 5", R"("1\t6")").value(),
      true);
  EXPECT_EQ(Holds("self.all(k, !k.contains('\\\\'))", R"({"a":1})").value(), true);
  EXPECT_EQ(Holds("1 + 2 * 3 == 7 && -1 < 0 && 7 % 4 == 3", "0").value(), true);
  EXPECT_FALSE(Holds("9223372036854775807 + 1 > 0", "0").ok());
  EXPECT_FALSE(Holds("1 / self == 1", "0").ok());
}

TEST(CelProgramTest, WorkIsBounded) {
  std::string list = "[0";
  for (int i = 1; i < 1000; ++i) list += "," + std::to_string(i);
  list += "]";
  const auto stopped = Holds("self.all(a, self.all(b, self.all(c, a + b + c >= 0)))", list);
  EXPECT_EQ(stopped.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_FALSE(Holds(std::string(1000, '(') + "true" + std::string(1000, ')'), "0").ok());
  EXPECT_EQ(Holds("self.matches('^(a+)+$')", "\"" + std::string(40, 'a') + "b\"").value(), false);
}

}  // namespace
}  // namespace local_cluster::cel

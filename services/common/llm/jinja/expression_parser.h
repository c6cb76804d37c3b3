// The part of the parser that reads expressions.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

#include "common/llm/jinja/ast.h"
#include "common/llm/jinja/lexer.h"

namespace llm::jinja {

// Reads tokens one after the other. The first error stays; from then on everything returns null and
// the position stands still on the end, so that no caller has to look after each call.
class ExpressionParser {
 public:
  explicit ExpressionParser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  ExpressionPtr ParseExpression() {
    return Nested([this] { return ParseCondition(true); });
  }

  // As in `for x in HERE if …`: an `if` is not part of it.
  ExpressionPtr ParseWithoutCondition() {
    return Nested([this] { return ParseOr(); });
  }

  // a, b → a list; a → a.
  ExpressionPtr ParseTuple();

  // {% filter HERE %}: a chain whose innermost operand is null.
  ExpressionPtr ParseFilterChain();

  const Token& Peek(size_t ahead = 0) const;
  Token Next();
  bool PeekOperator(std::string_view op) const;
  bool PeekName(std::string_view name) const;
  bool SkipOperator(std::string_view op);
  bool SkipName(std::string_view name);
  void ExpectOperator(std::string_view op);
  void Expect(TokenKind kind, std::string_view what);
  std::string ExpectName();

  void Fail(std::string_view what);
  bool failed() const { return !status_.ok(); }
  const absl::Status& status() const { return status_; }

 private:
  static constexpr int kNestingMax = 100;  // Of brackets.
  static constexpr int kDepthMax = 500;    // Of a tree, also of long sums.

  template <typename F>
  ExpressionPtr Nested(F parse) {
    if (++nesting_ > kNestingMax) Fail("expressions are nested too deeply");
    ExpressionPtr expression = failed() ? nullptr : parse();
    --nesting_;
    return expression;
  }

  ExpressionPtr Make(Expression::Kind kind, std::string name = "");
  void AddOperand(Expression& parent, ExpressionPtr operand);
  ExpressionPtr Binary(std::string op, ExpressionPtr left, ExpressionPtr right);

  ExpressionPtr ParseCondition(bool allow_if);
  ExpressionPtr ParseOr();
  ExpressionPtr ParseAnd();
  ExpressionPtr ParseNot();
  ExpressionPtr ParseCompare();
  ExpressionPtr ParseSum();
  ExpressionPtr ParseConcat();
  ExpressionPtr ParseProduct();
  ExpressionPtr ParsePower();
  ExpressionPtr ParseUnary(bool with_filters);
  ExpressionPtr ParsePrimary();
  ExpressionPtr ParseLiteralName(const std::string& name);
  ExpressionPtr ParseNumber(const Token& token);
  ExpressionPtr ParseParenthesized();
  ExpressionPtr ParseListLiteral();
  ExpressionPtr ParseDictLiteral();
  ExpressionPtr ParsePostfix(ExpressionPtr expression);
  ExpressionPtr ParseSubscript(ExpressionPtr expression);
  ExpressionPtr ParseFiltersAndTests(ExpressionPtr expression);
  ExpressionPtr ParseFilter(ExpressionPtr expression);
  ExpressionPtr ParseTest(ExpressionPtr expression);
  void ParseArguments(Expression& call);

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int nesting_ = 0;
  absl::Status status_;
};

}  // namespace llm::jinja

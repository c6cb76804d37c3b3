#include "common/llm/jinja/expression_parser.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "absl/strings/str_format.h"

namespace llm::jinja {

const Token& ExpressionParser::Peek(size_t ahead) const {
  return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
}

Token ExpressionParser::Next() {
  Token token = Peek();
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}

bool ExpressionParser::PeekOperator(std::string_view op) const {
  return Peek().kind == TokenKind::kOperator && Peek().text == op;
}

bool ExpressionParser::PeekName(std::string_view name) const {
  return Peek().kind == TokenKind::kName && Peek().text == name;
}

bool ExpressionParser::SkipOperator(std::string_view op) {
  if (!PeekOperator(op)) return false;
  Next();
  return true;
}

bool ExpressionParser::SkipName(std::string_view name) {
  if (!PeekName(name)) return false;
  Next();
  return true;
}

void ExpressionParser::ExpectOperator(std::string_view op) {
  if (!SkipOperator(op)) Fail(absl::StrFormat("expected '%s'", op));
}

void ExpressionParser::Expect(TokenKind kind, std::string_view what) {
  if (Peek().kind == kind) {
    Next();
  } else {
    Fail(absl::StrFormat("expected %s", what));
  }
}

std::string ExpressionParser::ExpectName() {
  if (Peek().kind == TokenKind::kName) return Next().text;
  Fail("expected a name");
  return "";
}

void ExpressionParser::Fail(std::string_view what) {
  if (failed()) return;
  const Token& token = Peek();
  const std::string near = token.text.empty() ? "" : absl::StrFormat(" near \"%.40s\"", token.text);
  status_ =
      absl::InvalidArgumentError(absl::StrFormat("template line %d: %s%s", token.line, what, near));
  at_ = tokens_.size() - 1;
}

ExpressionPtr ExpressionParser::Make(Expression::Kind kind, std::string name) {
  auto expression = std::make_unique<Expression>();
  expression->kind = kind;
  expression->name = std::move(name);
  expression->line = Peek().line;
  return expression;
}

void ExpressionParser::AddOperand(Expression& parent, ExpressionPtr operand) {
  if (operand != nullptr) parent.depth = std::max(parent.depth, operand->depth + 1);
  if (parent.depth > kDepthMax) Fail("an expression is too long");
  parent.operands.push_back(std::move(operand));
}

ExpressionPtr ExpressionParser::Binary(std::string op, ExpressionPtr left, ExpressionPtr right) {
  ExpressionPtr binary = Make(Expression::Kind::kBinary, std::move(op));
  AddOperand(*binary, std::move(left));
  AddOperand(*binary, std::move(right));
  return binary;
}

ExpressionPtr ExpressionParser::ParseTuple() {
  ExpressionPtr first = ParseExpression();
  if (!PeekOperator(",")) return first;
  ExpressionPtr list = Make(Expression::Kind::kList);
  AddOperand(*list, std::move(first));
  while (!failed() && SkipOperator(",")) {
    if (Peek().kind == TokenKind::kBlockEnd || Peek().kind == TokenKind::kOutputEnd) break;
    AddOperand(*list, ParseExpression());
  }
  return list;
}

ExpressionPtr ExpressionParser::ParseCondition(bool allow_if) {
  ExpressionPtr value = ParseOr();
  while (allow_if && !failed() && SkipName("if")) {
    ExpressionPtr condition = Make(Expression::Kind::kCondition);
    AddOperand(*condition, std::move(value));
    AddOperand(*condition, ParseOr());
    AddOperand(*condition, SkipName("else") ? ParseExpression() : nullptr);
    value = std::move(condition);
  }
  return value;
}

ExpressionPtr ExpressionParser::ParseOr() {
  ExpressionPtr left = ParseAnd();
  while (!failed() && SkipName("or")) left = Binary("or", std::move(left), ParseAnd());
  return left;
}

ExpressionPtr ExpressionParser::ParseAnd() {
  ExpressionPtr left = ParseNot();
  while (!failed() && SkipName("and")) left = Binary("and", std::move(left), ParseNot());
  return left;
}

ExpressionPtr ExpressionParser::ParseNot() {
  if (!SkipName("not")) return ParseCompare();
  ExpressionPtr negation = Make(Expression::Kind::kUnary, "not");
  AddOperand(*negation, Nested([this] { return ParseNot(); }));
  return negation;
}

ExpressionPtr ExpressionParser::ParseCompare() {
  ExpressionPtr left = ParseSum();
  ExpressionPtr compare;
  while (!failed()) {
    std::string op;
    for (const std::string_view known : {"==", "!=", "<", "<=", ">", ">="}) {
      if (PeekOperator(known)) op = known;
    }
    if (op.empty() && PeekName("in")) op = "in";
    if (op.empty() && PeekName("not") && Peek(1).kind == TokenKind::kName && Peek(1).text == "in") {
      Next();
      op = "not in";
    }
    if (op.empty()) break;
    Next();
    if (compare == nullptr) {
      compare = Make(Expression::Kind::kCompare);
      AddOperand(*compare, std::move(left));
    }
    compare->operators.push_back(op);
    AddOperand(*compare, ParseSum());
  }
  return compare != nullptr ? std::move(compare) : std::move(left);
}

ExpressionPtr ExpressionParser::ParseSum() {
  ExpressionPtr left = ParseConcat();
  while (!failed() && (PeekOperator("+") || PeekOperator("-"))) {
    std::string op = Next().text;
    left = Binary(std::move(op), std::move(left), ParseConcat());
  }
  return left;
}

ExpressionPtr ExpressionParser::ParseConcat() {
  ExpressionPtr left = ParseProduct();
  while (!failed() && SkipOperator("~")) left = Binary("~", std::move(left), ParseProduct());
  return left;
}

ExpressionPtr ExpressionParser::ParseProduct() {
  ExpressionPtr left = ParsePower();
  while (!failed() &&
         (PeekOperator("*") || PeekOperator("/") || PeekOperator("//") || PeekOperator("%"))) {
    std::string op = Next().text;
    left = Binary(std::move(op), std::move(left), ParsePower());
  }
  return left;
}

ExpressionPtr ExpressionParser::ParsePower() {
  ExpressionPtr left = ParseUnary(true);
  while (!failed() && SkipOperator("**")) left = Binary("**", std::move(left), ParseUnary(true));
  return left;
}

ExpressionPtr ExpressionParser::ParseUnary(bool with_filters) {
  ExpressionPtr expression;
  if (PeekOperator("-") || PeekOperator("+")) {
    expression = Make(Expression::Kind::kUnary, Next().text);
    AddOperand(*expression, Nested([this] { return ParseUnary(false); }));
  } else {
    expression = ParsePostfix(ParsePrimary());
  }
  return with_filters ? ParseFiltersAndTests(std::move(expression)) : std::move(expression);
}

ExpressionPtr ExpressionParser::ParsePrimary() {
  const Token token = Peek();
  switch (token.kind) {
    case TokenKind::kName:
      Next();
      return ParseLiteralName(token.text);
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      Next();
      return ParseNumber(token);
    case TokenKind::kString: {
      std::string text;  // Strings side by side are one.
      while (Peek().kind == TokenKind::kString) text += Next().text;
      ExpressionPtr literal = Make(Expression::Kind::kLiteral);
      literal->literal = Value(Text(text, true));
      return literal;
    }
    default:
      if (PeekOperator("(")) return Nested([this] { return ParseParenthesized(); });
      if (PeekOperator("[")) return Nested([this] { return ParseListLiteral(); });
      if (PeekOperator("{")) return Nested([this] { return ParseDictLiteral(); });
      Fail("expected an expression");
      return nullptr;
  }
}

ExpressionPtr ExpressionParser::ParseLiteralName(const std::string& name) {
  ExpressionPtr literal = Make(Expression::Kind::kLiteral);
  if (name == "true" || name == "True") {
    literal->literal = Value(true);
  } else if (name == "false" || name == "False") {
    literal->literal = Value(false);
  } else if (name == "none" || name == "None") {
    literal->literal = Value(None{});
  } else {
    literal->kind = Expression::Kind::kName;
    literal->name = name;
  }
  return literal;
}

ExpressionPtr ExpressionParser::ParseNumber(const Token& token) {
  ExpressionPtr literal = Make(Expression::Kind::kLiteral);
  const char* const begin = token.text.data();
  const char* const end = begin + token.text.size();
  std::from_chars_result result{};
  if (token.kind == TokenKind::kInteger) {
    int64_t value = 0;
    result = std::from_chars(begin, end, value);
    literal->literal = Value(value);
  } else {
    double value = 0;
    result = std::from_chars(begin, end, value);
    literal->literal = Value(value);
  }
  if (result.ec != std::errc()) Fail("a number is out of range");
  return literal;
}

ExpressionPtr ExpressionParser::ParseParenthesized() {
  ExpectOperator("(");
  ExpressionPtr inner;
  if (PeekOperator(")")) {
    inner = Make(Expression::Kind::kList);
  } else {
    inner = ParseExpression();
    if (PeekOperator(",")) {
      ExpressionPtr tuple = Make(Expression::Kind::kList);
      AddOperand(*tuple, std::move(inner));
      while (!failed() && SkipOperator(",") && !PeekOperator(")")) {
        AddOperand(*tuple, ParseExpression());
      }
      inner = std::move(tuple);
    }
  }
  ExpectOperator(")");
  return inner;
}

ExpressionPtr ExpressionParser::ParseListLiteral() {
  ExpectOperator("[");
  ExpressionPtr list = Make(Expression::Kind::kList);
  while (!failed() && !PeekOperator("]")) {
    AddOperand(*list, ParseExpression());
    if (!SkipOperator(",")) break;
  }
  ExpectOperator("]");
  return list;
}

ExpressionPtr ExpressionParser::ParseDictLiteral() {
  ExpectOperator("{");
  ExpressionPtr dict = Make(Expression::Kind::kDict);
  while (!failed() && !PeekOperator("}")) {
    AddOperand(*dict, ParseExpression());
    ExpectOperator(":");
    AddOperand(*dict, ParseExpression());
    if (!SkipOperator(",")) break;
  }
  ExpectOperator("}");
  return dict;
}

ExpressionPtr ExpressionParser::ParsePostfix(ExpressionPtr expression) {
  while (!failed()) {
    if (SkipOperator(".")) {
      // `a.0` is an index, as in Jinja.
      const bool is_number = Peek().kind == TokenKind::kInteger;
      ExpressionPtr access =
          Make(is_number ? Expression::Kind::kIndex : Expression::Kind::kAttribute);
      AddOperand(*access, std::move(expression));
      if (is_number) {
        AddOperand(*access, ParseNumber(Next()));
      } else {
        access->name = ExpectName();
      }
      expression = std::move(access);
    } else if (SkipOperator("[")) {
      expression = Nested([&] { return ParseSubscript(std::move(expression)); });
    } else if (PeekOperator("(")) {
      ExpressionPtr call = Make(Expression::Kind::kCall);
      AddOperand(*call, std::move(expression));
      ParseArguments(*call);
      expression = std::move(call);
    } else {
      break;
    }
  }
  return expression;
}

ExpressionPtr ExpressionParser::ParseSubscript(ExpressionPtr expression) {
  ExpressionPtr subscript = Make(Expression::Kind::kIndex);
  AddOperand(*subscript, std::move(expression));
  AddOperand(*subscript, PeekOperator(":") ? nullptr : ParseExpression());
  while (!failed() && SkipOperator(":")) {
    subscript->kind = Expression::Kind::kSlice;
    const bool is_absent = PeekOperator(":") || PeekOperator("]");
    AddOperand(*subscript, is_absent ? nullptr : ParseExpression());
  }
  if (subscript->operands.size() > 4) Fail("a slice has at most three parts");
  ExpectOperator("]");
  return subscript;
}

ExpressionPtr ExpressionParser::ParseFiltersAndTests(ExpressionPtr expression) {
  while (!failed()) {
    if (SkipOperator("|")) {
      expression = ParseFilter(std::move(expression));
    } else if (SkipName("is")) {
      expression = ParseTest(std::move(expression));
    } else if (PeekOperator("(")) {
      ExpressionPtr call = Make(Expression::Kind::kCall);
      AddOperand(*call, std::move(expression));
      ParseArguments(*call);
      expression = std::move(call);
    } else {
      break;
    }
  }
  return expression;
}

ExpressionPtr ExpressionParser::ParseFilterChain() {
  ExpressionPtr chain = ParseFilter(nullptr);
  while (!failed() && SkipOperator("|")) chain = ParseFilter(std::move(chain));
  return chain;
}

ExpressionPtr ExpressionParser::ParseFilter(ExpressionPtr expression) {
  ExpressionPtr filter = Make(Expression::Kind::kFilter, ExpectName());
  AddOperand(*filter, std::move(expression));
  if (PeekOperator("(")) ParseArguments(*filter);
  return filter;
}

ExpressionPtr ExpressionParser::ParseTest(ExpressionPtr expression) {
  const bool negated = SkipName("not");
  ExpressionPtr test = Make(Expression::Kind::kTest, ExpectName());
  AddOperand(*test, std::move(expression));
  const Token& next = Peek();
  const bool is_word = next.kind == TokenKind::kName && next.text != "else" && next.text != "or" &&
                       next.text != "and" && next.text != "is" && next.text != "if" &&
                       next.text != "in" && next.text != "not";
  if (PeekOperator("(")) {
    ParseArguments(*test);
  } else if (is_word || next.kind == TokenKind::kString || next.kind == TokenKind::kInteger ||
             next.kind == TokenKind::kFloat || PeekOperator("[") || PeekOperator("{")) {
    AddOperand(*test, ParsePostfix(ParsePrimary()));
  }
  if (!negated) return test;
  ExpressionPtr negation = Make(Expression::Kind::kUnary, "not");
  AddOperand(*negation, std::move(test));
  return negation;
}

void ExpressionParser::ParseArguments(Expression& call) {
  ExpectOperator("(");
  while (!failed() && !PeekOperator(")")) {
    const bool is_keyword = Peek().kind == TokenKind::kName &&
                            Peek(1).kind == TokenKind::kOperator && Peek(1).text == "=";
    if (is_keyword) {
      call.keywords.push_back(Next().text);
      Next();
    } else if (!call.keywords.empty()) {
      Fail("a positional argument after a named one");
    }
    AddOperand(call, ParseExpression());
    if (!SkipOperator(",")) break;
  }
  ExpectOperator(")");
}

}  // namespace llm::jinja

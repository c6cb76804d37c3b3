#include "common/llm/jinja/parser.h"

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"

#include "common/base/status_macros.h"
#include "common/llm/jinja/expression_parser.h"
#include "common/llm/jinja/lexer.h"

namespace llm::jinja {
namespace {

using Kind = Statement::Kind;
using StatementPtr = std::unique_ptr<Statement>;

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : p_(std::move(tokens)) {}

  absl::StatusOr<Body> Run() {
    Body body = ParseBody({});
    if (!p_.failed() && p_.Peek().kind != TokenKind::kEnd) p_.Fail("a tag ends what did not begin");
    if (p_.failed()) return p_.status();
    return body;
  }

 private:
  static constexpr int kNestingMax = 60;

  // Up to a tag named one of `ends`, which is left standing after its "{%".
  Body ParseBody(std::initializer_list<std::string_view> ends) {
    Body body;
    if (++nesting_ > kNestingMax) p_.Fail("blocks are nested too deeply");
    while (!p_.failed() && p_.Peek().kind != TokenKind::kEnd) {
      const Token& token = p_.Peek();
      if (token.kind == TokenKind::kData) {
        StatementPtr data = Make(Kind::kData);
        data->literal = Value(Text(p_.Next().text, true));
        body.push_back(std::move(data));
      } else if (token.kind == TokenKind::kOutputBegin) {
        StatementPtr output = Make(Kind::kOutput);
        p_.Next();
        output->value = p_.ParseTuple();
        p_.Expect(TokenKind::kOutputEnd, "'}}'");
        body.push_back(std::move(output));
      } else {
        const std::string& name = p_.Peek(1).text;
        if (std::find(ends.begin(), ends.end(), name) != ends.end()) break;
        p_.Expect(TokenKind::kBlockBegin, "a tag");
        if (StatementPtr block = ParseBlock()) body.push_back(std::move(block));
      }
    }
    --nesting_;
    return body;
  }

  StatementPtr Make(Kind kind) const {
    auto statement = std::make_unique<Statement>();
    statement->kind = kind;
    statement->line = p_.Peek().line;
    return statement;
  }

  void EndBlock() { p_.Expect(TokenKind::kBlockEnd, "'%}'"); }

  // {% NAME %}, which ParseBody() stopped at.
  void ExpectEnd(std::string_view name) {
    p_.Expect(TokenKind::kBlockBegin, absl::StrFormat("{%% %s %%}", name));
    if (!p_.SkipName(name)) p_.Fail(absl::StrFormat("expected {%% %s %%}", name));
    EndBlock();
  }

  StatementPtr ParseBlock() {
    const std::string name = p_.ExpectName();
    if (name == "if") return ParseIf();
    if (name == "for") return ParseFor();
    if (name == "set") return ParseSet();
    if (name == "macro") return ParseMacro();
    if (name == "call") return ParseCall();
    if (name == "filter") return ParseFilter();
    if (name == "generation") return ParseGeneration();
    if (name == "break" || name == "continue") {
      if (loops_ == 0) p_.Fail(absl::StrFormat("{%% %s %%} outside a loop", name));
      StatementPtr jump = Make(name == "break" ? Kind::kBreak : Kind::kContinue);
      EndBlock();
      return jump;
    }
    p_.Fail(absl::StrFormat("unknown tag \"%.40s\"", name));
    return nullptr;
  }

  StatementPtr ParseIf() {
    StatementPtr statement = Make(Kind::kIf);
    while (!p_.failed()) {
      Statement::Branch& branch = statement->branches.emplace_back();
      branch.condition = p_.ParseTuple();
      EndBlock();
      branch.body = ParseBody({"elif", "else", "endif"});
      p_.Expect(TokenKind::kBlockBegin, "{% endif %}");
      if (p_.SkipName("elif")) continue;
      if (p_.SkipName("else")) {
        EndBlock();
        statement->branches.emplace_back().body = ParseBody({"endif"});
        p_.Expect(TokenKind::kBlockBegin, "{% endif %}");
      }
      if (!p_.SkipName("endif")) p_.Fail("expected {% endif %}");
      EndBlock();
      break;
    }
    return statement;
  }

  StatementPtr ParseFor() {
    StatementPtr statement = Make(Kind::kFor);
    const bool bracket = p_.SkipOperator("(");
    do {
      statement->names.push_back(p_.ExpectName());
    } while (!p_.failed() && p_.SkipOperator(","));
    if (bracket) p_.ExpectOperator(")");
    if (!p_.SkipName("in")) p_.Fail("expected 'in'");
    statement->value = p_.ParseWithoutCondition();
    if (p_.SkipName("if")) statement->condition = p_.ParseExpression();
    if (p_.PeekName("recursive")) p_.Fail("recursive loops are not supported");
    EndBlock();
    ++loops_;
    statement->body = ParseBody({"else", "endfor"});
    --loops_;
    p_.Expect(TokenKind::kBlockBegin, "{% endfor %}");
    if (p_.SkipName("else")) {
      EndBlock();
      statement->otherwise = ParseBody({"endfor"});
      p_.Expect(TokenKind::kBlockBegin, "{% endfor %}");
    }
    if (!p_.SkipName("endfor")) p_.Fail("expected {% endfor %}");
    EndBlock();
    return statement;
  }

  StatementPtr ParseSet() {
    StatementPtr statement = Make(Kind::kSet);
    statement->names.push_back(p_.ExpectName());
    if (p_.SkipOperator(".")) {
      statement->object = std::move(statement->names[0]);
      statement->names[0] = p_.ExpectName();
    } else {
      while (!p_.failed() && p_.SkipOperator(",")) statement->names.push_back(p_.ExpectName());
    }
    if (p_.SkipOperator("=")) {
      statement->value = p_.ParseTuple();
      EndBlock();
      return statement;
    }
    statement->kind = Kind::kSetBlock;
    if (statement->names.size() > 1) p_.Fail("a set block has one name");
    if (p_.SkipOperator("|")) statement->filters = p_.ParseFilterChain();
    EndBlock();
    statement->body = ParseInner({"endset"});
    ExpectEnd("endset");
    return statement;
  }

  // name, name=default, …) up to the bracket.
  void ParseParameters(Statement& statement) {
    while (!p_.failed() && !p_.PeekOperator(")")) {
      statement.names.push_back(p_.ExpectName());
      if (p_.SkipOperator("=")) {
        statement.defaults.push_back(p_.ParseExpression());
      } else if (!statement.defaults.empty()) {
        p_.Fail("a parameter without a default after one with");
      }
      if (!p_.SkipOperator(",")) break;
    }
    p_.ExpectOperator(")");
  }

  StatementPtr ParseMacro() {
    StatementPtr statement = Make(Kind::kMacro);
    statement->name = p_.ExpectName();
    p_.ExpectOperator("(");
    ParseParameters(*statement);
    EndBlock();
    statement->body = ParseInner({"endmacro"});
    ExpectEnd("endmacro");
    return statement;
  }

  StatementPtr ParseCall() {
    StatementPtr statement = Make(Kind::kCall);
    if (p_.SkipOperator("(")) ParseParameters(*statement);
    statement->value = p_.ParseExpression();
    if (statement->value != nullptr && statement->value->kind != Expression::Kind::kCall) {
      p_.Fail("{% call %} needs a call");
    }
    EndBlock();
    statement->body = ParseInner({"endcall"});
    ExpectEnd("endcall");
    return statement;
  }

  StatementPtr ParseFilter() {
    StatementPtr statement = Make(Kind::kFilter);
    statement->filters = p_.ParseFilterChain();
    EndBlock();
    statement->body = ParseInner({"endfilter"});
    ExpectEnd("endfilter");
    return statement;
  }

  StatementPtr ParseGeneration() {
    StatementPtr statement = Make(Kind::kGroup);
    EndBlock();
    statement->body = ParseBody({"endgeneration"});
    ExpectEnd("endgeneration");
    return statement;
  }

  // A body whose output is caught: {% break %} cannot leave it.
  Body ParseInner(std::initializer_list<std::string_view> ends) {
    const int loops = std::exchange(loops_, 0);
    Body body = ParseBody(ends);
    loops_ = loops;
    return body;
  }

  ExpressionParser p_;
  int nesting_ = 0;
  int loops_ = 0;
};

}  // namespace

absl::StatusOr<Body> Parse(std::string_view source) {
  constexpr size_t kSourceBytesMax = 1 << 20;
  if (source.size() > kSourceBytesMax) {
    return absl::InvalidArgumentError("the template is larger than 1 MiB");
  }
  ASSIGN_OR_RETURN(std::vector<Token> tokens, Tokenize(source));
  return Parser(std::move(tokens)).Run();
}

}  // namespace llm::jinja

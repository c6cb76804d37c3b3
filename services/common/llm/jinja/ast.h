// A parsed template: expressions and statements as plain trees.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/llm/jinja/value.h"

namespace llm::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

struct Expression {
  enum class Kind {
    kLiteral,    // literal
    kName,       // name
    kList,       // operands
    kDict,       // operands: key, value, key, value …
    kAttribute,  // operands[0].name
    kIndex,      // operands[0][operands[1]]
    kSlice,      // operands[0][1:2:3]; absent parts are null
    kCall,       // operands[0](rest…)
    kFilter,     // operands[0] | name(rest…)
    kTest,       // operands[0] is name(rest…)
    kUnary,      // name operands[0], name "-", "+" or "not"
    kBinary,     // operands[0] name operands[1]; "and" and "or" too
    kCompare,    // operands[0] operators[0] operands[1] operators[1] operands[2] …
    kCondition,  // operands[0] if operands[1] else operands[2]; the last may be null
  };
  Kind kind = Kind::kLiteral;
  std::string name;
  Value literal;
  std::vector<ExpressionPtr> operands;
  std::vector<std::string> keywords;   // Names of the last so many arguments of a call.
  std::vector<std::string> operators;  // Of kCompare.
  int line = 1;
  int depth = 1;  // Of the tree below, which is limited.
};

struct Statement;
using Body = std::vector<std::unique_ptr<Statement>>;

struct Statement {
  enum class Kind {
    kData,      // literal
    kOutput,    // value
    kIf,        // branches; the last may have no condition
    kFor,       // names in value if condition: body, else otherwise
    kSet,       // names = value, or object.names[0] = value
    kSetBlock,  // names[0] = body, through filters
    kMacro,     // name(names = defaults): body
    kCall,      // value with caller(names) = body
    kFilter,    // body through filters
    kBreak,
    kContinue,
    kGroup,  // body: {% generation %}
  };
  struct Branch {
    ExpressionPtr condition;
    Body body;
  };
  Kind kind = Kind::kData;
  std::string name;
  std::vector<std::string> names;
  std::vector<ExpressionPtr> defaults;  // Of the last so many names.
  std::string object;                   // Of kSet: a namespace's name, or empty.
  Value literal;
  ExpressionPtr value;
  ExpressionPtr condition;
  ExpressionPtr filters;  // A chain of kFilter whose innermost operand is null.
  std::vector<Branch> branches;
  Body body;
  Body otherwise;
  int line = 1;
};

}  // namespace llm::jinja

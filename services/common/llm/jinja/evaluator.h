// Runs a parsed template.

#pragma once

#include <string>
#include <string_view>

#include "common/llm/jinja/ast.h"
#include "common/llm/jinja/runtime.h"

namespace llm::jinja {

// One rendering. `runtime` must outlive it.
class Evaluator {
 public:
  // `variables` are what the template sees at first.
  Evaluator(Runtime& runtime, const Dict& variables);

  // The output; look at runtime.status() afterwards.
  Text Run(const Body& body);

 private:
  enum class Flow { kNormal, kBreak, kContinue };

  // Statements.
  Flow Execute(const Body& body);
  Flow Execute(const Statement& statement);
  Flow ExecuteIf(const Statement& statement);
  Flow ExecuteFor(const Statement& statement);
  void ExecuteSet(const Statement& statement);
  void ExecuteCallBlock(const Statement& statement);
  void DefineMacro(const Statement& statement);
  Text Capture(const Body& body);
  void Write(const Text& text);
  bool Assign(const std::vector<std::string>& names, const Value& value);
  void UpdateLoop(Dict& loop, const std::vector<Value>& items, size_t index);

  // Expressions.
  Value Evaluate(const Expression& expression);
  Value EvaluateNode(const Expression& expression);
  Value EvaluateName(const std::string& name);
  Value EvaluateDict(const Expression& expression);
  Value EvaluateAttribute(const Expression& expression);
  Value EvaluateSlice(const Expression& expression);
  Value EvaluateUnary(const Expression& expression);
  Value EvaluateBinary(const Expression& expression);
  Value EvaluateCompare(const Expression& expression);
  Value EvaluateCall(const Expression& expression);
  Value ApplyFilters(const Expression& chain, const Value& input);
  Arguments EvaluateArguments(const Expression& expression);
  Value CallMacro(const Callable& macro, const Arguments& arguments, const Value* caller);
  Value Call(const Value& callee, std::string_view name, const Arguments& arguments,
             const Value* caller);

  Runtime& rt_;
  Scope* scope_;
  Text* out_ = nullptr;
  int depth_ = 0;  // Of expressions and statements together: what bounds the stack.
  int macro_depth_ = 0;
};

}  // namespace llm::jinja

// The part of the evaluator that deals with expressions.
#include <string>
#include <utility>

#include "absl/strings/str_format.h"

#include "common/llm/jinja/evaluator.h"
#include "common/llm/jinja/operations.h"

namespace llm::jinja {

using Kind = Expression::Kind;

Value Evaluator::Evaluate(const Expression& expression) {
  if (!rt_.Spend()) return {};
  // A sum of n terms is a tree of depth n, hence far more than anybody writes.
  constexpr int kDepthMax = 2000;
  if (depth_ >= kDepthMax) return rt_.Fail("the template is nested too deeply");
  ++depth_;
  Value value = EvaluateNode(expression);
  --depth_;
  return rt_.failed() ? Value() : value;
}

Value Evaluator::EvaluateNode(const Expression& e) {
  switch (e.kind) {
    case Kind::kLiteral:
      return e.literal;
    case Kind::kName:
      return EvaluateName(e.name);
    case Kind::kList: {
      std::vector<Value> items;
      for (const ExpressionPtr& operand : e.operands) items.push_back(Evaluate(*operand));
      return rt_.Make(std::move(items));
    }
    case Kind::kDict:
      return EvaluateDict(e);
    case Kind::kAttribute:
      return EvaluateAttribute(e);
    case Kind::kIndex: {
      const Value object = Evaluate(*e.operands[0]);
      const Value key = Evaluate(*e.operands[1]);
      return rt_.failed() ? Value() : GetItem(rt_, object, key);
    }
    case Kind::kSlice:
      return EvaluateSlice(e);
    case Kind::kCall:
      return EvaluateCall(e);
    case Kind::kFilter: {
      const Value input = Evaluate(*e.operands[0]);
      const Arguments arguments = EvaluateArguments(e);
      return rt_.failed() ? Value() : ApplyFilter(rt_, e.name, input, arguments);
    }
    case Kind::kTest: {
      const Value input = Evaluate(*e.operands[0]);
      const Arguments arguments = EvaluateArguments(e);
      return Value(!rt_.failed() && ApplyTest(rt_, e.name, input, arguments));
    }
    case Kind::kUnary:
      return EvaluateUnary(e);
    case Kind::kBinary:
      return EvaluateBinary(e);
    case Kind::kCompare:
      return EvaluateCompare(e);
    case Kind::kCondition: {
      if (Evaluate(*e.operands[1]).truthy()) return Evaluate(*e.operands[0]);
      return e.operands[2] == nullptr ? Value() : Evaluate(*e.operands[2]);
    }
  }
  return {};
}

Value Evaluator::EvaluateName(const std::string& name) {
  if (const Value* found = scope_->Find(name)) return *found;
  if (!IsBuiltin(name)) return {};
  Callable* builtin = rt_.heap().NewCallable();
  builtin->builtin = name;
  return Value(builtin);
}

Value Evaluator::EvaluateDict(const Expression& e) {
  Dict* dict = rt_.heap().NewDict();
  for (size_t i = 0; i + 1 < e.operands.size(); i += 2) {
    const Value key = Evaluate(*e.operands[i]);
    if (rt_.failed()) return {};
    if (!key.is_text()) return rt_.Fail("keys of a mapping must be strings");
    dict->Set(key.bytes(), Evaluate(*e.operands[i + 1]));
  }
  return Value(dict);
}

Value Evaluator::EvaluateAttribute(const Expression& e) {
  const Value object = Evaluate(*e.operands[0]);
  if (rt_.failed()) return {};
  if (object.is_undefined() && e.operands[0]->kind == Kind::kName) {
    return rt_.Fail(absl::StrFormat("\"%.60s\" is undefined", e.operands[0]->name));
  }
  return GetAttribute(rt_, object, e.name);
}

Value Evaluator::EvaluateSlice(const Expression& e) {
  Value parts[4];
  for (size_t i = 0; i < e.operands.size(); ++i) {
    if (e.operands[i] != nullptr) parts[i] = Evaluate(*e.operands[i]);
  }
  return rt_.failed() ? Value() : Slice(rt_, parts[0], parts[1], parts[2], parts[3]);
}

Value Evaluator::EvaluateUnary(const Expression& e) {
  const Value operand = Evaluate(*e.operands[0]);
  if (rt_.failed()) return {};
  if (e.name == "not") return Value(!operand.truthy());
  if (e.name == "+") return Calculate(rt_, "+", operand, Value(int64_t{0}));
  if (operand.is_float()) return Value(-operand.as_double());
  return Calculate(rt_, "-", Value(int64_t{0}), operand);
}

Value Evaluator::EvaluateBinary(const Expression& e) {
  const Value left = Evaluate(*e.operands[0]);
  if (rt_.failed()) return {};
  if (e.name == "and") return left.truthy() ? Evaluate(*e.operands[1]) : left;
  if (e.name == "or") return left.truthy() ? left : Evaluate(*e.operands[1]);
  const Value right = Evaluate(*e.operands[1]);
  return rt_.failed() ? Value() : Calculate(rt_, e.name, left, right);
}

Value Evaluator::EvaluateCompare(const Expression& e) {
  Value left = Evaluate(*e.operands[0]);
  for (size_t i = 0; i < e.operators.size(); ++i) {
    Value right = Evaluate(*e.operands[i + 1]);
    if (rt_.failed()) return {};
    const std::string& op = e.operators[i];
    bool holds = false;
    if (op == "==") {
      holds = Equal(rt_, left, right);
    } else if (op == "!=") {
      holds = !Equal(rt_, left, right);
    } else if (op == "<") {
      holds = Less(rt_, left, right);
    } else if (op == ">") {
      holds = Less(rt_, right, left);
    } else if (op == "<=") {
      holds = !Less(rt_, right, left);
    } else if (op == ">=") {
      holds = !Less(rt_, left, right);
    } else {
      holds = Contains(rt_, right, left) == (op == "in");
    }
    if (!holds || rt_.failed()) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Arguments Evaluator::EvaluateArguments(const Expression& e) {
  Arguments arguments;
  const size_t first_named = e.operands.size() - e.keywords.size();
  for (size_t i = 1; i < e.operands.size() && !rt_.failed(); ++i) {
    if (i < first_named) {
      arguments.positional.push_back(Evaluate(*e.operands[i]));
    } else {
      arguments.named.emplace_back(e.keywords[i - first_named], Evaluate(*e.operands[i]));
    }
  }
  return arguments;
}

Value Evaluator::EvaluateCall(const Expression& e) {
  const Expression& callee = *e.operands[0];
  if (callee.kind == Kind::kAttribute) {
    const Value object = Evaluate(*callee.operands[0]);
    if (rt_.failed()) return {};
    const Arguments arguments = EvaluateArguments(e);
    if (rt_.failed()) return {};
    if (HasMethod(object, callee.name)) return CallMethod(rt_, object, callee.name, arguments);
    const Value value = GetAttribute(rt_, object, callee.name);
    if (rt_.failed()) return {};
    if (!value.is_callable()) {
      return rt_.Fail(
          absl::StrFormat("%s has no method \"%.40s\"", object.type_name(), callee.name));
    }
    return Call(value, callee.name, arguments, nullptr);
  }
  const Value function = Evaluate(callee);
  const Arguments arguments = EvaluateArguments(e);
  return rt_.failed() ? Value() : Call(function, callee.name, arguments, nullptr);
}

Value Evaluator::ApplyFilters(const Expression& chain, const Value& input) {
  const Value inner =
      chain.operands[0] == nullptr ? input : ApplyFilters(*chain.operands[0], input);
  const Arguments arguments = EvaluateArguments(chain);
  return rt_.failed() ? Value() : ApplyFilter(rt_, chain.name, inner, arguments);
}

}  // namespace llm::jinja

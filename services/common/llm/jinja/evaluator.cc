#include "common/llm/jinja/evaluator.h"

#include <utility>

#include "absl/strings/str_format.h"

#include "common/llm/jinja/operations.h"

namespace llm::jinja {
namespace {

constexpr int kDepthMax = 2000;  // As in evaluate_expression.cc.

}  // namespace

Evaluator::Evaluator(Runtime& runtime, const Dict& variables)
    : rt_(runtime), scope_(runtime.heap().NewScope(nullptr)) {
  for (const auto& [name, value] : variables.entries) scope_->Set(name, value);
}

Text Evaluator::Run(const Body& body) { return Capture(body); }

Evaluator::Flow Evaluator::Execute(const Body& body) {
  for (const auto& statement : body) {
    const Flow flow = Execute(*statement);
    if (rt_.failed() || flow != Flow::kNormal) return flow;
  }
  return Flow::kNormal;
}

Evaluator::Flow Evaluator::Execute(const Statement& statement) {
  if (!rt_.Spend()) return Flow::kNormal;
  if (depth_ >= kDepthMax) {
    rt_.Fail("the template is nested too deeply");
    return Flow::kNormal;
  }
  ++depth_;
  Flow flow = Flow::kNormal;
  switch (statement.kind) {
    case Statement::Kind::kData:
      Write(statement.literal.text());
      break;
    case Statement::Kind::kOutput:
      Write(ToText(rt_, Evaluate(*statement.value)));
      break;
    case Statement::Kind::kIf:
      flow = ExecuteIf(statement);
      break;
    case Statement::Kind::kFor:
      flow = ExecuteFor(statement);
      break;
    case Statement::Kind::kSet:
    case Statement::Kind::kSetBlock:
      ExecuteSet(statement);
      break;
    case Statement::Kind::kMacro:
      DefineMacro(statement);
      break;
    case Statement::Kind::kCall:
      ExecuteCallBlock(statement);
      break;
    case Statement::Kind::kFilter: {
      const Value body = rt_.Make(Capture(statement.body));
      Write(ToText(rt_, ApplyFilters(*statement.filters, body)));
      break;
    }
    case Statement::Kind::kBreak:
      flow = Flow::kBreak;
      break;
    case Statement::Kind::kContinue:
      flow = Flow::kContinue;
      break;
    case Statement::Kind::kGroup:
      flow = Execute(statement.body);
      break;
  }
  --depth_;
  return flow;
}

Evaluator::Flow Evaluator::ExecuteIf(const Statement& statement) {
  for (const Statement::Branch& branch : statement.branches) {
    const bool holds = branch.condition == nullptr || Evaluate(*branch.condition).truthy();
    if (rt_.failed()) break;
    if (holds) return Execute(branch.body);
  }
  return Flow::kNormal;
}

Evaluator::Flow Evaluator::ExecuteFor(const Statement& statement) {
  std::vector<Value> items = Iterate(rt_, Evaluate(*statement.value));
  if (statement.condition != nullptr) {
    std::vector<Value> chosen;
    Scope* const outer = scope_;
    scope_ = rt_.heap().NewScope(outer);
    for (Value& item : items) {
      if (!Assign(statement.names, item)) break;
      if (Evaluate(*statement.condition).truthy()) chosen.push_back(std::move(item));
      if (rt_.failed()) break;
    }
    scope_ = outer;
    items = std::move(chosen);
  }
  if (rt_.failed()) return Flow::kNormal;
  if (items.empty()) return Execute(statement.otherwise);

  Scope* const outer = scope_;
  Dict* const loop = rt_.heap().NewDict();
  Flow flow = Flow::kNormal;
  scope_ = rt_.heap().NewScope(outer);
  for (size_t i = 0; i < items.size() && rt_.Spend(); ++i) {
    scope_->variables.clear();  // What a round sets is gone in the next one.
    UpdateLoop(*loop, items, i);
    scope_->Set("loop", Value(loop));
    if (!Assign(statement.names, items[i])) break;
    flow = Execute(statement.body);
    if (flow == Flow::kBreak) break;
  }
  scope_ = outer;
  return Flow::kNormal;
}

void Evaluator::UpdateLoop(Dict& loop, const std::vector<Value>& items, size_t index) {
  const auto count = static_cast<int64_t>(items.size());
  const auto at = static_cast<int64_t>(index);
  loop.Set("index", Value(at + 1));
  loop.Set("index0", Value(at));
  loop.Set("revindex", Value(count - at));
  loop.Set("revindex0", Value(count - at - 1));
  loop.Set("first", Value(at == 0));
  loop.Set("last", Value(at + 1 == count));
  loop.Set("length", Value(count));
  loop.Set("previtem", index > 0 ? items[index - 1] : Value());
  loop.Set("nextitem", index + 1 < items.size() ? items[index + 1] : Value());
}

bool Evaluator::Assign(const std::vector<std::string>& names, const Value& value) {
  if (names.size() == 1) {
    scope_->Set(names[0], value);
    return true;
  }
  const std::vector<Value> parts = Iterate(rt_, value);
  if (parts.size() != names.size()) {
    rt_.Fail(absl::StrFormat("%d values for %d names", parts.size(), names.size()));
    return false;
  }
  for (size_t i = 0; i < names.size(); ++i) scope_->Set(names[i], parts[i]);
  return true;
}

void Evaluator::ExecuteSet(const Statement& statement) {
  Value value;
  if (statement.kind == Statement::Kind::kSetBlock) {
    value = rt_.Make(Capture(statement.body));
    if (statement.filters != nullptr) value = ApplyFilters(*statement.filters, value);
  } else {
    value = Evaluate(*statement.value);
  }
  if (rt_.failed()) return;
  if (statement.object.empty()) {
    Assign(statement.names, value);
    return;
  }
  const Value object = EvaluateName(statement.object);
  if (!object.is_dict() || !object.dict().is_namespace) {
    rt_.Fail(
        absl::StrFormat("cannot set an attribute of \"%s\": it is no namespace", statement.object));
    return;
  }
  object.dict().Set(statement.names[0], value);
}

void Evaluator::DefineMacro(const Statement& statement) {
  Callable* macro = rt_.heap().NewCallable();
  macro->macro = &statement;
  macro->scope = scope_;
  if (statement.kind == Statement::Kind::kMacro) scope_->Set(statement.name, Value(macro));
}

void Evaluator::ExecuteCallBlock(const Statement& statement) {
  Callable* caller = rt_.heap().NewCallable();
  caller->macro = &statement;
  caller->scope = scope_;
  const Value caller_value(caller);
  const Expression& call = *statement.value;
  const Arguments arguments = EvaluateArguments(call);
  const Value callee = Evaluate(*call.operands[0]);
  if (rt_.failed()) return;
  Write(ToText(rt_, Call(callee, call.operands[0]->name, arguments, &caller_value)));
}

Text Evaluator::Capture(const Body& body) {
  Text captured;
  Text* const outer = std::exchange(out_, &captured);
  Execute(body);
  out_ = outer;
  return captured;
}

void Evaluator::Write(const Text& text) {
  if (rt_.failed()) return;
  out_->Append(text);
  rt_.Spend(static_cast<int64_t>(text.size() / 256));
  if (out_->size() > rt_.limits().output_bytes_max) rt_.Fail("the template's output is too long");
}

Value Evaluator::Call(const Value& callee, std::string_view name, const Arguments& arguments,
                      const Value* caller) {
  if (callee.is_callable()) {
    const Callable& callable = callee.callable();
    if (callable.macro != nullptr) return CallMacro(callable, arguments, caller);
    return CallBuiltin(rt_, callable.builtin, arguments);
  }
  return rt_.Fail(absl::StrFormat("\"%.40s\" is %s, not a function", name, callee.type_name()));
}

Value Evaluator::CallMacro(const Callable& macro, const Arguments& arguments, const Value* caller) {
  const Statement& definition = *macro.macro;
  if (macro_depth_ >= rt_.limits().recursion_max) {
    return rt_.Fail("macros call each other too deeply");
  }
  if (arguments.positional.size() > definition.names.size()) {
    return rt_.Fail(absl::StrFormat("macro \"%s\" takes %d arguments", definition.name,
                                    definition.names.size()));
  }
  ++macro_depth_;
  Scope* const outer = scope_;
  Scope* const inner = rt_.heap().NewScope(macro.scope);
  scope_ = inner;
  const size_t required = definition.names.size() - definition.defaults.size();
  for (size_t i = 0; i < definition.names.size() && !rt_.failed(); ++i) {
    const std::string& name = definition.names[i];
    const Value* given = arguments.Find(i, name);
    if (given != nullptr) {
      inner->Set(name, *given);
    } else {
      inner->Set(name, i >= required ? Evaluate(*definition.defaults[i - required]) : Value());
    }
  }
  if (caller != nullptr) inner->Set("caller", *caller);
  Value result = rt_.Make(Capture(definition.body));
  scope_ = outer;
  --macro_depth_;
  return result;
}

}  // namespace llm::jinja

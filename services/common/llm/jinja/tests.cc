// The tests: value is name(arguments).
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_format.h"

#include "common/llm/jinja/operations.h"

namespace llm::jinja {
namespace {

using Test = bool (*)(Runtime&, const Value&, const Value&);

bool IsEven(Runtime& rt, const Value& in) {
  if (in.is_int()) return in.as_int() % 2 == 0;
  rt.Fail("even and odd need an integer");
  return false;
}

bool IsDivisible(Runtime& rt, const Value& in, const Value& by) {
  if (in.is_int() && by.is_int() && by.as_int() != 0 && by.as_int() != -1) {
    return in.as_int() % by.as_int() == 0;
  }
  if (in.is_int() && by.is_int() && by.as_int() == -1) return true;
  rt.Fail("divisibleby needs integers");
  return false;
}

bool IsSame(const Value& a, const Value& b) {
  if (a.type_name() != b.type_name()) return false;
  if (a.is_list()) return &a.list() == &b.list();
  if (a.is_dict()) return &a.dict() == &b.dict();
  if (a.is_text()) return a.bytes() == b.bytes();
  if (a.is_float()) return a.as_double() == b.as_double();
  return !a.is_number() || a.as_int() == b.as_int();
}

bool HasCase(const Value& in, LetterCase letter_case) {
  return in.is_text() && WithCase(in.text(), letter_case).bytes() == in.bytes();
}

using Table = absl::flat_hash_map<std::string_view, Test>;

// Tests of one value.
const Table& UnaryTests() {
  static const auto* const kTests = new Table{
      {"defined", [](Runtime&, const Value& v, const Value&) { return !v.is_undefined(); }},
      {"undefined", [](Runtime&, const Value& v, const Value&) { return v.is_undefined(); }},
      {"none", [](Runtime&, const Value& v, const Value&) { return v.is_none(); }},
      {"string", [](Runtime&, const Value& v, const Value&) { return v.is_text(); }},
      {"mapping", [](Runtime&, const Value& v, const Value&) { return v.is_dict(); }},
      {"iterable",
       [](Runtime&, const Value& v, const Value&) {
         return v.is_text() || v.is_list() || v.is_dict() || v.is_undefined();
       }},
      {"sequence",
       [](Runtime&, const Value& v, const Value&) {
         return v.is_text() || v.is_list() || v.is_dict() || v.is_undefined();
       }},
      {"number", [](Runtime&, const Value& v, const Value&) { return v.is_number(); }},
      {"integer", [](Runtime&, const Value& v, const Value&) { return v.is_int(); }},
      {"float", [](Runtime&, const Value& v, const Value&) { return v.is_float(); }},
      {"boolean", [](Runtime&, const Value& v, const Value&) { return v.is_bool(); }},
      {"true", [](Runtime&, const Value& v, const Value&) { return v.is_bool() && v.as_bool(); }},
      {"false", [](Runtime&, const Value& v, const Value&) { return v.is_bool() && !v.as_bool(); }},
      {"callable", [](Runtime&, const Value& v, const Value&) { return v.is_callable(); }},
      {"odd",
       [](Runtime& rt, const Value& v, const Value&) { return !IsEven(rt, v) && !rt.failed(); }},
      {"even", [](Runtime& rt, const Value& v, const Value&) { return IsEven(rt, v); }},
      {"upper",
       [](Runtime&, const Value& v, const Value&) { return HasCase(v, LetterCase::kUpper); }},
      {"lower",
       [](Runtime&, const Value& v, const Value&) { return HasCase(v, LetterCase::kLower); }},
  };
  return *kTests;
}

bool IsEqual(Runtime& rt, const Value& a, const Value& b) { return Equal(rt, a, b); }
bool IsUnequal(Runtime& rt, const Value& a, const Value& b) { return !Equal(rt, a, b); }
bool IsLess(Runtime& rt, const Value& a, const Value& b) { return Less(rt, a, b); }
bool IsGreater(Runtime& rt, const Value& a, const Value& b) { return Less(rt, b, a); }
bool IsAtMost(Runtime& rt, const Value& a, const Value& b) { return !Less(rt, b, a); }
bool IsAtLeast(Runtime& rt, const Value& a, const Value& b) { return !Less(rt, a, b); }
bool IsIn(Runtime& rt, const Value& a, const Value& b) { return Contains(rt, b, a); }

// Tests of a value against another.
const Table& BinaryTests() {
  static const auto* const kTests = new Table{
      {"eq", IsEqual},
      {"equalto", IsEqual},
      {"==", IsEqual},
      {"ne", IsUnequal},
      {"!=", IsUnequal},
      {"lt", IsLess},
      {"<", IsLess},
      {"lessthan", IsLess},
      {"gt", IsGreater},
      {">", IsGreater},
      {"greaterthan", IsGreater},
      {"le", IsAtMost},
      {"<=", IsAtMost},
      {"ge", IsAtLeast},
      {">=", IsAtLeast},
      {"in", IsIn},
      {"divisibleby", IsDivisible},
      {"sameas", [](Runtime&, const Value& a, const Value& b) { return IsSame(a, b); }},
  };
  return *kTests;
}

}  // namespace

bool ApplyTest(Runtime& runtime, std::string_view name, const Value& input,
               const Arguments& arguments) {
  if (!runtime.Spend()) return false;
  if (const auto found = UnaryTests().find(name); found != UnaryTests().end()) {
    return found->second(runtime, input, Value());
  }
  const auto found = BinaryTests().find(name);
  if (found == BinaryTests().end()) {
    runtime.Fail(absl::StrFormat("unknown test \"%.40s\"", name));
    return false;
  }
  const Value* other = arguments.Find(0, "other");
  if (other == nullptr) {
    runtime.Fail(absl::StrFormat("test \"%s\" needs a value", name));
    return false;
  }
  return found->second(runtime, input, *other);
}

}  // namespace llm::jinja

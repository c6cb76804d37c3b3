#include "common/llm/jinja/operations.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"

namespace llm::jinja {
namespace {

bool DeepEnough(Runtime& runtime, int depth) {
  if (depth <= runtime.limits().recursion_max) return false;
  runtime.Fail("values are nested too deeply");
  return true;
}

bool EqualDicts(Runtime& runtime, const Dict& a, const Dict& b, int depth) {
  if (a.entries.size() != b.entries.size()) return false;
  for (const auto& [key, value] : a.entries) {
    const Value* other = b.Find(key);
    if (other == nullptr || !Equal(runtime, value, *other, depth + 1)) return false;
  }
  return true;
}

Value WrongTypes(Runtime& runtime, std::string_view op, const Value& a, const Value& b) {
  return runtime.Fail(
      absl::StrFormat("operator %s does not apply to %s and %s", op, a.type_name(), b.type_name()));
}

Value CalculateInts(Runtime& runtime, std::string_view op, int64_t a, int64_t b) {
  int64_t result = 0;
  bool overflow = false;
  if (op == "+") {
    overflow = __builtin_add_overflow(a, b, &result);
  } else if (op == "-") {
    overflow = __builtin_sub_overflow(a, b, &result);
  } else if (op == "*") {
    overflow = __builtin_mul_overflow(a, b, &result);
  } else if (op == "**") {
    if (b < 0) return Value(std::pow(static_cast<double>(a), static_cast<double>(b)));
    result = 1;
    for (int64_t rest = b; rest > 0 && !overflow; rest >>= 1) {
      if (rest & 1) overflow = __builtin_mul_overflow(result, a, &result);
      if (rest > 1) overflow |= __builtin_mul_overflow(a, a, &a);
    }
  } else {
    if (b == 0) return runtime.Fail("division by zero");
    if (op == "/") return Value(static_cast<double>(a) / static_cast<double>(b));
    if (b == -1) {
      overflow = __builtin_sub_overflow(int64_t{0}, a, &result);
      if (op == "%") result = 0;
    } else {
      // Python rounds down; the remainder has the divisor's sign.
      const int64_t remainder = a % b;
      const bool adjust = remainder != 0 && (remainder < 0) != (b < 0);
      result = op == "//" ? a / b - (adjust ? 1 : 0) : remainder + (adjust ? b : 0);
    }
  }
  if (overflow) return runtime.Fail("an integer is out of range");
  return Value(result);
}

Value CalculateFloats(Runtime& runtime, std::string_view op, double a, double b) {
  if (op == "+") return Value(a + b);
  if (op == "-") return Value(a - b);
  if (op == "*") return Value(a * b);
  if (op == "**") return Value(std::pow(a, b));
  if (b == 0) return runtime.Fail("division by zero");
  if (op == "/") return Value(a / b);
  const double quotient = std::floor(a / b);
  return Value(op == "//" ? quotient : a - quotient * b);
}

Value RepeatText(Runtime& runtime, const Text& text, int64_t times) {
  Text out;
  if (times <= 0 || text.empty()) return runtime.Make(std::move(out));
  if (times > static_cast<int64_t>(runtime.limits().output_bytes_max / text.size())) {
    return runtime.Fail("a repeated string is too long");
  }
  for (int64_t i = 0; i < times; ++i) out.Append(text);
  return runtime.Make(std::move(out));
}

// [from, to) of a slice with step, clipped as Python does.
std::vector<size_t> SliceIndexes(int64_t size, const Value& start, const Value& stop,
                                 int64_t step) {
  const auto clip = [&](const Value& bound, int64_t otherwise) {
    if (!bound.is_int()) return otherwise;
    int64_t at = bound.as_int();
    if (at < 0) at = at < -size ? -1 : at + size;
    return step > 0 ? std::clamp<int64_t>(at, 0, size) : std::clamp<int64_t>(at, -1, size - 1);
  };
  const int64_t from = clip(start, step > 0 ? 0 : size - 1);
  const int64_t to = clip(stop, step > 0 ? size : -1);
  std::vector<size_t> indexes;
  for (int64_t i = from; step > 0 ? i < to : i > to; i += step) {
    indexes.push_back(static_cast<size_t>(i));
  }
  return indexes;
}

}  // namespace

bool Equal(Runtime& runtime, const Value& a, const Value& b, int depth) {
  if (!runtime.Spend() || DeepEnough(runtime, depth)) return false;
  if (a.is_number() && b.is_number()) {
    return a.is_float() || b.is_float() ? a.as_double() == b.as_double() : a.as_int() == b.as_int();
  }
  if (a.is_text() && b.is_text()) return a.bytes() == b.bytes();
  if (a.is_list() && b.is_list()) {
    const std::vector<Value>& left = a.list().items;
    const std::vector<Value>& right = b.list().items;
    if (left.size() != right.size()) return false;
    for (size_t i = 0; i < left.size(); ++i) {
      if (!Equal(runtime, left[i], right[i], depth + 1)) return false;
    }
    return true;
  }
  if (a.is_dict() && b.is_dict()) {
    return &a.dict() == &b.dict() || EqualDicts(runtime, a.dict(), b.dict(), depth);
  }
  if (a.is_callable() && b.is_callable()) return &a.callable() == &b.callable();
  return (a.is_none() && b.is_none()) || (a.is_undefined() && b.is_undefined());
}

bool Less(Runtime& runtime, const Value& a, const Value& b) {
  if (a.is_text() && b.is_text()) return a.bytes() < b.bytes();
  if (!a.is_number() || !b.is_number()) {
    WrongTypes(runtime, "<", a, b);
    return false;
  }
  if (a.is_float() || b.is_float()) return a.as_double() < b.as_double();
  return a.as_int() < b.as_int();
}

bool Contains(Runtime& runtime, const Value& container, const Value& item) {
  if (container.is_undefined()) return false;
  if (container.is_text() && item.is_text()) {
    runtime.Spend(static_cast<int64_t>(container.text().size() / 256));
    return container.bytes().find(item.bytes()) != std::string::npos;
  }
  if (container.is_dict()) {
    return item.is_text() && container.dict().Find(item.bytes()) != nullptr;
  }
  if (container.is_list()) {
    for (const Value& candidate : container.list().items) {
      if (Equal(runtime, candidate, item)) return true;
    }
    return false;
  }
  WrongTypes(runtime, "in", item, container);
  return false;
}

Value Calculate(Runtime& runtime, std::string_view op, const Value& a, const Value& b) {
  if (op == "~") {
    Text joined = ToText(runtime, a);
    joined.Append(ToText(runtime, b));
    return runtime.Make(std::move(joined));
  }
  if (a.is_number() && b.is_number()) {
    return a.is_float() || b.is_float() ? CalculateFloats(runtime, op, a.as_double(), b.as_double())
                                        : CalculateInts(runtime, op, a.as_int(), b.as_int());
  }
  if (op == "+" && a.is_text() && b.is_text()) {
    Text joined = a.text();
    joined.Append(b.text());
    return runtime.Make(std::move(joined));
  }
  if (op == "+" && a.is_list() && b.is_list()) {
    std::vector<Value> items = a.list().items;
    items.insert(items.end(), b.list().items.begin(), b.list().items.end());
    return runtime.Make(std::move(items));
  }
  if (op == "*" && a.is_text() && b.is_int()) return RepeatText(runtime, a.text(), b.as_int());
  return WrongTypes(runtime, op, a, b);
}

std::vector<Value> Iterate(Runtime& runtime, const Value& value) {
  if (value.is_undefined()) return {};
  if (value.is_list()) return value.list().items;
  std::vector<Value> items;
  if (value.is_dict()) {
    for (const auto& [key, ignored] : value.dict().entries) {
      items.push_back(runtime.Make(Text(key, false)));
    }
  } else if (value.is_text()) {
    const std::vector<size_t> offsets = CharacterOffsets(value.bytes());
    for (size_t i = 0; i + 1 < offsets.size() && !runtime.failed(); ++i) {
      items.push_back(runtime.Make(value.text().Cut(offsets[i], offsets[i + 1] - offsets[i])));
    }
  } else {
    runtime.Fail(absl::StrFormat("%s cannot be iterated", value.type_name()));
  }
  return items;
}

Value GetAttribute(Runtime& runtime, const Value& object, std::string_view name) {
  if (object.is_undefined()) {
    return runtime.Fail(absl::StrFormat("undefined has no attribute \"%s\"", name));
  }
  if (!object.is_dict()) return {};
  const Value* found = object.dict().Find(name);
  return found == nullptr ? Value() : *found;
}

Value GetItem(Runtime& runtime, const Value& object, const Value& key) {
  if (object.is_undefined()) return runtime.Fail("undefined has no items");
  if (object.is_dict()) {
    if (!key.is_text()) return {};
    const Value* found = object.dict().Find(key.bytes());
    return found == nullptr ? Value() : *found;
  }
  if (!key.is_number() || key.is_float()) return {};
  int64_t at = key.as_int();
  if (object.is_list()) {
    const auto size = static_cast<int64_t>(object.list().items.size());
    if (at < 0) at += size;
    return at < 0 || at >= size ? Value() : object.list().items[at];
  }
  if (object.is_text()) {
    const std::vector<size_t> offsets = CharacterOffsets(object.bytes());
    runtime.Spend(static_cast<int64_t>(offsets.size() / 64));
    const auto size = static_cast<int64_t>(offsets.size()) - 1;
    if (at < 0) at += size;
    if (at < 0 || at >= size) return {};
    return runtime.Make(object.text().Cut(offsets[at], offsets[at + 1] - offsets[at]));
  }
  return {};
}

Value Slice(Runtime& runtime, const Value& object, const Value& start, const Value& stop,
            const Value& step_value) {
  const int64_t step = step_value.is_int() ? step_value.as_int() : 1;
  // No list is longer than this, so a larger step only differs by overflowing.
  if (step == 0 || step > (1 << 30) || step < -(1 << 30)) {
    return runtime.Fail("a slice has a wrong step");
  }
  if (object.is_list()) {
    std::vector<Value> items;
    const std::vector<Value>& all = object.list().items;
    for (const size_t i : SliceIndexes(static_cast<int64_t>(all.size()), start, stop, step)) {
      items.push_back(all[i]);
    }
    return runtime.Make(std::move(items));
  }
  if (!object.is_text()) {
    return runtime.Fail(absl::StrFormat("%s cannot be sliced", object.type_name()));
  }
  const std::vector<size_t> offsets = CharacterOffsets(object.bytes());
  runtime.Spend(static_cast<int64_t>(offsets.size() / 64));
  const auto size = static_cast<int64_t>(offsets.size()) - 1;
  const std::vector<size_t> indexes = SliceIndexes(size, start, stop, step);
  Text out;
  if (step == 1) {
    if (!indexes.empty()) {
      out = object.text().Cut(offsets[indexes.front()],
                              offsets[indexes.back() + 1] - offsets[indexes.front()]);
    }
  } else {
    for (const size_t i : indexes) {
      out.Append(object.text().Cut(offsets[i], offsets[i + 1] - offsets[i]));
    }
  }
  return runtime.Make(std::move(out));
}

}  // namespace llm::jinja

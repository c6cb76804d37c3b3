#include "local-cluster/apiserver/cel/functions.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"

#include "common/base/status_macros.h"
#include "local-cluster/apiserver/cel/node.h"
#include "local-cluster/apiserver/cel/regex.h"

namespace local_cluster::cel {
namespace {

using Arguments = std::vector<Value>;
constexpr size_t kTextMax = 4 << 20;

absl::Status NoOverload(std::string_view name) {
  return absl::InvalidArgumentError(absl::StrFormat("no such overload: %s", name));
}

Value ListValue(List list) { return {std::make_shared<const List>(std::move(list))}; }

size_t CodePoints(std::string_view text) {
  return static_cast<size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

absl::StatusOr<Value> Arithmetic(std::string_view name, const Value& a, const Value& b) {
  const char op = name[1];
  if (a.if_int() != nullptr && b.if_int() != nullptr) {
    const int64_t x = *a.if_int();
    const int64_t y = *b.if_int();
    int64_t result = 0;
    bool overflow = false;
    if (op == '+') overflow = __builtin_add_overflow(x, y, &result);
    if (op == '-') overflow = __builtin_sub_overflow(x, y, &result);
    if (op == '*') overflow = __builtin_mul_overflow(x, y, &result);
    if (op == '/' || op == '%') {
      if (y == 0) return absl::InvalidArgumentError("division by zero");
      overflow = x == INT64_MIN && y == -1;
      if (!overflow) result = op == '/' ? x / y : x % y;
    }
    if (overflow) return absl::InvalidArgumentError("integer overflow");
    return Value{result};
  }
  if (a.is_number() && b.is_number() && op != '%') {
    const double x = a.number();
    const double y = b.number();
    return Value{op == '+' ? x + y : op == '-' ? x - y : op == '*' ? x * y : x / y};
  }
  if (op == '+' && a.if_string() != nullptr && b.if_string() != nullptr) {
    if (a.if_string()->size() + b.if_string()->size() > kTextMax) {
      return absl::ResourceExhaustedError("text is too long");
    }
    return Value{*a.if_string() + *b.if_string()};
  }
  if (op == '+' && a.is_list() && b.is_list()) {
    List list;
    for (size_t i = 0; i < SizeOf(a); ++i) list.push_back(ElementAt(a, i));
    for (size_t i = 0; i < SizeOf(b); ++i) list.push_back(ElementAt(b, i));
    return ListValue(std::move(list));
  }
  return NoOverload(name);
}

absl::StatusOr<Value> Relation(std::string_view name, const Value& a, const Value& b) {
  const std::string_view op = name.substr(1, name.size() - 2);
  if (op == "==") return Value{Equal(a, b)};
  if (op == "!=") return Value{!Equal(a, b)};
  if (op == "in") {
    if (b.is_map()) {
      bool found = false;
      MemberOf(b, a, found);
      return Value{found};
    }
    if (!b.is_list()) return NoOverload(name);
    for (size_t i = 0; i < SizeOf(b); ++i) {
      if (Equal(a, ElementAt(b, i))) return Value{true};
    }
    return Value{false};
  }
  ASSIGN_OR_RETURN(const int order, Compare(a, b));
  if (op == "<") return Value{order < 0};
  if (op == "<=") return Value{order <= 0};
  if (op == ">") return Value{order > 0};
  return Value{order >= 0};
}

absl::StatusOr<Value> Convert(std::string_view name, const Value& value) {
  const std::string* text = value.if_string();
  if (name == "string") {
    if (text != nullptr) return value;
    if (value.if_int() != nullptr) return Value{std::to_string(*value.if_int())};
    if (value.if_double() != nullptr) return Value{absl::StrFormat("%g", *value.if_double())};
    if (value.if_bool() != nullptr) return Value{std::string(*value.if_bool() ? "true" : "false")};
    return NoOverload(name);
  }
  if (name == "int") {
    if (value.if_int() != nullptr) return value;
    if (value.if_double() != nullptr && std::abs(*value.if_double()) < 9.2e18) {
      return Value{static_cast<int64_t>(*value.if_double())};
    }
    int64_t number = 0;
    if (text == nullptr) return NoOverload(name);
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
    if (error != std::errc() || end != text->data() + text->size()) {
      return absl::InvalidArgumentError(
          absl::StrFormat("type conversion error from '%s' to 'int'", *text));
    }
    return Value{number};
  }
  if (value.is_number()) return Value{value.number()};
  double number = 0;
  if (text == nullptr) return NoOverload(name);
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
  if (error != std::errc() || end != text->data() + text->size()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("type conversion error from '%s' to 'double'", *text));
  }
  return Value{number};
}

absl::StatusOr<Value> Split(const std::string& text, const std::string& separator) {
  List parts;
  if (separator.empty()) {
    for (const char c : text) parts.push_back({std::string(1, c)});
    return ListValue(std::move(parts));
  }
  size_t at = 0;
  while (true) {
    const size_t end = text.find(separator, at);
    parts.push_back({text.substr(at, end == std::string::npos ? end : end - at)});
    if (end == std::string::npos) return ListValue(std::move(parts));
    at = end + separator.size();
  }
}

absl::StatusOr<Value> Replace(const std::string& text, const std::string& from,
                              const std::string& to) {
  if (from.empty()) return Value{text};
  std::string result;
  size_t at = 0;
  while (true) {
    const size_t found = text.find(from, at);
    result.append(text, at, found == std::string::npos ? found : found - at);
    if (found == std::string::npos) return Value{std::move(result)};
    result += to;
    if (result.size() > kTextMax) return absl::ResourceExhaustedError("text is too long");
    at = found + from.size();
  }
}

std::string Trim(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

std::string AsciiCase(std::string text, bool upper) {
  for (char& c : text) {
    if (upper && c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    if (!upper && c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

absl::StatusOr<Value> OfText(std::string_view name, const Arguments& arguments) {
  const std::string* text = arguments[0].if_string();
  const std::string* other = arguments.size() > 1 ? arguments[1].if_string() : nullptr;
  if (text == nullptr) return NoOverload(name);
  if (name == "trim") return Value{Trim(*text)};
  if (name == "lowerAscii" || name == "upperAscii") {
    return Value{AsciiCase(*text, name == "upperAscii")};
  }
  if (name == "substring") {
    const int64_t* from = arguments[1].if_int();
    const int64_t* to = arguments.size() > 2 ? arguments[2].if_int() : nullptr;
    const auto size = static_cast<int64_t>(text->size());
    const int64_t end = to != nullptr ? *to : size;
    if (from == nullptr || *from < 0 || end > size || *from > end) {
      return absl::InvalidArgumentError("index out of range");
    }
    return Value{text->substr(static_cast<size_t>(*from), static_cast<size_t>(end - *from))};
  }
  if (other == nullptr) return NoOverload(name);
  if (name == "startsWith") return Value{text->starts_with(*other)};
  if (name == "endsWith") return Value{text->ends_with(*other)};
  if (name == "contains") return Value{text->find(*other) != std::string::npos};
  if (name == "split") return Split(*text, *other);
  if (name == "indexOf" || name == "lastIndexOf") {
    const size_t found = name == "indexOf" ? text->find(*other) : text->rfind(*other);
    return Value{found == std::string::npos ? int64_t{-1} : static_cast<int64_t>(found)};
  }
  if (name == "replace") {
    const std::string* to = arguments[2].if_string();
    return to == nullptr ? NoOverload(name) : Replace(*text, *other, *to);
  }
  ASSIGN_OR_RETURN(const auto regex, Regex::Compile(*other));
  const std::optional<std::string> found = regex->Find(*text);
  if (name == "matches") return Value{found.has_value()};
  return Value{found.value_or("")};
}

absl::StatusOr<Value> OfList(std::string_view name, const Arguments& arguments) {
  const Value& list = arguments[0];
  if (!list.is_list()) return NoOverload(name);
  const size_t size = SizeOf(list);
  if (name == "join") {
    std::string all;
    const std::string* separator = arguments.size() > 1 ? arguments[1].if_string() : nullptr;
    for (size_t i = 0; i < size; ++i) {
      const Value element = ElementAt(list, i);
      if (element.if_string() == nullptr) return NoOverload(name);
      if (i > 0 && separator != nullptr) all += *separator;
      all += *element.if_string();
    }
    return Value{std::move(all)};
  }
  if (name == "isSorted") {
    for (size_t i = 1; i < size; ++i) {
      ASSIGN_OR_RETURN(const int order, Compare(ElementAt(list, i - 1), ElementAt(list, i)));
      if (order > 0) return Value{false};
    }
    return Value{true};
  }
  if (name == "indexOf" || name == "lastIndexOf") {
    int64_t found = -1;
    for (size_t i = 0; i < size; ++i) {
      if (!Equal(ElementAt(list, i), arguments[1])) continue;
      found = static_cast<int64_t>(i);
      if (name == "indexOf") break;
    }
    return Value{found};
  }
  if (name == "sum") {
    Value total{int64_t{0}};
    for (size_t i = 0; i < size; ++i) {
      ASSIGN_OR_RETURN(total, Arithmetic("_+_", total, ElementAt(list, i)));
    }
    return total;
  }
  if (size == 0)
    return absl::InvalidArgumentError(absl::StrFormat("%s called on empty list", name));
  Value best = ElementAt(list, 0);
  for (size_t i = 1; i < size; ++i) {
    ASSIGN_OR_RETURN(const int order, Compare(ElementAt(list, i), best));
    if (name == "min" ? order < 0 : order > 0) best = ElementAt(list, i);
  }
  return best;
}

struct Signature {
  std::string_view name;
  size_t arguments_min, arguments_max;  // With the receiver.
  bool method, global;
};

constexpr Signature kFunctions[] = {
    {"size", 1, 1, true, true},        {"int", 1, 1, false, true},
    {"double", 1, 1, false, true},     {"string", 1, 1, false, true},
    {"startsWith", 2, 2, true, false}, {"endsWith", 2, 2, true, false},
    {"contains", 2, 2, true, false},   {"matches", 2, 2, true, true},
    {"find", 2, 2, true, false},       {"split", 2, 2, true, false},
    {"trim", 1, 1, true, false},       {"lowerAscii", 1, 1, true, false},
    {"upperAscii", 1, 1, true, false}, {"substring", 2, 3, true, false},
    {"indexOf", 2, 2, true, false},    {"lastIndexOf", 2, 2, true, false},
    {"replace", 3, 3, true, false},    {"join", 1, 2, true, false},
    {"isSorted", 1, 1, true, false},   {"sum", 1, 1, true, false},
    {"min", 1, 1, true, false},        {"max", 1, 1, true, false},
};

}  // namespace

bool IsFunction(std::string_view name, size_t arguments, bool method) {
  return std::ranges::any_of(kFunctions, [&](const Signature& one) {
    return one.name == name && (method ? one.method : one.global) &&
           arguments >= one.arguments_min && arguments <= one.arguments_max;
  });
}

absl::StatusOr<Value> CallFunction(std::string_view name, const Arguments& arguments) {
  if (name == "!_") {
    if (arguments[0].if_bool() == nullptr) return NoOverload(name);
    return Value{!*arguments[0].if_bool()};
  }
  if (name == "-_") {
    if (arguments[0].if_double() != nullptr) return Value{-*arguments[0].if_double()};
    return Arithmetic("_-_", Value{int64_t{0}}, arguments[0]);
  }
  if (name == "_+_" || name == "_-_" || name == "_*_" || name == "_/_" || name == "_%_") {
    return Arithmetic(name, arguments[0], arguments[1]);
  }
  if (name.starts_with('_')) return Relation(name, arguments[0], arguments[1]);
  if (name == "size") {
    const Value& value = arguments[0];
    if (value.if_string() != nullptr) {
      return Value{static_cast<int64_t>(CodePoints(*value.if_string()))};
    }
    if (!value.is_list() && !value.is_map()) return NoOverload(name);
    return Value{static_cast<int64_t>(SizeOf(value))};
  }
  if (name == "int" || name == "double" || name == "string") return Convert(name, arguments[0]);
  const bool of_list = name == "join" || name == "isSorted" || name == "sum" || name == "min" ||
                       name == "max" || arguments[0].is_list();
  return of_list ? OfList(name, arguments) : OfText(name, arguments);
}

}  // namespace local_cluster::cel

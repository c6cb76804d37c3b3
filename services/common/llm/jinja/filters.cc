// The filters: value | name(arguments).
#include <algorithm>
#include <charconv>
#include <cmath>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_format.h"

#include "common/llm/jinja/operations.h"

namespace llm::jinja {

const Value* Arguments::Find(size_t position, std::string_view name) const {
  if (position < positional.size()) return &positional[position];
  for (const auto& [known, value] : named) {
    if (known == name) return &value;
  }
  return nullptr;
}

bool Arguments::FindBool(size_t position, std::string_view name, bool otherwise) const {
  const Value* value = Find(position, name);
  return value == nullptr ? otherwise : value->truthy();
}

int64_t Arguments::FindInt(size_t position, std::string_view name, int64_t otherwise) const {
  const Value* value = Find(position, name);
  return value == nullptr || !value->is_int() ? otherwise : value->as_int();
}

namespace {

using Filter = Value (*)(Runtime&, const Value&, const Arguments&);

std::string FindString(const Arguments& args, size_t position, std::string_view name,
                       std::string_view otherwise) {
  const Value* value = args.Find(position, name);
  return value == nullptr || !value->is_text() ? std::string(otherwise) : value->bytes();
}

// "a.b.0" of an item, as the attribute= arguments have it.
Value GetPath(Runtime& rt, Value item, const Value& path) {
  if (path.is_int()) return GetItem(rt, item, path);
  if (!path.is_text()) return {};
  std::string_view rest = path.bytes();
  while (!rt.failed()) {
    const size_t dot = rest.find('.');
    const std::string_view name = rest.substr(0, dot);
    int64_t index = 0;
    const auto parsed = std::from_chars(name.data(), name.data() + name.size(), index);
    const bool is_index = parsed.ec == std::errc() && parsed.ptr == name.data() + name.size();
    item = is_index ? GetItem(rt, item, Value(index)) : GetAttribute(rt, item, name);
    if (dot == std::string_view::npos) break;
    rest.remove_prefix(dot + 1);
  }
  return item;
}

Value TextOf(Runtime& rt, const Value& in) { return in.is_text() ? in : rt.Make(ToText(rt, in)); }

Value ToJsonFilter(Runtime& rt, const Value& in, const Arguments& args) {
  const int64_t indent = args.FindInt(0, "indent", -1);
  if (indent > 64) return rt.Fail("tojson: indent is too large");
  JsonStyle style{.indent = static_cast<int>(std::max<int64_t>(indent, -1))};
  style.item_separator = style.indent >= 0 ? "," : ", ";
  style.key_separator = ": ";
  std::string item_separator;
  std::string key_separator;
  if (const Value* separators = args.Find(99, "separators");
      separators != nullptr && separators->is_list() && separators->list().items.size() == 2) {
    item_separator = ToText(rt, separators->list().items[0]).bytes();
    key_separator = ToText(rt, separators->list().items[1]).bytes();
    style.item_separator = item_separator;
    style.key_separator = key_separator;
  }
  style.sort_keys = args.FindBool(99, "sort_keys", false);
  style.ascii_only = args.FindBool(99, "ensure_ascii", false);
  return rt.Make(ToJson(rt, in, style));
}

Value TrimFilter(Runtime& rt, const Value& in, const Arguments& args) {
  return rt.Make(Strip(TextOf(rt, in).text(), FindString(args, 0, "chars", ""), true, true));
}

Value JoinFilter(Runtime& rt, const Value& in, const Arguments& args) {
  const Value* separator = args.Find(0, "d");
  const Value* attribute = args.Find(1, "attribute");
  const Text between = separator == nullptr ? Text() : ToText(rt, *separator);
  Text out;
  bool is_first = true;
  for (const Value& item : Iterate(rt, in)) {
    if (!std::exchange(is_first, false)) out.Append(between);
    out.Append(ToText(rt, attribute == nullptr ? item : GetPath(rt, item, *attribute)));
    if (!rt.Spend(1 + static_cast<int64_t>(between.size() / 256))) break;
  }
  return rt.Make(std::move(out));
}

Value MapFilter(Runtime& rt, const Value& in, const Arguments& args) {
  std::vector<Value> out;
  if (const Value* attribute = args.Find(99, "attribute")) {
    const Value* otherwise = args.Find(99, "default");
    for (const Value& item : Iterate(rt, in)) {
      Value value = GetPath(rt, item, *attribute);
      out.push_back(value.is_undefined() && otherwise != nullptr ? *otherwise : value);
    }
    return rt.Make(std::move(out));
  }
  if (args.positional.empty() || !args.positional[0].is_text()) {
    return rt.Fail("map needs a filter's name or attribute=");
  }
  Arguments rest{.positional = {args.positional.begin() + 1, args.positional.end()},
                 .named = args.named};
  for (const Value& item : Iterate(rt, in)) {
    if (rt.failed()) break;
    out.push_back(ApplyFilter(rt, args.positional[0].bytes(), item, rest));
  }
  return rt.Make(std::move(out));
}

// select, reject and, with an attribute's name before the test, selectattr and rejectattr.
Value Choose(Runtime& rt, const Value& in, const Arguments& args, bool by_attribute, bool wanted) {
  size_t next = 0;
  const Value* attribute = by_attribute ? args.Find(next++, "attribute") : nullptr;
  if (by_attribute && attribute == nullptr) return rt.Fail("an attribute's name is missing");
  const Value* test = args.Find(next++, "test");
  Arguments rest;
  for (size_t i = next; i < args.positional.size(); ++i)
    rest.positional.push_back(args.positional[i]);
  std::vector<Value> out;
  for (const Value& item : Iterate(rt, in)) {
    if (!rt.Spend()) break;
    const Value subject = attribute == nullptr ? item : GetPath(rt, item, *attribute);
    const bool holds = test == nullptr ? subject.truthy()
                                       : ApplyTest(rt, ToText(rt, *test).bytes(), subject, rest);
    if (holds == wanted) out.push_back(item);
  }
  return rt.Make(std::move(out));
}
Value SelectFilter(Runtime& rt, const Value& in, const Arguments& args) {
  return Choose(rt, in, args, false, true);
}
Value RejectFilter(Runtime& rt, const Value& in, const Arguments& args) {
  return Choose(rt, in, args, false, false);
}
Value SelectAttrFilter(Runtime& rt, const Value& in, const Arguments& args) {
  return Choose(rt, in, args, true, true);
}
Value RejectAttrFilter(Runtime& rt, const Value& in, const Arguments& args) {
  return Choose(rt, in, args, true, false);
}

Value DefaultFilter(Runtime& rt, const Value& in, const Arguments& args) {
  const bool replaces = in.is_undefined() || (args.FindBool(1, "boolean", false) && !in.truthy());
  if (!replaces) return in;
  const Value* otherwise = args.Find(0, "default_value");
  return otherwise == nullptr ? rt.Make(Text()) : *otherwise;
}

Value ItemsFilter(Runtime& rt, const Value& in, const Arguments&) {
  if (in.is_undefined()) return rt.Make(std::vector<Value>());
  if (!in.is_dict()) return rt.Fail("items needs a mapping");
  std::vector<Value> out;
  for (const auto& [key, value] : in.dict().entries) {
    out.push_back(rt.Make(std::vector<Value>{rt.Make(Text(key, false)), value}));
  }
  return rt.Make(std::move(out));
}

// Strings without case, unless it matters.
Value SortKey(Runtime& rt, const Value& value, bool case_sensitive) {
  if (case_sensitive || !value.is_text()) return value;
  return rt.Make(WithCase(value.text(), LetterCase::kLower));
}

Value SortBy(Runtime& rt, std::vector<std::pair<Value, Value>> keyed, bool reverse) {
  rt.Spend(static_cast<int64_t>(keyed.size()) * 8);
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    return reverse ? Less(rt, b.first, a.first) : Less(rt, a.first, b.first);
  });
  std::vector<Value> out;
  for (auto& [key, item] : keyed) out.push_back(std::move(item));
  return rt.Make(std::move(out));
}

Value SortFilter(Runtime& rt, const Value& in, const Arguments& args) {
  const bool case_sensitive = args.FindBool(1, "case_sensitive", false);
  const Value* attribute = args.Find(2, "attribute");
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& item : Iterate(rt, in)) {
    const Value key = attribute == nullptr ? item : GetPath(rt, item, *attribute);
    keyed.emplace_back(SortKey(rt, key, case_sensitive), item);
  }
  return SortBy(rt, std::move(keyed), args.FindBool(0, "reverse", false));
}

Value DictSortFilter(Runtime& rt, const Value& in, const Arguments& args) {
  const Value items = ItemsFilter(rt, in, {});
  if (rt.failed()) return {};
  const size_t by = FindString(args, 1, "by", "key") == "value" ? 1 : 0;
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& item : items.list().items) {
    keyed.emplace_back(
        SortKey(rt, item.list().items[by], args.FindBool(0, "case_sensitive", false)), item);
  }
  return SortBy(rt, std::move(keyed), args.FindBool(2, "reverse", false));
}

Value UniqueFilter(Runtime& rt, const Value& in, const Arguments& args) {
  const Value* attribute = args.Find(1, "attribute");
  std::vector<Value> keys;
  std::vector<Value> out;
  for (const Value& item : Iterate(rt, in)) {
    const Value key = SortKey(rt, attribute == nullptr ? item : GetPath(rt, item, *attribute),
                              args.FindBool(0, "case_sensitive", false));
    bool is_known = false;
    for (const Value& known : keys) is_known = is_known || Equal(rt, known, key);
    if (rt.failed()) break;
    if (is_known) continue;
    keys.push_back(key);
    out.push_back(item);
  }
  return rt.Make(std::move(out));
}

Value ReverseFilter(Runtime& rt, const Value& in, const Arguments&) {
  std::vector<Value> items = Iterate(rt, in);
  std::reverse(items.begin(), items.end());
  if (!in.is_text()) return rt.Make(std::move(items));
  Text out;
  for (const Value& item : items) {
    if (item.is_text()) out.Append(item.text());
  }
  return rt.Make(std::move(out));
}

template <LetterCase letter_case>
Value CaseFilter(Runtime& rt, const Value& in, const Arguments&) {
  return rt.Make(WithCase(ToText(rt, in), letter_case));
}

Value ReplaceFilter(Runtime& rt, const Value& in, const Arguments& args) {
  const Value* from = args.Find(0, "old");
  const Value* to = args.Find(1, "new");
  if (from == nullptr || to == nullptr) return rt.Fail("replace needs two strings");
  const int64_t count = args.FindInt(2, "count", -1);
  const Text text = ToText(rt, in);
  const Text with = ToText(rt, *to);
  const Text what = ToText(rt, *from);
  if (with.size() > what.size() && !what.empty() &&
      text.size() / what.size() * with.size() > (64U << 20)) {
    return rt.Fail("replace: the result may be too long");
  }
  return rt.Make(Replace(text, what.bytes(), with, static_cast<int>(count)));
}

Value LengthFilter(Runtime& rt, const Value& in, const Arguments&) {
  if (in.is_undefined()) return Value(int64_t{0});
  if (in.is_list()) return Value(static_cast<int64_t>(in.list().items.size()));
  if (in.is_dict()) return Value(static_cast<int64_t>(in.dict().entries.size()));
  if (!in.is_text()) return rt.Fail(absl::StrFormat("%s has no length", in.type_name()));
  rt.Spend(static_cast<int64_t>(in.text().size() / 256));
  return Value(static_cast<int64_t>(CharacterOffsets(in.bytes()).size()) - 1);
}

Value FirstFilter(Runtime& rt, const Value& in, const Arguments&) {
  return in.is_text() || in.is_list() ? GetItem(rt, in, Value(int64_t{0})) : [&] {
    const std::vector<Value> items = Iterate(rt, in);
    return items.empty() ? Value() : items.front();
  }();
}

Value LastFilter(Runtime& rt, const Value& in, const Arguments&) {
  const std::vector<Value> items = Iterate(rt, in);
  return items.empty() ? Value() : items.back();
}

Value ListFilter(Runtime& rt, const Value& in, const Arguments&) {
  return rt.Make(Iterate(rt, in));
}

Value StringFilter(Runtime& rt, const Value& in, const Arguments&) { return TextOf(rt, in); }
Value SafeFilter(Runtime&, const Value& in, const Arguments&) { return in; }

double NumberOf(Runtime& rt, const Value& in, double otherwise) {
  if (in.is_number()) return in.as_double();
  if (!in.is_text()) return otherwise;
  const Text text = Strip(in.text(), "", true, true);
  double value = 0;
  const char* const begin = text.bytes().data();
  const auto parsed = std::from_chars(begin, begin + text.size(), value);
  rt.Spend();
  return parsed.ec == std::errc() && parsed.ptr == begin + text.size() ? value : otherwise;
}

Value IntFilter(Runtime& rt, const Value& in, const Arguments& args) {
  if (in.is_int()) return in;
  const int64_t otherwise = args.FindInt(0, "default", 0);
  const double value = NumberOf(rt, in, static_cast<double>(otherwise));
  if (!(std::abs(value) < 9.2e18)) return Value(otherwise);
  return Value(static_cast<int64_t>(value));
}

Value FloatFilter(Runtime& rt, const Value& in, const Arguments& args) {
  const Value* otherwise = args.Find(0, "default");
  return Value(NumberOf(
      rt, in, otherwise != nullptr && otherwise->is_number() ? otherwise->as_double() : 0.0));
}

Value AbsFilter(Runtime& rt, const Value& in, const Arguments&) {
  if (in.is_float()) return Value(std::abs(in.as_double()));
  if (!in.is_number()) return rt.Fail("abs needs a number");
  return in.as_int() < 0 ? Calculate(rt, "-", Value(int64_t{0}), in) : in;
}

Value IndentFilter(Runtime& rt, const Value& in, const Arguments& args) {
  Text margin;
  const Value* width = args.Find(0, "width");
  if (width != nullptr && width->is_text()) {
    margin = width->text();
  } else {
    const int64_t spaces = args.FindInt(0, "width", 4);
    if (spaces < 0 || spaces > 256) return rt.Fail("indent: the width is out of range");
    margin = Text(std::string(spaces, ' '), true);
  }
  const bool first = args.FindBool(1, "first", false);
  const bool blank = args.FindBool(2, "blank", false);
  Text out;
  size_t line = 0;
  for (const Text& part : Split(ToText(rt, in), "\n", -1)) {
    if (!rt.Spend(1 + static_cast<int64_t>(margin.size() / 256))) break;
    if (line > 0) out.Append("\n", true);
    if (line == 0 ? first : (blank || !part.empty())) out.Append(margin);
    out.Append(part);
    ++line;
  }
  return rt.Make(std::move(out));
}

}  // namespace

Value ApplyFilter(Runtime& runtime, std::string_view name, const Value& input,
                  const Arguments& arguments) {
  static const auto* const kFilters = new absl::flat_hash_map<std::string_view, Filter>{
      {"tojson", ToJsonFilter},
      {"trim", TrimFilter},
      {"join", JoinFilter},
      {"map", MapFilter},
      {"select", SelectFilter},
      {"reject", RejectFilter},
      {"selectattr", SelectAttrFilter},
      {"rejectattr", RejectAttrFilter},
      {"default", DefaultFilter},
      {"d", DefaultFilter},
      {"items", ItemsFilter},
      {"dictsort", DictSortFilter},
      {"upper", CaseFilter<LetterCase::kUpper>},
      {"lower", CaseFilter<LetterCase::kLower>},
      {"title", CaseFilter<LetterCase::kTitle>},
      {"capitalize", CaseFilter<LetterCase::kCapitalize>},
      {"replace", ReplaceFilter},
      {"length", LengthFilter},
      {"count", LengthFilter},
      {"first", FirstFilter},
      {"last", LastFilter},
      {"list", ListFilter},
      {"string", StringFilter},
      {"int", IntFilter},
      {"float", FloatFilter},
      {"abs", AbsFilter},
      {"indent", IndentFilter},
      {"safe", SafeFilter},
      {"unique", UniqueFilter},
      {"sort", SortFilter},
      {"reverse", ReverseFilter},
  };
  if (!runtime.Spend()) return {};
  const auto found = kFilters->find(name);
  if (found == kFilters->end()) {
    return runtime.Fail(absl::StrFormat("unknown filter \"%.40s\"", name));
  }
  return found->second(runtime, input, arguments);
}

}  // namespace llm::jinja

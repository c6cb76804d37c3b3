// Methods of strings and dicts, and the functions that every template sees.
#include <algorithm>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_format.h"

#include "common/llm/jinja/operations.h"

namespace llm::jinja {
namespace {

using Method = Value (*)(Runtime&, const Value&, const Arguments&);
using Table = absl::flat_hash_map<std::string_view, Method>;

std::string StringArgument(const Arguments& args, size_t position, std::string_view name) {
  const Value* value = args.Find(position, name);
  return value == nullptr || !value->is_text() ? "" : value->bytes();
}

template <bool left, bool right>
Value StripMethod(Runtime& rt, const Value& self, const Arguments& args) {
  return rt.Make(Strip(self.text(), StringArgument(args, 0, "chars"), left, right));
}

Value SplitMethod(Runtime& rt, const Value& self, const Arguments& args) {
  std::vector<Value> parts;
  const int64_t splits_max = std::clamp<int64_t>(args.FindInt(1, "maxsplit", -1), -1, 1 << 30);
  for (Text& part :
       Split(self.text(), StringArgument(args, 0, "sep"), static_cast<int>(splits_max))) {
    parts.push_back(rt.Make(std::move(part)));
    if (rt.failed()) return {};
  }
  return rt.Make(std::move(parts));
}

Value SplitLinesMethod(Runtime& rt, const Value& self, const Arguments&) {
  std::vector<Value> parts;
  std::vector<Text> lines = Split(self.text(), "\n", -1);
  if (!lines.empty() && lines.back().empty()) lines.pop_back();
  for (Text& line : lines) {
    const bool has_return = !line.empty() && line.bytes().back() == '\r';
    parts.push_back(rt.Make(has_return ? line.Cut(0, line.size() - 1) : std::move(line)));
    if (rt.failed()) return {};
  }
  return rt.Make(std::move(parts));
}

// The argument of startswith and endswith is a string, or several of which one must match.
template <bool at_start>
Value AffixMethod(Runtime& rt, const Value& self, const Arguments& args) {
  const Value* affix = args.Find(0, "prefix");
  if (affix == nullptr) return rt.Fail("startswith and endswith need a string");
  const std::string_view text = self.bytes();
  const auto matches = [&](const Value& value) {
    if (!value.is_text() || value.bytes().size() > text.size()) return false;
    const std::string_view wanted = value.bytes();
    return (at_start ? text.substr(0, wanted.size()) : text.substr(text.size() - wanted.size())) ==
           wanted;
  };
  if (!affix->is_list()) return Value(matches(*affix));
  const std::vector<Value>& all = affix->list().items;
  return Value(std::any_of(all.begin(), all.end(), matches));
}

template <bool at_start>
Value RemoveAffixMethod(Runtime& rt, const Value& self, const Arguments& args) {
  const Value has = AffixMethod<at_start>(rt, self, args);
  if (rt.failed() || !has.truthy()) return self;
  const size_t size = StringArgument(args, 0, "prefix").size();
  return rt.Make(at_start ? self.text().Cut(size) : self.text().Cut(0, self.text().size() - size));
}

template <LetterCase letter_case>
Value CaseMethod(Runtime& rt, const Value& self, const Arguments&) {
  return rt.Make(WithCase(self.text(), letter_case));
}

Value ReplaceMethod(Runtime& rt, const Value& self, const Arguments& args) {
  return ApplyFilter(rt, "replace", self, args);
}

Value JoinMethod(Runtime& rt, const Value& self, const Arguments& args) {
  if (args.positional.size() != 1) return rt.Fail("join needs a list");
  return ApplyFilter(rt, "join", args.positional[0], {.positional = {self}});
}

Value FindMethod(Runtime& rt, const Value& self, const Arguments& args) {
  const size_t found = self.bytes().find(StringArgument(args, 0, "sub"));
  rt.Spend(static_cast<int64_t>(self.bytes().size() / 256));
  if (found == std::string::npos) return Value(int64_t{-1});
  const std::string_view before = std::string_view(self.bytes()).substr(0, found);
  return Value(static_cast<int64_t>(CharacterOffsets(before).size()) - 1);
}

Value CountMethod(Runtime& rt, const Value& self, const Arguments& args) {
  const std::string wanted = StringArgument(args, 0, "sub");
  if (wanted.empty()) return rt.Fail("count needs a string");
  rt.Spend(static_cast<int64_t>(self.bytes().size() / 256));
  return Value(static_cast<int64_t>(Split(self.text(), wanted, -1).size()) - 1);
}

const Table& TextMethods() {
  static const auto* const kMethods = new Table{
      {"strip", StripMethod<true, true>},
      {"lstrip", StripMethod<true, false>},
      {"rstrip", StripMethod<false, true>},
      {"split", SplitMethod},
      {"splitlines", SplitLinesMethod},
      {"startswith", AffixMethod<true>},
      {"endswith", AffixMethod<false>},
      {"removeprefix", RemoveAffixMethod<true>},
      {"removesuffix", RemoveAffixMethod<false>},
      {"upper", CaseMethod<LetterCase::kUpper>},
      {"lower", CaseMethod<LetterCase::kLower>},
      {"title", CaseMethod<LetterCase::kTitle>},
      {"capitalize", CaseMethod<LetterCase::kCapitalize>},
      {"replace", ReplaceMethod},
      {"join", JoinMethod},
      {"find", FindMethod},
      {"count", CountMethod},
  };
  return *kMethods;
}

Value ItemsMethod(Runtime& rt, const Value& self, const Arguments&) {
  return ApplyFilter(rt, "items", self, {});
}
Value KeysMethod(Runtime& rt, const Value& self, const Arguments&) {
  return rt.Make(Iterate(rt, self));
}
Value ValuesMethod(Runtime& rt, const Value& self, const Arguments&) {
  std::vector<Value> values;
  for (const auto& [key, value] : self.dict().entries) values.push_back(value);
  return rt.Make(std::move(values));
}
Value GetMethod(Runtime&, const Value& self, const Arguments& args) {
  const Value* key = args.Find(0, "key");
  const Value* found = key != nullptr && key->is_text() ? self.dict().Find(key->bytes()) : nullptr;
  if (found != nullptr) return *found;
  const Value* otherwise = args.Find(1, "default");
  return otherwise == nullptr ? Value(None{}) : *otherwise;
}

const Table& DictMethods() {
  static const auto* const kMethods = new Table{
      {"items", ItemsMethod}, {"keys", KeysMethod}, {"values", ValuesMethod}, {"get", GetMethod}};
  return *kMethods;
}

const Table* MethodsOf(const Value& object) {
  if (object.is_text()) return &TextMethods();
  if (object.is_dict() && !object.dict().is_namespace) return &DictMethods();
  return nullptr;
}

Value MakeDict(Runtime& rt, const Arguments& args, bool is_namespace) {
  Dict* dict = rt.heap().NewDict();
  dict->is_namespace = is_namespace;
  for (const Value& source : args.positional) {
    if (!source.is_dict()) return rt.Fail("namespace and dict take mappings or named values");
    for (const auto& [key, value] : source.dict().entries) dict->Set(key, value);
  }
  for (const auto& [name, value] : args.named) dict->Set(name, value);
  return Value(dict);
}

Value MakeRange(Runtime& rt, const Arguments& args) {
  const size_t count = args.positional.size();
  const int64_t first = count > 1 ? args.FindInt(0, "", 0) : 0;
  const int64_t last = args.FindInt(count > 1 ? 1 : 0, "", 0);
  const int64_t step = args.FindInt(2, "", 1);
  constexpr int64_t kBound = int64_t{1} << 40;
  if (step == 0 || std::max({std::abs(first), std::abs(last), std::abs(step)}) > kBound ||
      std::min(std::min(first, last), step) < -kBound) {
    return rt.Fail("range: the numbers are out of range");
  }
  std::vector<Value> items;
  for (int64_t i = first; step > 0 ? i < last : i > last; i += step) {
    if (!rt.Spend()) return {};
    items.emplace_back(i);
  }
  return rt.Make(std::move(items));
}

Value RaiseException(Runtime& rt, const Arguments& args) {
  const Value* message = args.Find(0, "message");
  return rt.Fail(message == nullptr ? "the template refuses this"
                                    : ToText(rt, *message).bytes().substr(0, 1000));
}

Value StrftimeNow(Runtime& rt, const Arguments& args) {
  const std::string format = StringArgument(args, 0, "format");
  if (format.size() > 100) return rt.Fail("strftime_now: the format is too long");
  return rt.Make(Text(absl::FormatTime(format, rt.now(), absl::UTCTimeZone()), true));
}

}  // namespace

bool HasMethod(const Value& object, std::string_view name) {
  const Table* methods = MethodsOf(object);
  return methods != nullptr && methods->contains(name);
}

Value CallMethod(Runtime& runtime, const Value& object, std::string_view name,
                 const Arguments& arguments) {
  if (!runtime.Spend()) return {};
  return MethodsOf(object)->find(name)->second(runtime, object, arguments);
}

bool IsBuiltin(std::string_view name) {
  return name == "namespace" || name == "dict" || name == "range" || name == "raise_exception" ||
         name == "strftime_now";
}

Value CallBuiltin(Runtime& runtime, std::string_view name, const Arguments& arguments) {
  if (!runtime.Spend()) return {};
  if (name == "namespace") return MakeDict(runtime, arguments, true);
  if (name == "dict") return MakeDict(runtime, arguments, false);
  if (name == "range") return MakeRange(runtime, arguments);
  if (name == "strftime_now") return StrftimeNow(runtime, arguments);
  return RaiseException(runtime, arguments);
}

}  // namespace llm::jinja

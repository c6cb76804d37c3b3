#include "common/llm/jinja/value.h"

#include <array>
#include <charconv>
#include <cmath>

#include "absl/strings/string_view.h"

#include "boost/json.hpp"

namespace llm::jinja {
namespace {

// Templates write '<|' + role + '|>', so a role must count as theirs. It is safe: none of these
// words is a token by itself, nor a part of one that a user could complete.
bool IsRole(std::string_view text) {
  for (const std::string_view role :
       {"system", "developer", "user", "assistant", "tool", "ipython", "model", "function"}) {
    if (text == role) return true;
  }
  return false;
}

}  // namespace

std::string_view Value::type_name() const {
  static constexpr std::array<std::string_view, 9> kNames = {
      "undefined", "none", "boolean", "integer", "float", "string", "list", "mapping", "function"};
  return kNames[data_.index()];
}

bool Value::truthy() const {
  if (is_undefined() || is_none()) return false;
  if (is_float()) return as_double() != 0;
  if (is_number()) return as_int() != 0;
  if (is_text()) return !text().empty();
  if (is_list()) return !list().items.empty();
  if (is_dict()) return dict().is_namespace || !dict().entries.empty();
  return true;
}

const Value* Dict::Find(std::string_view key) const {
  const auto found = index.find(absl::string_view(key.data(), key.size()));
  return found == index.end() ? nullptr : &entries[found->second].second;
}

void Dict::Set(std::string_view key, Value value) {
  const auto [found, is_new] = index.try_emplace(std::string(key), entries.size());
  if (is_new) {
    entries.emplace_back(key, std::move(value));
  } else {
    entries[found->second].second = std::move(value);
  }
}

const Value* Scope::Find(std::string_view name) const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->parent) {
    for (const auto& [known, value] : scope->variables) {
      if (known == name) return &value;
    }
  }
  return nullptr;
}

void Scope::Set(std::string_view name, Value value) {
  for (auto& [known, old] : variables) {
    if (known == name) {
      old = std::move(value);
      return;
    }
  }
  variables.emplace_back(name, std::move(value));
}

Value Heap::FromJson(const boost::json::value& json) {
  switch (json.kind()) {
    case boost::json::kind::null:
      return Value(None{});
    case boost::json::kind::bool_:
      return Value(json.get_bool());
    case boost::json::kind::int64:
      return Value(int64_t{json.get_int64()});
    case boost::json::kind::uint64:
      return Value(static_cast<double>(json.get_uint64()));
    case boost::json::kind::double_:
      return Value(json.get_double());
    case boost::json::kind::string: {
      const std::string_view text(json.get_string().data(), json.get_string().size());
      return Value(Text(text, IsRole(text)));
    }
    case boost::json::kind::array: {
      List* list = NewList();
      for (const boost::json::value& item : json.get_array()) list->items.push_back(FromJson(item));
      return Value(list);
    }
    case boost::json::kind::object: {
      Dict* dict = NewDict();
      for (const auto& [key, value] : json.get_object()) dict->Set(key, FromJson(value));
      return Value(dict);
    }
  }
  return {};
}

std::string FormatFloat(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  std::array<char, 64> buffer;
  const auto scientific = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                        std::chars_format::scientific);
  const std::string_view text(buffer.data(), scientific.ptr - buffer.data());
  const int exponent = std::atoi(text.data() + text.find('e') + 1);
  if (exponent < -4 || exponent >= 16) return std::string(text);
  const auto fixed =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed);
  std::string out(buffer.data(), fixed.ptr - buffer.data());
  if (out.find('.') == std::string::npos) out += ".0";
  return out;
}

}  // namespace llm::jinja

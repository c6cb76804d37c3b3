// What the operators of the language do with values.

#pragma once

#include <string_view>
#include <vector>

#include "common/llm/jinja/runtime.h"
#include "common/llm/jinja/value.h"

namespace llm::jinja {

bool Equal(Runtime& runtime, const Value& a, const Value& b, int depth = 0);

// Numbers and strings; anything else fails.
bool Less(Runtime& runtime, const Value& a, const Value& b);

// `item` in `container`.
bool Contains(Runtime& runtime, const Value& container, const Value& item);

// + - * / // % ** and ~.
Value Calculate(Runtime& runtime, std::string_view op, const Value& a, const Value& b);

// Items of a list, keys of a dict, characters of a string, nothing of undefined.
std::vector<Value> Iterate(Runtime& runtime, const Value& value);

// object.name: nothing found is undefined, but undefined has no attributes.
Value GetAttribute(Runtime& runtime, const Value& object, std::string_view name);

// object[key]
Value GetItem(Runtime& runtime, const Value& object, const Value& key);

// object[start:stop:step]; undefined stands for an absent part.
Value Slice(Runtime& runtime, const Value& object, const Value& start, const Value& stop,
            const Value& step);

// Python's str(), and "" for undefined.
Text ToText(Runtime& runtime, const Value& value);

struct JsonStyle {
  int indent = -1;  // -1: one line.
  std::string_view item_separator;
  std::string_view key_separator;
  bool sort_keys = false;
  bool ascii_only = false;
};
Text ToJson(Runtime& runtime, const Value& value, const JsonStyle& style);

}  // namespace llm::jinja

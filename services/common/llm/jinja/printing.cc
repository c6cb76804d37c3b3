// Values as text: Python's str() and repr(), and json.dumps().
#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"

#include "common/llm/jinja/operations.h"
#include "common/llm/unicode.h"

namespace llm::jinja {
namespace {

// Text of our own making: digits, brackets, quotes.
void AppendOwn(std::string_view bytes, Text& out) { out.Append(bytes, true); }

bool DeepEnough(Runtime& runtime, int depth) {
  if (depth <= runtime.limits().recursion_max) return false;
  runtime.Fail("values are nested too deeply to be printed");
  return true;
}

void AppendQuoted(const Text& text, Text& out) {
  const bool has_single = text.bytes().find('\'') != std::string::npos;
  const bool has_double = text.bytes().find('"') != std::string::npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  AppendOwn(std::string_view(&quote, 1), out);
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text.bytes()[i];
    if (c == quote || c == '\\') AppendOwn("\\", out);
    if (c == '\n') {
      AppendOwn("\\n", out);
    } else if (c == '\r') {
      AppendOwn("\\r", out);
    } else if (c == '\t') {
      AppendOwn("\\t", out);
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      AppendOwn(absl::StrFormat("\\x%02x", c), out);
    } else {
      out.Append(std::string_view(&c, 1), text.from_template(i));
    }
  }
  AppendOwn(std::string_view(&quote, 1), out);
}

void AppendText(Runtime& runtime, const Value& value, bool quoted, int depth, Text& out) {
  if (!runtime.Spend() || DeepEnough(runtime, depth)) return;
  if (value.is_undefined()) return;
  if (value.is_none()) return AppendOwn("None", out);
  if (value.is_bool()) return AppendOwn(value.as_bool() ? "True" : "False", out);
  if (value.is_int()) return AppendOwn(std::to_string(value.as_int()), out);
  if (value.is_float()) return AppendOwn(FormatFloat(value.as_double()), out);
  if (value.is_callable()) return AppendOwn("<function>", out);
  if (value.is_text()) return quoted ? AppendQuoted(value.text(), out) : out.Append(value.text());
  const char* separator = "";
  if (value.is_list()) {
    AppendOwn("[", out);
    for (const Value& item : value.list().items) {
      AppendOwn(std::exchange(separator, ", "), out);
      AppendText(runtime, item, true, depth + 1, out);
    }
    return AppendOwn("]", out);
  }
  AppendOwn("{", out);
  for (const auto& [key, item] : value.dict().entries) {
    AppendOwn(std::exchange(separator, ", "), out);
    AppendQuoted(Text(key, false), out);
    AppendOwn(": ", out);
    AppendText(runtime, item, true, depth + 1, out);
  }
  AppendOwn("}", out);
}

class JsonPrinter {
 public:
  JsonPrinter(Runtime& runtime, const JsonStyle& style) : runtime_(runtime), style_(style) {}

  void Append(const Value& value, int depth) {
    if (!runtime_.Spend() || DeepEnough(runtime_, depth)) return;
    if (value.is_none()) {
      AppendOwn("null", out_);
    } else if (value.is_bool()) {
      AppendOwn(value.as_bool() ? "true" : "false", out_);
    } else if (value.is_int()) {
      AppendOwn(std::to_string(value.as_int()), out_);
    } else if (value.is_float()) {
      AppendFloat(value.as_double());
    } else if (value.is_text()) {
      AppendString(value.text());
    } else if (value.is_list()) {
      AppendList(value.list(), depth);
    } else if (value.is_dict()) {
      AppendDict(value.dict(), depth);
    } else {
      runtime_.Fail(absl::StrFormat("%s cannot be written as JSON", value.type_name()));
    }
  }

  Text Take() && { return std::move(out_); }

 private:
  void AppendFloat(double value) {
    if (std::isnan(value)) return AppendOwn("NaN", out_);
    if (std::isinf(value)) return AppendOwn(value > 0 ? "Infinity" : "-Infinity", out_);
    AppendOwn(FormatFloat(value), out_);
  }

  void AppendString(const Text& text) {
    AppendOwn("\"", out_);
    for (size_t at = 0; at < text.size();) {
      const CodePoint c = DecodeUtf8(text.bytes(), at);
      if (const std::string escape = Escape(c.value); !escape.empty()) {
        AppendOwn(escape, out_);
      } else {
        out_.Append(std::string_view(text.bytes()).substr(at, c.bytes), text.from_template(at));
      }
      at += c.bytes;
    }
    AppendOwn("\"", out_);
  }

  std::string Escape(char32_t c) const {
    switch (c) {
      case '"':
        return "\\\"";
      case '\\':
        return "\\\\";
      case '\n':
        return "\\n";
      case '\r':
        return "\\r";
      case '\t':
        return "\\t";
      case '\f':
        return "\\f";
      case '\b':
        return "\\b";
      default:
        break;
    }
    if (c < 0x20) return absl::StrFormat("\\u%04x", static_cast<uint32_t>(c));
    if (!style_.ascii_only || c < 0x7F) return "";
    if (c < 0x10000) return absl::StrFormat("\\u%04x", static_cast<uint32_t>(c));
    const uint32_t rest = static_cast<uint32_t>(c) - 0x10000;
    return absl::StrFormat("\\u%04x\\u%04x", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF));
  }

  void NewLine(int depth) {
    if (style_.indent < 0) return;
    AppendOwn("\n", out_);
    AppendOwn(std::string(static_cast<size_t>(style_.indent) * depth, ' '), out_);
  }

  void AppendList(const List& list, int depth) {
    if (list.items.empty()) return AppendOwn("[]", out_);
    AppendOwn("[", out_);
    for (size_t i = 0; i < list.items.size(); ++i) {
      if (i > 0) AppendOwn(style_.item_separator, out_);
      NewLine(depth + 1);
      Append(list.items[i], depth + 1);
    }
    NewLine(depth);
    AppendOwn("]", out_);
  }

  void AppendDict(const Dict& dict, int depth) {
    if (dict.entries.empty()) return AppendOwn("{}", out_);
    std::vector<const std::pair<std::string, Value>*> entries;
    for (const auto& entry : dict.entries) entries.push_back(&entry);
    if (style_.sort_keys) {
      std::sort(entries.begin(), entries.end(),
                [](const auto* a, const auto* b) { return a->first < b->first; });
    }
    AppendOwn("{", out_);
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) AppendOwn(style_.item_separator, out_);
      NewLine(depth + 1);
      AppendString(Text(entries[i]->first, false));
      AppendOwn(style_.key_separator, out_);
      Append(entries[i]->second, depth + 1);
    }
    NewLine(depth);
    AppendOwn("}", out_);
  }

  Runtime& runtime_;
  const JsonStyle& style_;
  Text out_;
};

}  // namespace

Text ToText(Runtime& runtime, const Value& value) {
  Text out;
  AppendText(runtime, value, false, 0, out);
  runtime.Spend(static_cast<int64_t>(out.size() / 256));
  return out;
}

Text ToJson(Runtime& runtime, const Value& value, const JsonStyle& style) {
  JsonPrinter printer(runtime, style);
  printer.Append(value, 0);
  Text out = std::move(printer).Take();
  runtime.Spend(static_cast<int64_t>(out.size() / 256));
  return out;
}

}  // namespace llm::jinja

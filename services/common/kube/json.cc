#include "common/kube/json.h"

#include <algorithm>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"

namespace kube {
namespace json = boost::json;

const json::value* FindPath(const json::value& value,
                            std::initializer_list<std::string_view> path) {
  const json::value* at = &value;
  for (const std::string_view name : path) {
    const json::object* object = at->if_object();
    if (object == nullptr) return nullptr;
    at = object->if_contains(name);
    if (at == nullptr) return nullptr;
  }
  return at;
}

std::string_view StringAt(const json::value& value, std::initializer_list<std::string_view> path,
                          std::string_view otherwise) {
  const json::value* found = FindPath(value, path);
  const json::string* text = found == nullptr ? nullptr : found->if_string();
  return text == nullptr ? otherwise : std::string_view(text->data(), text->size());
}

int64_t IntAt(const json::value& value, std::initializer_list<std::string_view> path,
              int64_t otherwise) {
  const json::value* found = FindPath(value, path);
  if (found == nullptr || !found->is_number()) return otherwise;
  json::error_code error;
  const auto number = found->to_number<int64_t>(error);
  return error ? otherwise : number;
}

bool BoolAt(const json::value& value, std::initializer_list<std::string_view> path,
            bool otherwise) {
  const json::value* found = FindPath(value, path);
  const bool* flag = found == nullptr ? nullptr : found->if_bool();
  return flag == nullptr ? otherwise : *flag;
}

std::vector<std::string> StringsAt(const json::value& value,
                                   std::initializer_list<std::string_view> path) {
  std::vector<std::string> texts;
  const json::value* found = FindPath(value, path);
  const json::array* array = found == nullptr ? nullptr : found->if_array();
  if (array == nullptr) return texts;
  for (const json::value& element : *array) {
    if (const json::string* text = element.if_string())
      texts.emplace_back(text->data(), text->size());
  }
  return texts;
}

json::value& MakePath(json::value& value, std::initializer_list<std::string_view> path) {
  json::value* at = &value;
  for (const std::string_view name : path) {
    if (!at->is_object()) *at = json::object();
    at = &at->as_object()[name];
  }
  return *at;
}

absl::StatusOr<json::value> ParseJson(std::string_view text, size_t depth_max) {
  json::parse_options options;
  options.max_depth = depth_max;
  json::stream_parser parser({}, options);
  json::error_code error;
  const size_t parsed = parser.write_some(text.data(), text.size(), error);
  if (!error && parsed == text.size()) {
    parser.finish(error);
    if (!error) return parser.release();
  }
  // write_some stops at the first byte after a complete value; only white space may follow it.
  if (!error && text.find_first_not_of(" \t\r\n", parsed) == std::string_view::npos) {
    parser.finish(error);
    if (!error) return parser.release();
  }
  const std::string reason = error ? error.message() : "more text after the value";
  return absl::InvalidArgumentError(
      absl::StrFormat("invalid JSON at offset %d: %s", parsed, reason));
}

namespace {

void AppendCanonical(const json::value& value, std::string& text) {
  if (const json::object* object = value.if_object()) {
    std::vector<const json::key_value_pair*> members;
    members.reserve(object->size());
    for (const json::key_value_pair& member : *object) members.push_back(&member);
    std::ranges::sort(members, [](const auto* a, const auto* b) { return a->key() < b->key(); });
    text += '{';
    for (const json::key_value_pair* member : members) {
      if (text.back() != '{') text += ',';
      text += json::serialize(json::string_view(member->key()));
      text += ':';
      AppendCanonical(member->value(), text);
    }
    text += '}';
  } else if (const json::array* array = value.if_array()) {
    text += '[';
    bool first = true;
    for (const json::value& element : *array) {
      if (!first) text += ',';
      first = false;
      AppendCanonical(element, text);
    }
    text += ']';
  } else {
    text += json::serialize(value);
  }
}

}  // namespace

std::string CanonicalJson(const json::value& value) {
  std::string text;
  AppendCanonical(value, text);
  return text;
}

void MergePatch(json::value& target, const json::value& patch) {
  const json::object* changes = patch.if_object();
  if (changes == nullptr) {
    target = patch;
    return;
  }
  if (!target.is_object()) target = json::object();
  json::object& object = target.as_object();
  for (const auto& [name, change] : *changes) {
    if (change.is_null()) {
      object.erase(name);
    } else {
      MergePatch(object[name], change);
    }
  }
}

}  // namespace kube

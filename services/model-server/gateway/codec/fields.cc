#include "model-server/gateway/codec/fields.h"

#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"

namespace model_server::gateway {
namespace json = boost::json;

namespace {

std::string_view View(json::string_view text) { return {text.data(), text.size()}; }

// Whole numbers may be written as 10.0 too, as Python clients do.
std::optional<int64_t> WholeNumber(const json::value& value) {
  if (value.is_int64()) return value.get_int64();
  if (!value.is_double()) return std::nullopt;
  const double number = value.get_double();
  if (std::abs(number) >= 9e15 || number != std::floor(number)) return std::nullopt;
  return static_cast<int64_t>(number);
}

std::string Digits(double number) { return absl::StrFormat("%g", number); }

std::string RangeText(const Range& range) {
  const double infinity = std::numeric_limits<double>::infinity();
  if (range.max == infinity) {
    return absl::StrFormat("a number %s %s", range.min_open ? "above" : "of at least",
                           Digits(range.min));
  }
  return absl::StrFormat("a number %s %s and %s %s", range.min_open ? "above" : "from",
                         Digits(range.min), range.max_open ? "below" : "up to", Digits(range.max));
}

}  // namespace

void Problem::Set(std::string_view code, std::string_view param, std::string message) {
  if (error_) return;
  error_ = ApiError{.status = 400,
                    .message = std::move(message),
                    .code = std::string(code),
                    .param = std::string(param)};
}

void Problem::Missing(std::string_view param) {
  Set("missing_parameter", param, absl::StrFormat("%s is missing", param));
}

void Problem::WrongType(std::string_view param, std::string_view expected) {
  Set("invalid_type", param, absl::StrFormat("%s must be %s", param, expected));
}

void Problem::WrongValue(std::string_view param, std::string_view must) {
  Set("invalid_value", param, absl::StrFormat("%s must be %s", param, must));
}

void Problem::Unsupported(std::string_view param, std::string_view why) {
  Set("unsupported_parameter", param, absl::StrFormat("%s: %s", param, why));
}

std::string Fields::PathOf(std::string_view name) const {
  return path_.empty() ? std::string(name) : absl::StrFormat("%s.%s", path_, name);
}

const json::value* Fields::Find(std::string_view name) {
  known_.emplace(name);
  const json::value* value = object_.if_contains({name.data(), name.size()});
  return value == nullptr || value->is_null() ? nullptr : value;
}

void Fields::Accept(std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) known_.emplace(name);
}

std::optional<bool> Fields::Bool(std::string_view name) {
  const json::value* value = Find(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_bool()) return value->get_bool();
  problem_.WrongType(PathOf(name), "true or false");
  return std::nullopt;
}

std::optional<double> Fields::Number(std::string_view name, const Range& range) {
  const json::value* value = Find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) {
    problem_.WrongType(PathOf(name), "a number");
    return std::nullopt;
  }
  const double number = value->to_number<double>();
  const bool inside = std::isfinite(number) && number >= range.min && number <= range.max &&
                      !(range.min_open && number == range.min) &&
                      !(range.max_open && number == range.max);
  if (inside) return number;
  problem_.WrongValue(PathOf(name), RangeText(range));
  return std::nullopt;
}

std::optional<int64_t> Fields::Integer(std::string_view name, int64_t min, int64_t max) {
  const json::value* value = Find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) {
    problem_.WrongType(PathOf(name), "a whole number");
    return std::nullopt;
  }
  const std::optional<int64_t> number = WholeNumber(*value);
  if (number && *number >= min && *number <= max) return number;
  if (value->is_double() && !number) {
    problem_.WrongType(PathOf(name), "a whole number");
  } else if (max == std::numeric_limits<int64_t>::max() || max >= INT32_MAX) {
    problem_.WrongValue(PathOf(name), absl::StrFormat("a whole number of at least %d", min));
  } else {
    problem_.WrongValue(PathOf(name), absl::StrFormat("a whole number from %d to %d", min, max));
  }
  return std::nullopt;
}

std::optional<std::string> Fields::String(std::string_view name) {
  const json::value* value = Find(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_string()) return std::string(View(value->get_string()));
  problem_.WrongType(PathOf(name), "a string");
  return std::nullopt;
}

const json::object* Fields::Object(std::string_view name) {
  const json::value* value = Find(name);
  if (value == nullptr) return nullptr;
  if (value->is_object()) return &value->get_object();
  problem_.WrongType(PathOf(name), "an object");
  return nullptr;
}

const json::array* Fields::Array(std::string_view name, size_t items_min, size_t items_max) {
  const json::value* value = Find(name);
  if (value == nullptr) return nullptr;
  if (!value->is_array()) {
    problem_.WrongType(PathOf(name), "a list");
    return nullptr;
  }
  const size_t size = value->get_array().size();
  if (size >= items_min && size <= items_max) return &value->get_array();
  problem_.WrongValue(PathOf(name),
                      absl::StrFormat("a list of %d to %d items", items_min, items_max));
  return nullptr;
}

std::vector<std::string> Fields::Strings(std::string_view name, size_t items_max, size_t bytes_min,
                                         size_t bytes_max) {
  std::vector<std::string> strings;
  const json::value* value = Find(name);
  if (value == nullptr) return strings;
  const auto add = [&](const json::value& item) {
    if (!item.is_string()) {
      problem_.WrongType(PathOf(name), "a string or a list of strings");
    } else if (item.get_string().size() < bytes_min || item.get_string().size() > bytes_max) {
      problem_.WrongValue(
          PathOf(name), absl::StrFormat("made of strings of %d to %d bytes", bytes_min, bytes_max));
    } else {
      strings.emplace_back(View(item.get_string()));
    }
  };
  if (!value->is_array()) {
    add(*value);
    return strings;
  }
  if (const json::array* items = Array(name, 0, items_max)) {
    for (const json::value& item : *items) add(item);
  }
  return strings;
}

std::vector<uint32_t> Fields::Ids(std::string_view name, size_t items_max) {
  std::vector<uint32_t> ids;
  const json::array* items = Array(name, 0, items_max);
  if (items == nullptr) return ids;
  ids.reserve(items->size());
  for (const json::value& item : *items) {
    const std::optional<uint32_t> id = TokenId(item);
    if (!id) {
      problem_.WrongType(PathOf(name), "a list of token ids");
      return {};
    }
    ids.push_back(*id);
  }
  return ids;
}

std::vector<std::string> Fields::Unknown() const {
  std::vector<std::string> names;
  for (const auto& [key, value] : object_) {
    if (!known_.contains(View(key))) names.emplace_back(View(key));
  }
  return names;
}

std::optional<uint32_t> TokenId(const json::value& value) {
  const std::optional<int64_t> number = WholeNumber(value);
  // Ids are signed 32-bit numbers inside the model.
  if (!number || *number < 0 || *number > INT32_MAX) return std::nullopt;
  return static_cast<uint32_t>(*number);
}

}  // namespace model_server::gateway

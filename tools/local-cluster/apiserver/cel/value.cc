#include "local-cluster/apiserver/cel/value.h"

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/check.h"

namespace local_cluster::cel {
namespace {

const boost::json::value* JsonOf(const Value& value) {
  const auto* json = std::get_if<const boost::json::value*>(&value.data);
  return json == nullptr ? nullptr : *json;
}
const List* ListOf(const Value& value) {
  const auto* list = std::get_if<std::shared_ptr<const List>>(&value.data);
  return list == nullptr ? nullptr : list->get();
}
const Map* MapOf(const Value& value) {
  const auto* map = std::get_if<std::shared_ptr<const Map>>(&value.data);
  return map == nullptr ? nullptr : map->get();
}

}  // namespace

double Value::number() const {
  if (const int64_t* integer = if_int()) return static_cast<double>(*integer);
  CHECK(if_double() != nullptr);
  return *if_double();
}

bool Value::is_list() const {
  const boost::json::value* json = JsonOf(*this);
  return ListOf(*this) != nullptr || (json != nullptr && json->is_array());
}

bool Value::is_map() const {
  const boost::json::value* json = JsonOf(*this);
  return MapOf(*this) != nullptr || (json != nullptr && json->is_object());
}

std::string_view Value::type_name() const {
  if (is_null()) return "null_type";
  if (if_bool() != nullptr) return "bool";
  if (if_int() != nullptr) return "int";
  if (if_double() != nullptr) return "double";
  if (if_string() != nullptr) return "string";
  return is_list() ? "list" : "map";
}

Value FromJson(const boost::json::value& json) {
  switch (json.kind()) {
    case boost::json::kind::null:
      return {};
    case boost::json::kind::bool_:
      return {json.get_bool()};
    case boost::json::kind::int64:
      return {json.get_int64()};
    case boost::json::kind::uint64:
      return {static_cast<double>(json.get_uint64())};
    case boost::json::kind::double_:
      return {json.get_double()};
    case boost::json::kind::string:
      return {std::string(json.get_string().data(), json.get_string().size())};
    default:
      return {&json};
  }
}

size_t SizeOf(const Value& value) {
  if (const List* list = ListOf(value)) return list->size();
  if (const Map* map = MapOf(value)) return map->size();
  const boost::json::value* json = JsonOf(value);
  CHECK(json != nullptr);
  return json->is_array() ? json->get_array().size() : json->get_object().size();
}

Value ElementAt(const Value& value, size_t index) {
  if (const List* list = ListOf(value)) return (*list)[index];
  return FromJson(JsonOf(value)->get_array()[index]);
}

std::vector<Value> KeysOf(const Value& value) {
  std::vector<Value> keys;
  if (const Map* map = MapOf(value)) {
    for (const auto& member : *map) keys.push_back(member.first);
    return keys;
  }
  for (const auto& member : JsonOf(value)->get_object()) {
    keys.push_back({std::string(member.key())});
  }
  return keys;
}

Value MemberOf(const Value& value, const Value& key, bool& found) {
  found = false;
  if (const Map* map = MapOf(value)) {
    for (const auto& member : *map) {
      if (!Equal(member.first, key)) continue;
      found = true;
      return member.second;
    }
    return {};
  }
  if (key.if_string() == nullptr) return {};
  const boost::json::value* member = JsonOf(value)->get_object().if_contains(*key.if_string());
  if (member == nullptr) return {};
  found = true;
  return FromJson(*member);
}

bool Equal(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (a.if_int() != nullptr && b.if_int() != nullptr) return *a.if_int() == *b.if_int();
    return a.number() == b.number();
  }
  if (a.is_list() && b.is_list()) {
    if (SizeOf(a) != SizeOf(b)) return false;
    for (size_t i = 0; i < SizeOf(a); ++i) {
      if (!Equal(ElementAt(a, i), ElementAt(b, i))) return false;
    }
    return true;
  }
  if (a.is_map() && b.is_map()) {
    if (SizeOf(a) != SizeOf(b)) return false;
    for (const Value& key : KeysOf(a)) {
      bool in_a = false;
      bool in_b = false;
      if (!Equal(MemberOf(a, key, in_a), MemberOf(b, key, in_b)) || !in_b) return false;
    }
    return true;
  }
  if (a.is_null() && b.is_null()) return true;
  if (a.if_bool() != nullptr && b.if_bool() != nullptr) return *a.if_bool() == *b.if_bool();
  if (a.if_string() != nullptr && b.if_string() != nullptr) {
    return *a.if_string() == *b.if_string();
  }
  return false;
}

absl::StatusOr<int> Compare(const Value& a, const Value& b) {
  if (a.if_int() != nullptr && b.if_int() != nullptr) {
    return *a.if_int() < *b.if_int() ? -1 : *a.if_int() > *b.if_int() ? 1 : 0;
  }
  if (a.is_number() && b.is_number()) {
    return a.number() < b.number() ? -1 : a.number() > b.number() ? 1 : 0;
  }
  if (a.if_string() != nullptr && b.if_string() != nullptr) {
    return a.if_string()->compare(*b.if_string());
  }
  if (a.if_bool() != nullptr && b.if_bool() != nullptr) {
    return static_cast<int>(*a.if_bool()) - static_cast<int>(*b.if_bool());
  }
  return absl::InvalidArgumentError(
      absl::StrFormat("no such overload: comparison of %s and %s", a.type_name(), b.type_name()));
}

}  // namespace local_cluster::cel

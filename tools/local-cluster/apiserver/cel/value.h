// Values while an expression is evaluated.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <boost/json/fwd.hpp>

#include "absl/status/statusor.h"

namespace local_cluster::cel {

struct Value;
using List = std::vector<Value>;
using Map = std::vector<std::pair<Value, Value>>;

// Arrays and objects of the input are borrowed, those that the expression makes are owned.
struct Value {
  std::variant<std::monostate, bool, int64_t, double, std::string, const boost::json::value*,
               std::shared_ptr<const List>, std::shared_ptr<const Map>>
      data;

  bool is_null() const { return std::holds_alternative<std::monostate>(data); }
  const bool* if_bool() const { return std::get_if<bool>(&data); }
  const int64_t* if_int() const { return std::get_if<int64_t>(&data); }
  const double* if_double() const { return std::get_if<double>(&data); }
  const std::string* if_string() const { return std::get_if<std::string>(&data); }
  bool is_number() const { return if_int() != nullptr || if_double() != nullptr; }
  double number() const;  // Of a number.
  bool is_list() const;
  bool is_map() const;
  std::string_view type_name() const;  // "int", "list", … for messages.
};

Value FromJson(const boost::json::value& json);

// Of a list or map.
size_t SizeOf(const Value& value);
Value ElementAt(const Value& list, size_t index);
// Keys of a map in order; nullopt-like: `found` is false where there is no such key.
std::vector<Value> KeysOf(const Value& map);
Value MemberOf(const Value& map, const Value& key, bool& found);

// CEL's equality: numbers by value, lists and maps by their elements, different types are unequal.
bool Equal(const Value& a, const Value& b);
// Below, equal or above zero; kInvalidArgument for types that have no order.
absl::StatusOr<int> Compare(const Value& a, const Value& b);

}  // namespace local_cluster::cel

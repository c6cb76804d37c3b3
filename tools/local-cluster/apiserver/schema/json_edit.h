// Small changes to JSON objects, for .cc files that fill in defaults.

#pragma once

#include <initializer_list>
#include <string_view>

#include "boost/json.hpp"  // NOLINT: for .cc files only.

namespace local_cluster {

inline std::string_view View(const boost::json::string& text) { return {text.data(), text.size()}; }

inline boost::json::value JsonText(std::string_view text) {
  return boost::json::value(boost::json::string(text));
}

template <typename Predicate>
void EraseIf(boost::json::array& array, Predicate predicate) {
  for (auto element = array.begin(); element != array.end();) {
    element = predicate(*element) ? array.erase(element) : element + 1;
  }
}

// The member as an object or array; null when it is missing or something else.
boost::json::object* ObjectIn(boost::json::object& object, std::string_view name);
const boost::json::object* ObjectIn(const boost::json::object& object, std::string_view name);
boost::json::array* ArrayIn(boost::json::object& object, std::string_view name);
const boost::json::array* ArrayIn(const boost::json::object& object, std::string_view name);
std::string_view StringIn(const boost::json::object& object, std::string_view name,
                          std::string_view otherwise = "");

// The member as an object, made where it is missing.
boost::json::object& MakeObject(boost::json::object& object, std::string_view name);

// Puts `value` in where the member is missing.
void SetDefault(boost::json::object& object, std::string_view name, boost::json::value value);

// Whether both have the member alike: missing, or of equal value.
bool SameMember(const boost::json::object& a, const boost::json::object& b, std::string_view name);

// A copy without some members.
boost::json::object Without(const boost::json::object& object,
                            std::initializer_list<std::string_view> names);

// Equal values; a member that is null, empty or missing counts as the same, as in Go's comparison
// of decoded objects.
bool SemanticallyEqual(const boost::json::value& a, const boost::json::value& b);

}  // namespace local_cluster

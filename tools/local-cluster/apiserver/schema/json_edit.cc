#include "local-cluster/apiserver/schema/json_edit.h"

#include <utility>

namespace local_cluster {
namespace {

bool IsEmpty(const boost::json::value& value) {
  if (value.is_null()) return true;
  if (value.is_array()) return value.get_array().empty();
  if (value.is_string()) return value.get_string().empty();
  if (!value.is_object()) return false;
  for (const auto& member : value.get_object()) {
    if (!IsEmpty(member.value())) return false;
  }
  return true;
}

}  // namespace

boost::json::object* ObjectIn(boost::json::object& object, std::string_view name) {
  boost::json::value* member = object.if_contains(name);
  return member == nullptr ? nullptr : member->if_object();
}

const boost::json::object* ObjectIn(const boost::json::object& object, std::string_view name) {
  const boost::json::value* member = object.if_contains(name);
  return member == nullptr ? nullptr : member->if_object();
}

boost::json::array* ArrayIn(boost::json::object& object, std::string_view name) {
  boost::json::value* member = object.if_contains(name);
  return member == nullptr ? nullptr : member->if_array();
}

const boost::json::array* ArrayIn(const boost::json::object& object, std::string_view name) {
  const boost::json::value* member = object.if_contains(name);
  return member == nullptr ? nullptr : member->if_array();
}

std::string_view StringIn(const boost::json::object& object, std::string_view name,
                          std::string_view otherwise) {
  const boost::json::value* member = object.if_contains(name);
  const boost::json::string* text = member == nullptr ? nullptr : member->if_string();
  return text == nullptr ? otherwise : View(*text);
}

boost::json::object& MakeObject(boost::json::object& object, std::string_view name) {
  boost::json::value& member = object[name];
  if (!member.is_object()) member = boost::json::object();
  return member.get_object();
}

void SetDefault(boost::json::object& object, std::string_view name, boost::json::value value) {
  if (!object.contains(name)) object[name] = std::move(value);
}

bool SameMember(const boost::json::object& a, const boost::json::object& b, std::string_view name) {
  const boost::json::value null;
  const boost::json::value* left = a.if_contains(name);
  const boost::json::value* right = b.if_contains(name);
  return SemanticallyEqual(left == nullptr ? null : *left, right == nullptr ? null : *right);
}

boost::json::object Without(const boost::json::object& object,
                            std::initializer_list<std::string_view> names) {
  boost::json::object copy = object;
  for (const std::string_view name : names) copy.erase(name);
  return copy;
}

bool SemanticallyEqual(const boost::json::value& a, const boost::json::value& b) {
  if (a.is_object() && b.is_object()) {
    const boost::json::object& left = a.get_object();
    const boost::json::object& right = b.get_object();
    for (const auto& member : left) {
      const boost::json::value* other = right.if_contains(member.key());
      if (other == nullptr ? !IsEmpty(member.value())
                           : !SemanticallyEqual(member.value(), *other)) {
        return false;
      }
    }
    for (const auto& member : right) {
      if (!left.contains(member.key()) && !IsEmpty(member.value())) return false;
    }
    return true;
  }
  if (a.is_array() && b.is_array()) {
    const boost::json::array& left = a.get_array();
    const boost::json::array& right = b.get_array();
    if (left.size() != right.size()) return false;
    for (size_t i = 0; i < left.size(); ++i) {
      if (!SemanticallyEqual(left[i], right[i])) return false;
    }
    return true;
  }
  return a == b || (IsEmpty(a) && IsEmpty(b));
}

}  // namespace local_cluster

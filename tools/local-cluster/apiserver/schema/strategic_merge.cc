#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/status_macros.h"
#include "local-cluster/apiserver/schema/errors.h"
#include "local-cluster/apiserver/schema/json_edit.h"
#include "local-cluster/apiserver/schema/patch.h"

namespace local_cluster {
namespace {

using boost::json::array;
using boost::json::object;
using boost::json::value;

constexpr std::string_view kPatch = "$patch";
constexpr std::string_view kRetainKeys = "$retainKeys";
constexpr std::string_view kDeleteFromList = "$deleteFromPrimitiveList/";
constexpr std::string_view kElementOrder = "$setElementOrder/";

absl::Status MergeObject(object& target, const object& patch, const Schema* schema);

std::string_view Directive(const value& element) {
  const object* members = element.if_object();
  const value* directive = members == nullptr ? nullptr : members->if_contains(kPatch);
  if (directive == nullptr || !directive->is_string()) return "";
  return {directive->get_string().data(), directive->get_string().size()};
}

// Two elements are the same one: by key, or as a whole.
bool SameElement(const value& a, const value& b, const std::string& key) {
  if (key.empty()) return a == b;
  const object* left = a.if_object();
  const object* right = b.if_object();
  if (left == nullptr || right == nullptr) return false;
  const value* left_key = left->if_contains(key);
  const value* right_key = right->if_contains(key);
  return left_key != nullptr && right_key != nullptr && *left_key == *right_key;
}

array::iterator FindElement(array& list, const value& like, const std::string& key) {
  return std::find_if(list.begin(), list.end(),
                      [&](const value& element) { return SameElement(element, like, key); });
}

// Without directives, which have no meaning where there is nothing to merge with.
value Plain(const value& patch) {
  if (patch.is_array()) {
    array plain;
    for (const value& element : patch.get_array()) {
      if (Directive(element).empty()) plain.push_back(Plain(element));
    }
    return plain;
  }
  if (!patch.is_object()) return patch;
  object plain;
  for (const auto& member : patch.get_object()) {
    const std::string_view name = member.key();
    if (name.starts_with('$') || member.value().is_null()) continue;
    plain[name] = Plain(member.value());
  }
  return plain;
}

absl::Status MergeList(array& target, const array& patch, const std::string& key,
                       const Schema* element) {
  for (const value& item : patch) {
    if (Directive(item) == "replace") {
      target = Plain(patch).as_array();
      return absl::OkStatus();
    }
  }
  for (const value& item : patch) {
    if (!key.empty() && (!item.is_object() || !item.get_object().contains(key))) {
      return BadRequestError(absl::StrFormat("map: %s does not contain declared merge key: %s",
                                             boost::json::serialize(item), key));
    }
    const auto found = FindElement(target, item, key);
    if (Directive(item) == "delete") {
      EraseIf(target, [&](const value& one) { return SameElement(one, item, key); });
    } else if (found == target.end()) {
      target.push_back(Plain(item));
    } else if (!key.empty()) {
      RETURN_IF_ERROR(MergeObject(found->get_object(), item.get_object(), element));
    }
  }
  return absl::OkStatus();
}

// Elements named by `order` come in its order; the others stay before what they were before.
void SetOrder(array& list, const array& order, const std::string& key) {
  std::vector<std::pair<size_t, value>> ordered;  // With the place in `list`.
  for (const value& wanted : order) {
    const auto found = FindElement(list, wanted, key);
    if (found != list.end()) ordered.emplace_back(found - list.begin(), *found);
  }
  std::vector<bool> named(list.size(), false);
  for (const auto& [index, element] : ordered) named[index] = true;
  array result;
  size_t next = 0;
  for (size_t i = 0; i < list.size(); ++i) {
    if (named[i]) continue;
    while (next < ordered.size() && ordered[next].first < i) {
      result.push_back(ordered[next++].second);
    }
    result.push_back(list[i]);
  }
  while (next < ordered.size()) result.push_back(ordered[next++].second);
  list = std::move(result);
}

const Property* PropertyOf(const Schema* schema, std::string_view name) {
  return schema == nullptr ? nullptr : schema->Find(name);
}

absl::Status MergeMember(object& target, std::string_view name, const value& patch,
                         const Schema* schema) {
  if (patch.is_null()) {
    target.erase(name);
    return absl::OkStatus();
  }
  const Property* property = PropertyOf(schema, name);
  const Schema* inner = property != nullptr ? property->schema
                        : schema != nullptr ? schema->additional
                                            : nullptr;
  value* present = target.if_contains(name);
  if (patch.is_object() && present != nullptr && present->is_object()) {
    return MergeObject(present->get_object(), patch.get_object(), inner);
  }
  if (patch.is_array() && property != nullptr && property->merge_list && present != nullptr &&
      present->is_array()) {
    return MergeList(present->get_array(), patch.get_array(), property->merge_key, inner->items);
  }
  target[name] = Plain(patch);
  return absl::OkStatus();
}

absl::Status DeleteFromList(object& target, std::string_view name, const value& gone) {
  value* list = target.if_contains(name);
  if (!gone.is_array()) return BadRequestError("$deleteFromPrimitiveList must be a list");
  if (list == nullptr || !list->is_array()) return absl::OkStatus();
  EraseIf(list->get_array(), [&](const value& element) {
    return std::ranges::find(gone.get_array(), element) != gone.get_array().end();
  });
  return absl::OkStatus();
}

absl::Status RetainKeys(object& target, const value& keys) {
  if (!keys.is_array()) return BadRequestError("$retainKeys must be a list");
  std::vector<std::string> gone;
  for (const auto& member : target) {
    const auto& list = keys.get_array();
    if (std::ranges::find(list, value(member.key())) == list.end()) gone.emplace_back(member.key());
  }
  for (const std::string& name : gone) target.erase(name);
  return absl::OkStatus();
}

absl::Status MergeObject(object& target, const object& patch, const Schema* schema) {
  if (const value* directive = patch.if_contains(kPatch)) {
    const std::string_view what = Directive(patch);
    if (what == "replace") {
      target = Plain(patch).as_object();
      return absl::OkStatus();
    }
    if (what == "delete") {
      target.clear();
      return absl::OkStatus();
    }
    if (what != "merge") {
      return BadRequestError(
          absl::StrFormat("unknown patch type: %s", boost::json::serialize(*directive)));
    }
  }
  if (const value* keys = patch.if_contains(kRetainKeys))
    RETURN_IF_ERROR(RetainKeys(target, *keys));
  for (const auto& member : patch) {
    const std::string_view name = member.key();
    if (name.starts_with(kDeleteFromList)) {
      RETURN_IF_ERROR(DeleteFromList(target, name.substr(kDeleteFromList.size()), member.value()));
    }
  }
  for (const auto& member : patch) {
    const std::string_view name = member.key();
    if (name.starts_with('$')) continue;
    RETURN_IF_ERROR(MergeMember(target, name, member.value(), schema));
  }
  for (const auto& member : patch) {
    const std::string_view name = member.key();
    if (!name.starts_with(kElementOrder) || !member.value().is_array()) continue;
    const std::string_view list_name = name.substr(kElementOrder.size());
    const Property* property = PropertyOf(schema, list_name);
    value* list = target.if_contains(list_name);
    if (property == nullptr || list == nullptr || !list->is_array()) continue;
    SetOrder(list->get_array(), member.value().get_array(), property->merge_key);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ApplyStrategicMerge(value& target, const value& patch, const Schema& schema) {
  if (!patch.is_object() || !target.is_object()) {
    return BadRequestError("a strategic merge patch is an object");
  }
  value result = target;
  RETURN_IF_ERROR(MergeObject(result.get_object(), patch.get_object(), &schema));
  target = std::move(result);
  return absl::OkStatus();
}

}  // namespace local_cluster

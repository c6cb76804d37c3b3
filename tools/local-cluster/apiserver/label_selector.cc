#include "local-cluster/apiserver/label_selector.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "boost/json.hpp"
#include "common/kube/json.h"
#include "local-cluster/apiserver/schema/json_edit.h"

namespace local_cluster {
namespace {

using boost::json::value;

bool MatchesExpression(const value& expression, const boost::json::object* labels) {
  const std::string_view key = kube::StringAt(expression, {"key"});
  const std::string_view op = kube::StringAt(expression, {"operator"});
  const value* label = labels == nullptr ? nullptr : labels->if_contains(key);
  if (op == "Exists") return label != nullptr;
  if (op == "DoesNotExist") return label == nullptr;
  const boost::json::array* values =
      expression.is_object() ? ArrayIn(expression.get_object(), "values") : nullptr;
  const bool listed =
      label != nullptr && values != nullptr && std::ranges::find(*values, *label) != values->end();
  return op == "NotIn" ? !listed : listed;
}

std::string Joined(const std::vector<std::string>& parts) {
  std::string all;
  for (const std::string& part : parts) all += (all.empty() ? "" : ",") + part;
  return all;
}

std::string ExpressionText(const value& expression) {
  const std::string key(kube::StringAt(expression, {"key"}));
  const std::string_view op = kube::StringAt(expression, {"operator"});
  if (op == "Exists") return key;
  if (op == "DoesNotExist") return "!" + key;
  return key + (op == "NotIn" ? " notin (" : " in (") +
         Joined(kube::StringsAt(expression, {"values"})) + ")";
}

}  // namespace

bool MatchesLabelSelector(const value& selector, const value& whole) {
  const value* found = kube::FindPath(whole, {"metadata", "labels"});
  const boost::json::object* labels = found == nullptr ? nullptr : found->if_object();
  if (const value* wanted = kube::FindPath(selector, {"matchLabels"});
      wanted && wanted->is_object()) {
    for (const auto& one : wanted->get_object()) {
      const value* label = labels == nullptr ? nullptr : labels->if_contains(one.key());
      if (label == nullptr || *label != one.value()) return false;
    }
  }
  const value* expressions = kube::FindPath(selector, {"matchExpressions"});
  if (expressions == nullptr || !expressions->is_array()) return true;
  return std::ranges::all_of(expressions->get_array(), [labels](const value& expression) {
    return MatchesExpression(expression, labels);
  });
}

std::string LabelSelectorText(const value& selector) {
  std::vector<std::string> parts;
  if (const value* wanted = kube::FindPath(selector, {"matchLabels"});
      wanted && wanted->is_object()) {
    for (const auto& one : wanted->get_object()) {
      if (one.value().is_string()) {
        parts.push_back(std::string(one.key()) + "=" + std::string(View(one.value().get_string())));
      }
    }
  }
  std::ranges::sort(parts);
  if (const value* expressions = kube::FindPath(selector, {"matchExpressions"});
      expressions && expressions->is_array()) {
    for (const value& expression : expressions->get_array()) {
      parts.push_back(ExpressionText(expression));
    }
  }
  return Joined(parts);
}

}  // namespace local_cluster

#include "local-cluster/apiserver/selectors.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_format.h"

#include "common/base/status_macros.h"
#include "common/kube/json.h"
#include "local-cluster/apiserver/object_meta.h"
#include "local-cluster/apiserver/schema/json_edit.h"

namespace local_cluster {
namespace {

std::string_view Trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

// The text up to the next comma outside of parentheses; moves on behind it.
std::string_view NextTerm(std::string_view& rest) {
  int depth = 0;
  size_t i = 0;
  for (; i < rest.size(); ++i) {
    if (rest[i] == '(') ++depth;
    if (rest[i] == ')') --depth;
    if (rest[i] == ',' && depth <= 0) break;
  }
  const std::string_view term = rest.substr(0, i);
  rest.remove_prefix(std::min(rest.size(), i + 1));
  return Trim(term);
}

absl::Status Unparsable(std::string_view text) {
  return BadRequestError(
      absl::StrFormat("unable to parse requirement: found '%s', expected: a label selector", text));
}

// "(a, b)" → the values.
std::optional<std::set<std::string, std::less<>>> ParseSet(std::string_view text) {
  text = Trim(text);
  if (text.size() < 2 || text.front() != '(' || text.back() != ')') return std::nullopt;
  text = text.substr(1, text.size() - 2);
  std::set<std::string, std::less<>> values;
  while (true) {
    const size_t comma = text.find(',');
    values.emplace(Trim(text.substr(0, comma)));
    if (comma == std::string_view::npos) return values;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace

absl::StatusOr<std::vector<Selector::Requirement>> Selector::ParseLabels(std::string_view text) {
  std::vector<Requirement> requirements;
  std::string_view rest = Trim(text);
  while (!rest.empty()) {
    const std::string_view term = NextTerm(rest);
    Requirement requirement;
    const size_t equals = term.find('=');
    const size_t blank = term.find(' ');
    std::string_view key = term;
    if (term.starts_with('!')) {
      requirement.op = Operator::kAbsent;
      key = Trim(term.substr(1));
    } else if (equals != std::string_view::npos && term.find('(') == std::string_view::npos) {
      const bool differs = equals > 0 && term[equals - 1] == '!';
      requirement.op = differs ? Operator::kNotEquals : Operator::kEquals;
      key = Trim(term.substr(0, differs ? equals - 1 : equals));
      std::string_view value = term.substr(equals + 1);
      if (value.starts_with('=')) value.remove_prefix(1);
      requirement.values.emplace(Trim(value));
    } else if (blank != std::string_view::npos) {
      key = term.substr(0, blank);
      std::string_view after = Trim(term.substr(blank));
      requirement.op = after.starts_with("notin") ? Operator::kNotIn : Operator::kIn;
      const size_t word = requirement.op == Operator::kNotIn ? 5 : 2;
      if (requirement.op == Operator::kIn && !after.starts_with("in")) return Unparsable(term);
      auto values = ParseSet(after.substr(word));
      if (!values) return Unparsable(term);
      requirement.values = *std::move(values);
    } else {
      requirement.op = Operator::kExists;
    }
    if (!IsQualifiedName(key)) return Unparsable(term);
    for (const std::string& value : requirement.values) {
      if (!IsLabelValue(value)) return Unparsable(term);
    }
    requirement.key = key;
    requirements.push_back(std::move(requirement));
    if (requirements.size() > 1000) return BadRequestError("label selector is too long");
  }
  return requirements;
}

absl::StatusOr<Selector> Selector::Parse(std::string_view labels, std::string_view fields,
                                         const Kind& kind, const KindVersion& version) {
  Selector selector;
  ASSIGN_OR_RETURN(selector.labels_, ParseLabels(labels));
  std::string_view rest = Trim(fields);
  while (!rest.empty()) {
    const std::string_view term = NextTerm(rest);
    const size_t equals = term.find('=');
    if (equals == std::string_view::npos) {
      return BadRequestError(
          absl::StrFormat("invalid field selector: %s: can't understand '%s'", fields, term));
    }
    Requirement requirement;
    const bool differs = equals > 0 && term[equals - 1] == '!';
    requirement.op = differs ? Operator::kNotEquals : Operator::kEquals;
    requirement.key = Trim(term.substr(0, differs ? equals - 1 : equals));
    std::string_view value = term.substr(equals + 1);
    if (value.starts_with('=')) value.remove_prefix(1);
    requirement.values.emplace(Trim(value));
    const bool known = requirement.key == "metadata.name" ||
                       (requirement.key == "metadata.namespace" && kind.namespaced) ||
                       std::ranges::count(version.selectable_fields, requirement.key) > 0;
    if (!known) {
      return BadRequestError(absl::StrFormat("field label not supported: %s", requirement.key));
    }
    if (requirement.key == "metadata.name" && !differs) {
      selector.name_ = *requirement.values.begin();
    }
    // Stored in the core form.
    if (kind.plural == "events" && requirement.key.starts_with("regarding.")) {
      requirement.key = "involvedObject." + requirement.key.substr(10);
    }
    if (kind.plural == "events" && requirement.key == "reportingController") {
      requirement.key = "reportingComponent";
    }
    selector.fields_.push_back(std::move(requirement));
  }
  return selector;
}

bool Selector::Matches(const boost::json::value& object) const {
  if (!labels_.empty()) {
    const boost::json::value* found = kube::FindPath(object, {"metadata", "labels"});
    const boost::json::object* labels = found == nullptr ? nullptr : found->if_object();
    for (const Requirement& requirement : labels_) {
      const boost::json::value* value =
          labels == nullptr ? nullptr : labels->if_contains(requirement.key);
      const boost::json::string* text = value == nullptr ? nullptr : value->if_string();
      const bool listed = text != nullptr && requirement.values.contains(View(*text));
      switch (requirement.op) {
        case Operator::kEquals:
        case Operator::kIn:
          if (!listed) return false;
          break;
        case Operator::kNotEquals:
        case Operator::kNotIn:
          if (listed) return false;
          break;
        case Operator::kExists:
          if (value == nullptr) return false;
          break;
        case Operator::kAbsent:
          if (value != nullptr) return false;
          break;
      }
    }
  }
  return std::ranges::all_of(fields_, [&object](const Requirement& requirement) {
    const bool equal = requirement.values.contains(FieldText(object, requirement.key));
    return equal == (requirement.op == Operator::kEquals);
  });
}

std::string FieldText(const boost::json::value& object, std::string_view path) {
  if (path == "source") return std::string(kube::StringAt(object, {"source", "component"}));
  const boost::json::value* at = &object;
  while (!path.empty()) {
    const size_t dot = path.find('.');
    const boost::json::object* members = at->if_object();
    at = members == nullptr ? nullptr : members->if_contains(path.substr(0, dot));
    if (at == nullptr) return "";
    path = dot == std::string_view::npos ? "" : path.substr(dot + 1);
  }
  if (const boost::json::string* text = at->if_string()) return std::string(View(*text));
  if (at->is_null() || at->is_structured()) return "";
  return boost::json::serialize(*at);
}

}  // namespace local_cluster

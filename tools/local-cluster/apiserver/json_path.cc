#include "local-cluster/apiserver/json_path.h"

#include <charconv>
#include <utility>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/status_macros.h"
#include "local-cluster/apiserver/selectors.h"

namespace local_cluster {
namespace {

absl::Status Unsupported(std::string_view text) {
  return absl::InvalidArgumentError(absl::StrFormat("unsupported JSONPath %s", text));
}

bool IsQuoted(std::string_view text) {
  return text.size() >= 2 && (text.front() == '\'' || text.front() == '"') &&
         text.back() == text.front();
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

// The index behind the bracket that closes the one at 0; npos if none does.
size_t EndOfBracket(std::string_view text) {
  char quote = 0;
  for (size_t i = 1; i < text.size(); ++i) {
    if (quote != 0) {
      if (text[i] == quote) quote = 0;
    } else if (text[i] == '\'' || text[i] == '"') {
      quote = text[i];
    } else if (text[i] == ']') {
      return i + 1;
    }
  }
  return std::string_view::npos;
}

}  // namespace

absl::StatusOr<JsonPath::Step> JsonPath::ParseBracket(std::string_view inside) {
  Step step;
  inside = Trim(inside);
  if (inside == "*") {
    step.type = StepType::kAll;
    return step;
  }
  if (IsQuoted(inside)) {
    step.name = inside.substr(1, inside.size() - 2);
    return step;
  }
  if (inside.starts_with("?(") && inside.ends_with(")")) {
    const std::string_view filter = inside.substr(2, inside.size() - 3);
    size_t op = filter.find("==");
    step.differs = op == std::string_view::npos;
    if (step.differs) op = filter.find("!=");
    if (op == std::string_view::npos) return Unsupported(inside);
    const std::string_view path = Trim(filter.substr(0, op));
    const std::string_view literal = Trim(filter.substr(op + 2));
    if (!path.starts_with("@.") || literal.empty()) return Unsupported(inside);
    step.type = StepType::kFilter;
    step.name = path.substr(2);
    step.literal = IsQuoted(literal) ? literal.substr(1, literal.size() - 2) : literal;
    return step;
  }
  step.type = StepType::kIndex;
  const auto [end, error] =
      std::from_chars(inside.data(), inside.data() + inside.size(), step.index);
  if (error != std::errc() || end != inside.data() + inside.size()) return Unsupported(inside);
  return step;
}

absl::StatusOr<JsonPath> JsonPath::Parse(std::string_view text) {
  JsonPath path;
  std::string_view rest = text;
  if (rest.starts_with("{") && rest.ends_with("}")) rest = rest.substr(1, rest.size() - 2);
  if (rest.starts_with("$")) rest.remove_prefix(1);
  while (!rest.empty()) {
    if (rest.front() == '[') {
      const size_t end = EndOfBracket(rest);
      if (end == std::string_view::npos) return Unsupported(text);
      ASSIGN_OR_RETURN(Step step, ParseBracket(rest.substr(1, end - 2)));
      path.steps_.push_back(std::move(step));
      rest.remove_prefix(end);
      continue;
    }
    if (rest.front() != '.') return Unsupported(text);
    rest.remove_prefix(1);
    Step step;
    while (!rest.empty() && rest.front() != '.' && rest.front() != '[') {
      if (rest.front() == '\\' && rest.size() > 1) rest.remove_prefix(1);
      step.name += rest.front();
      rest.remove_prefix(1);
    }
    if (step.name.empty()) {
      if (rest.starts_with("[") || rest.empty()) continue;
      return Unsupported(text);  // "..": recursive descent.
    }
    if (step.name == "*") step.type = StepType::kAll;
    path.steps_.push_back(std::move(step));
    if (path.steps_.size() > 64) return Unsupported(text);
  }
  return path;
}

const boost::json::value* JsonPath::FindFirst(const boost::json::value& root) const {
  return Walk(root, 0);
}

const boost::json::value* JsonPath::Walk(const boost::json::value& value, size_t at) const {
  if (at == steps_.size()) return &value;
  const Step& step = steps_[at];
  if (step.type == StepType::kMember) {
    const boost::json::object* object = value.if_object();
    const boost::json::value* member = object == nullptr ? nullptr : object->if_contains(step.name);
    return member == nullptr ? nullptr : Walk(*member, at + 1);
  }
  if (step.type == StepType::kAll && value.is_object()) {
    for (const auto& member : value.get_object()) {
      if (const boost::json::value* found = Walk(member.value(), at + 1)) return found;
    }
    return nullptr;
  }
  const boost::json::array* array = value.if_array();
  if (array == nullptr) return nullptr;
  if (step.type == StepType::kIndex) {
    const int64_t size = static_cast<int64_t>(array->size());
    const int64_t index = step.index < 0 ? size + step.index : step.index;
    return index < 0 || index >= size ? nullptr : Walk((*array)[index], at + 1);
  }
  for (const boost::json::value& element : *array) {
    if (step.type == StepType::kFilter &&
        (FieldText(element, step.name) == step.literal) == step.differs) {
      continue;
    }
    if (const boost::json::value* found = Walk(element, at + 1)) return found;
  }
  return nullptr;
}

}  // namespace local_cluster

#include "local-cluster/apiserver/cel/check.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"

#include "common/base/status_macros.h"
#include "local-cluster/apiserver/cel/regex.h"

namespace local_cluster::cel {
namespace {

// What is known of a value: its schema, or nothing.
using Known = const Schema*;

std::string Unescaped(std::string name) {
  static constexpr std::pair<std::string_view, std::string_view> kEscapes[] = {
      {"__underscores__", "__"}, {"__dot__", "."}, {"__dash__", "-"}, {"__slash__", "/"}};
  for (const auto& [escaped, plain] : kEscapes) {
    for (size_t at = name.find(escaped); at != std::string::npos; at = name.find(escaped)) {
      name.replace(at, escaped.size(), plain);
    }
  }
  // "__namespace__": a word that CEL keeps for itself.
  if (name.size() > 4 && name.starts_with("__") && name.ends_with("__")) {
    name = name.substr(2, name.size() - 4);
  }
  return name;
}

class Checker {
 public:
  Checker(const Schema& self, bool& uses_old) : self_(self), uses_old_(uses_old) {}

  absl::StatusOr<Known> Visit(Node& node) {
    switch (node.type) {
      case NodeType::kLiteral:
        return Known(nullptr);
      case NodeType::kVariable:
        return Variable(node);
      case NodeType::kSelect:
      case NodeType::kHas:
        return Select(node);
      case NodeType::kIndex: {
        ASSIGN_OR_RETURN(const Known whole, Visit(*node.children[0]));
        RETURN_IF_ERROR(Visit(*node.children[1]).status());
        if (whole == nullptr) return whole;
        return whole->type == SchemaType::kArray ? whole->items : whole->additional;
      }
      case NodeType::kMacro:
        return Macro(node);
      default:
        break;
    }
    for (auto& child : node.children) RETURN_IF_ERROR(Visit(*child).status());
    if (node.name == "matches" || node.name == "find") RETURN_IF_ERROR(Pattern(*node.children[1]));
    return Known(nullptr);
  }

 private:
  absl::StatusOr<Known> Variable(const Node& node) {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      if (scope->first == node.name) return scope->second;
    }
    if (node.name == "self") return &self_;
    if (node.name == "oldSelf") {
      uses_old_ = true;
      return &self_;
    }
    return absl::InvalidArgumentError(absl::StrFormat(
        "ERROR: <input>:1:1: undeclared reference to '%s' (in container '')", node.name));
  }

  absl::StatusOr<Known> Select(Node& node) {
    ASSIGN_OR_RETURN(const Known whole, Visit(*node.children[0]));
    node.name = Unescaped(node.name);
    if (whole == nullptr || whole->type == SchemaType::kAny) return Known(nullptr);
    if (whole->type != SchemaType::kObject) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "ERROR: <input>:1:1: type does not support field selection: %s", node.name));
    }
    if (const Property* property = whole->Find(node.name)) return property->schema;
    if (whole->additional != nullptr) return whole->additional;
    if (whole->preserve_unknown || whole->embedded_resource) return Known(nullptr);
    return absl::InvalidArgumentError(
        absl::StrFormat("ERROR: <input>:1:1: undefined field '%s'", node.name));
  }

  absl::StatusOr<Known> Macro(Node& node) {
    ASSIGN_OR_RETURN(const Known whole, Visit(*node.children[0]));
    const bool list = whole != nullptr && whole->type == SchemaType::kArray;
    const Known element = list ? whole->items : nullptr;
    scopes_.emplace_back(node.variable, element);
    for (size_t i = 1; i < node.children.size(); ++i) {
      RETURN_IF_ERROR(Visit(*node.children[i]).status());
    }
    scopes_.pop_back();
    return node.name == "filter" ? whole : nullptr;
  }

  static absl::Status Pattern(const Node& argument) {
    const std::string* text = argument.value.if_string();
    if (argument.type != NodeType::kLiteral || text == nullptr) return absl::OkStatus();
    return Regex::Compile(*text).status();
  }

  const Schema& self_;
  bool& uses_old_;
  std::vector<std::pair<std::string, Known>> scopes_;
};

}  // namespace

absl::Status Check(Node& root, const Schema& self, bool& uses_old) {
  return Checker(self, uses_old).Visit(root).status();
}

}  // namespace local_cluster::cel

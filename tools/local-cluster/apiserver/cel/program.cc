#include "local-cluster/apiserver/cel/program.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/status_macros.h"
#include "local-cluster/apiserver/cel/check.h"
#include "local-cluster/apiserver/cel/functions.h"
#include "local-cluster/apiserver/cel/node.h"

namespace local_cluster::cel {
namespace {

absl::Status NoSuchKey(std::string_view key) {
  return absl::InvalidArgumentError(absl::StrFormat("no such key: %s", key));
}

class Evaluation {
 public:
  Evaluation(const boost::json::value& self, const boost::json::value* old_self, int64_t& budget)
      : self_(self), old_self_(old_self), budget_(budget) {}

  absl::StatusOr<Value> Of(const Node& node) {
    if (--budget_ < 0) {
      return absl::ResourceExhaustedError("operation cancelled: actual cost limit exceeded");
    }
    switch (node.type) {
      case NodeType::kLiteral:
        return node.value;
      case NodeType::kVariable:
        return Variable(node.name);
      case NodeType::kSelect:
      case NodeType::kHas:
        return Select(node);
      case NodeType::kIndex:
        return Index(node);
      case NodeType::kCall:
        return Call(node);
      case NodeType::kList:
        return ListOf(node);
      case NodeType::kMap:
        return MapOf(node);
      case NodeType::kMacro:
        return Macro(node);
    }
    return absl::InternalError("unknown node");
  }

 private:
  absl::StatusOr<Value> Variable(const std::string& name) {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      if (*scope->first == name) return scope->second;
    }
    if (name == "self") return FromJson(self_);
    if (old_self_ == nullptr) return absl::InvalidArgumentError("no such attribute: oldSelf");
    return FromJson(*old_self_);
  }

  absl::StatusOr<Value> Select(const Node& node) {
    ASSIGN_OR_RETURN(const Value whole, Of(*node.children[0]));
    const bool has = node.type == NodeType::kHas;
    if (!whole.is_map()) {
      return absl::InvalidArgumentError(
          absl::StrFormat("no such key: %s (in %s)", node.name, whole.type_name()));
    }
    bool found = false;
    Value member = MemberOf(whole, Value{node.name}, found);
    if (has) return Value{found && !member.is_null()};
    if (!found) return NoSuchKey(node.name);
    return member;
  }

  absl::StatusOr<Value> Index(const Node& node) {
    ASSIGN_OR_RETURN(const Value whole, Of(*node.children[0]));
    ASSIGN_OR_RETURN(const Value index, Of(*node.children[1]));
    if (whole.is_map()) {
      bool found = false;
      Value member = MemberOf(whole, index, found);
      if (!found) return NoSuchKey(index.if_string() == nullptr ? "?" : *index.if_string());
      return member;
    }
    if (!whole.is_list() || index.if_int() == nullptr) {
      return absl::InvalidArgumentError("no such overload: _[_]");
    }
    if (*index.if_int() < 0 || static_cast<size_t>(*index.if_int()) >= SizeOf(whole)) {
      return absl::InvalidArgumentError(
          absl::StrFormat("index out of bounds: %d", *index.if_int()));
    }
    return ElementAt(whole, static_cast<size_t>(*index.if_int()));
  }

  absl::StatusOr<bool> Truth(const Node& node) {
    ASSIGN_OR_RETURN(const Value value, Of(node));
    if (value.if_bool() == nullptr) return absl::InvalidArgumentError("no such overload: not bool");
    return *value.if_bool();
  }

  // An operand that decides makes up for an error of the other one.
  absl::StatusOr<Value> Logic(const Node& node, bool decides) {
    const absl::StatusOr<bool> left = Truth(*node.children[0]);
    if (left.ok() && *left == decides) return Value{decides};
    const absl::StatusOr<bool> right = Truth(*node.children[1]);
    if (right.ok() && *right == decides) return Value{decides};
    if (!left.ok()) return left.status();
    if (!right.ok()) return right.status();
    return Value{!decides};
  }

  absl::StatusOr<Value> Call(const Node& node) {
    if (node.name == "_&&_") return Logic(node, false);
    if (node.name == "_||_") return Logic(node, true);
    if (node.name == "_?_:_") {
      ASSIGN_OR_RETURN(const bool condition, Truth(*node.children[0]));
      return Of(*node.children[condition ? 1 : 2]);
    }
    std::vector<Value> arguments;
    for (const auto& child : node.children) {
      ASSIGN_OR_RETURN(Value argument, Of(*child));
      if (argument.is_list() || argument.is_map()) {
        budget_ -= static_cast<int64_t>(SizeOf(argument));
      } else if (argument.if_string() != nullptr) {
        budget_ -= static_cast<int64_t>(argument.if_string()->size() / 10);
      }
      arguments.push_back(std::move(argument));
    }
    return CallFunction(node.name, arguments);
  }

  absl::StatusOr<Value> ListOf(const Node& node) {
    List list;
    for (const auto& child : node.children) {
      ASSIGN_OR_RETURN(Value element, Of(*child));
      list.push_back(std::move(element));
    }
    return Value{std::make_shared<const List>(std::move(list))};
  }

  absl::StatusOr<Value> MapOf(const Node& node) {
    Map map;
    for (size_t i = 0; i + 1 < node.children.size(); i += 2) {
      ASSIGN_OR_RETURN(Value key, Of(*node.children[i]));
      ASSIGN_OR_RETURN(Value value, Of(*node.children[i + 1]));
      map.emplace_back(std::move(key), std::move(value));
    }
    return Value{std::make_shared<const Map>(std::move(map))};
  }

  absl::StatusOr<Value> Macro(const Node& node) {
    ASSIGN_OR_RETURN(const Value range, Of(*node.children[0]));
    List elements;
    if (range.is_list()) {
      for (size_t i = 0; i < SizeOf(range); ++i) elements.push_back(ElementAt(range, i));
    } else if (range.is_map()) {
      elements = KeysOf(range);
    } else {
      return absl::InvalidArgumentError(absl::StrFormat("no such overload: %s", node.name));
    }
    scopes_.emplace_back(&node.variable, Value());
    absl::StatusOr<Value> result = node.name == "map" || node.name == "filter"
                                       ? Collect(node, elements)
                                       : Quantify(node, elements);
    scopes_.pop_back();
    return result;
  }

  absl::StatusOr<Value> Collect(const Node& node, const List& elements) {
    List list;
    const bool transforms = node.name == "map";
    const Node* filter =
        !transforms || node.children.size() == 3 ? node.children[1].get() : nullptr;
    for (const Value& element : elements) {
      scopes_.back().second = element;
      if (filter != nullptr) {
        ASSIGN_OR_RETURN(const bool wanted, Truth(*filter));
        if (!wanted) continue;
      }
      if (!transforms) {
        list.push_back(element);
        continue;
      }
      ASSIGN_OR_RETURN(Value mapped, Of(*node.children.back()));
      list.push_back(std::move(mapped));
    }
    return Value{std::make_shared<const List>(std::move(list))};
  }

  absl::StatusOr<Value> Quantify(const Node& node, const List& elements) {
    std::optional<absl::Status> failure;
    int64_t count = 0;
    for (const Value& element : elements) {
      scopes_.back().second = element;
      const absl::StatusOr<bool> holds = Truth(*node.children[1]);
      if (!holds.ok()) {
        if (node.name == "exists_one" || absl::IsResourceExhausted(holds.status())) {
          return holds.status();
        }
        if (!failure) failure = holds.status();
        continue;
      }
      if (node.name == "all" && !*holds) return Value{false};
      if (node.name == "exists" && *holds) return Value{true};
      count += *holds ? 1 : 0;
    }
    if (failure) return *failure;
    if (node.name == "exists_one") return Value{count == 1};
    return Value{node.name == "all"};
  }

  const boost::json::value& self_;
  const boost::json::value* old_self_;
  int64_t& budget_;
  std::vector<std::pair<const std::string*, Value>> scopes_;
};

}  // namespace

Program::Program(std::unique_ptr<Node> root) : root_(std::move(root)) {}
Program::~Program() = default;

absl::StatusOr<std::shared_ptr<const Program>> Program::Compile(std::string_view text,
                                                                const Schema& self) {
  ASSIGN_OR_RETURN(std::unique_ptr<Node> root, Parse(text));
  auto program = std::shared_ptr<Program>(new Program(std::move(root)));
  RETURN_IF_ERROR(Check(*program->root_, self, program->uses_old_));
  return std::shared_ptr<const Program>(std::move(program));
}

absl::StatusOr<bool> Program::Holds(const boost::json::value& self,
                                    const boost::json::value* old_self, int64_t& budget) const {
  ASSIGN_OR_RETURN(const Value value, Evaluation(self, old_self, budget).Of(*root_));
  if (value.if_bool() == nullptr) return absl::InvalidArgumentError("cel expression must be bool");
  return *value.if_bool();
}

absl::StatusOr<std::string> Program::Text(const boost::json::value& self,
                                          const boost::json::value* old_self,
                                          int64_t& budget) const {
  ASSIGN_OR_RETURN(const Value value, Evaluation(self, old_self, budget).Of(*root_));
  if (value.if_string() == nullptr) {
    return absl::InvalidArgumentError("messageExpression must be a string");
  }
  return *value.if_string();
}

}  // namespace local_cluster::cel

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"

#include "common/base/status_macros.h"
#include "local-cluster/apiserver/cel/lexer.h"
#include "local-cluster/apiserver/cel/node.h"

namespace local_cluster::cel {
namespace {

constexpr size_t kTextMax = 32 << 10;
constexpr int kDepthMax = 64;

using NodePtr = std::unique_ptr<Node>;

NodePtr Call(std::string name, NodePtr a, NodePtr b = nullptr, NodePtr c = nullptr) {
  auto node = std::make_unique<Node>();
  node->type = NodeType::kCall;
  node->name = std::move(name);
  node->children.push_back(std::move(a));
  if (b != nullptr) node->children.push_back(std::move(b));
  if (c != nullptr) node->children.push_back(std::move(c));
  return node;
}

NodePtr Literal(Value value) {
  auto node = std::make_unique<Node>();
  node->value = std::move(value);
  return node;
}

bool IsMacro(std::string_view name) {
  return name == "all" || name == "exists" || name == "exists_one" || name == "map" ||
         name == "filter";
}

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  absl::StatusOr<NodePtr> Run() {
    ASSIGN_OR_RETURN(NodePtr root, Ternary());
    if (Peek().type != TokenType::kEnd) return Unexpected();
    return root;
  }

 private:
  class Deeper {
   public:
    explicit Deeper(int& depth) : depth_(++depth) {}
    ~Deeper() { --depth_; }

   private:
    int& depth_;
  };

  const Token& Peek() const { return tokens_[at_]; }
  bool Is(std::string_view op) const {
    return Peek().type == TokenType::kOperator && Peek().text == op;
  }
  bool Take(std::string_view op) {
    if (!Is(op)) return false;
    ++at_;
    return true;
  }
  absl::Status Expect(std::string_view op) { return Take(op) ? absl::OkStatus() : Unexpected(); }
  absl::Status Unexpected() const {
    const Token& token = Peek();
    return absl::InvalidArgumentError(absl::StrFormat(
        "ERROR: <input>:1:%d: Syntax error: unexpected %s", token.offset + 1,
        token.type == TokenType::kEnd ? std::string("end") : "'" + token.text + "'"));
  }

  absl::StatusOr<NodePtr> Ternary() {
    const Deeper deeper(depth_);
    if (depth_ > kDepthMax) return absl::InvalidArgumentError("expression is nested too deeply");
    ASSIGN_OR_RETURN(NodePtr condition, Binary(0));
    if (!Take("?")) return condition;
    ASSIGN_OR_RETURN(NodePtr yes, Ternary());
    RETURN_IF_ERROR(Expect(":"));
    ASSIGN_OR_RETURN(NodePtr no, Ternary());
    return Call("_?_:_", std::move(condition), std::move(yes), std::move(no));
  }

  // Loosest first.
  std::string BinaryOperator(int level) const {
    static constexpr std::string_view kLevels[][7] = {
        {"||"}, {"&&"}, {"==", "!=", "<", "<=", ">", ">=", "in"}, {"+", "-"}, {"*", "/", "%"}};
    if (Peek().type != TokenType::kOperator && Peek().type != TokenType::kIdentifier) return "";
    for (const std::string_view op : kLevels[level]) {
      if (!op.empty() && Peek().text == op) return std::string(op);
    }
    return "";
  }

  absl::StatusOr<NodePtr> Binary(int level) {
    if (level == 5) return Unary();
    ASSIGN_OR_RETURN(NodePtr left, Binary(level + 1));
    for (std::string op = BinaryOperator(level); !op.empty(); op = BinaryOperator(level)) {
      ++at_;
      ASSIGN_OR_RETURN(NodePtr right, Binary(level + 1));
      left = Call("_" + op + "_", std::move(left), std::move(right));
      if (++operators_ > 10'000) return absl::InvalidArgumentError("expression is too long");
    }
    return left;
  }

  absl::StatusOr<NodePtr> Unary() {
    const Deeper deeper(depth_);
    if (depth_ > kDepthMax) return absl::InvalidArgumentError("expression is nested too deeply");
    if (Take("!")) {
      ASSIGN_OR_RETURN(NodePtr operand, Unary());
      return Call("!_", std::move(operand));
    }
    if (Take("-")) {
      ASSIGN_OR_RETURN(NodePtr operand, Unary());
      return Call("-_", std::move(operand));
    }
    ASSIGN_OR_RETURN(NodePtr value, Primary());
    return Postfix(std::move(value));
  }

  absl::StatusOr<NodePtr> Postfix(NodePtr value) {
    while (true) {
      if (Take("[")) {
        ASSIGN_OR_RETURN(NodePtr index, Ternary());
        RETURN_IF_ERROR(Expect("]"));
        auto node = std::make_unique<Node>();
        node->type = NodeType::kIndex;
        node->children.push_back(std::move(value));
        node->children.push_back(std::move(index));
        value = std::move(node);
      } else if (Take(".")) {
        if (Peek().type != TokenType::kIdentifier) return Unexpected();
        const std::string name = tokens_[at_++].text;
        if (Take("(")) {
          ASSIGN_OR_RETURN(value, Method(std::move(value), name));
        } else {
          auto node = std::make_unique<Node>();
          node->type = NodeType::kSelect;
          node->name = name;
          node->children.push_back(std::move(value));
          value = std::move(node);
        }
      } else {
        return value;
      }
    }
  }

  absl::StatusOr<std::vector<NodePtr>> Arguments(std::string_view close) {
    std::vector<NodePtr> arguments;
    if (Take(close)) return arguments;
    while (true) {
      ASSIGN_OR_RETURN(NodePtr argument, Ternary());
      arguments.push_back(std::move(argument));
      if (Take(close)) return arguments;
      RETURN_IF_ERROR(Expect(","));
      if (Take(close)) return arguments;
    }
  }

  absl::StatusOr<NodePtr> Method(NodePtr receiver, const std::string& name) {
    ASSIGN_OR_RETURN(std::vector<NodePtr> arguments, Arguments(")"));
    auto node = std::make_unique<Node>();
    node->name = name;
    node->children.push_back(std::move(receiver));
    const bool macro = IsMacro(name) && arguments.size() >= 2 && arguments.size() <= 3 &&
                       arguments[0]->type == NodeType::kVariable;
    if (macro) {
      if (arguments.size() == 3 && name != "map") return Undeclared(name);
      node->type = NodeType::kMacro;
      node->variable = arguments[0]->name;
      arguments.erase(arguments.begin());
    } else {
      node->type = NodeType::kCall;
      node->method = true;
    }
    for (NodePtr& argument : arguments) node->children.push_back(std::move(argument));
    if (!macro && !IsFunction(name, node->children.size(), true)) return Undeclared(name);
    return node;
  }

  static absl::Status Undeclared(std::string_view name) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "ERROR: <input>:1:1: undeclared reference to '%s' (in container '')", name));
  }

  absl::StatusOr<NodePtr> Global(const std::string& name) {
    ASSIGN_OR_RETURN(std::vector<NodePtr> arguments, Arguments(")"));
    auto node = std::make_unique<Node>();
    if (name == "has") {
      if (arguments.size() != 1 || arguments[0]->type != NodeType::kSelect) {
        return absl::InvalidArgumentError("invalid argument to has() macro");
      }
      arguments[0]->type = NodeType::kHas;
      return std::move(arguments[0]);
    }
    if (!IsFunction(name, arguments.size(), false)) return Undeclared(name);
    node->type = NodeType::kCall;
    node->name = name;
    node->children = std::move(arguments);
    return node;
  }

  absl::StatusOr<NodePtr> Primary() {
    const Token token = Peek();
    ++at_;
    switch (token.type) {
      case TokenType::kString:
        return Literal({token.text});
      case TokenType::kInteger:
        return Literal({token.integer});
      case TokenType::kDouble:
        return Literal({token.number});
      case TokenType::kIdentifier:
        return Identifier(token.text);
      default:
        break;
    }
    --at_;
    if (Take("(")) {
      ASSIGN_OR_RETURN(NodePtr inner, Ternary());
      RETURN_IF_ERROR(Expect(")"));
      return inner;
    }
    if (Take("[")) {
      auto node = std::make_unique<Node>();
      node->type = NodeType::kList;
      ASSIGN_OR_RETURN(node->children, Arguments("]"));
      return node;
    }
    if (Take("{")) return MapLiteral();
    return Unexpected();
  }

  absl::StatusOr<NodePtr> Identifier(const std::string& name) {
    if (name == "true" || name == "false") return Literal({name == "true"});
    if (name == "null") return Literal({});
    if (Take("(")) return Global(name);
    auto node = std::make_unique<Node>();
    node->type = NodeType::kVariable;
    node->name = name;
    return node;
  }

  absl::StatusOr<NodePtr> MapLiteral() {
    auto node = std::make_unique<Node>();
    node->type = NodeType::kMap;
    if (Take("}")) return node;
    while (true) {
      ASSIGN_OR_RETURN(NodePtr key, Ternary());
      RETURN_IF_ERROR(Expect(":"));
      ASSIGN_OR_RETURN(NodePtr value, Ternary());
      node->children.push_back(std::move(key));
      node->children.push_back(std::move(value));
      if (Take("}")) return node;
      RETURN_IF_ERROR(Expect(","));
    }
  }

  const std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0;
  int operators_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Node>> Parse(std::string_view text) {
  if (text.size() > kTextMax) return absl::InvalidArgumentError("expression is too long");
  ASSIGN_OR_RETURN(std::vector<Token> tokens, Tokenize(text));
  return Parser(std::move(tokens)).Run();
}

}  // namespace local_cluster::cel

// The syntax tree of an expression.

#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "local-cluster/apiserver/cel/value.h"

namespace local_cluster::cel {

enum class NodeType {
  kLiteral,   // value
  kVariable,  // name
  kSelect,    // children[0].name
  kHas,       // has(children[0].name)
  kIndex,     // children[0][children[1]]
  kCall,      // name(children…); with `method`, children[0] is the receiver
  kList,      // [children…]
  kMap,       // {children[0]: children[1], …}
  kMacro,     // children[0].name(variable, children[1] [, children[2]])
};

struct Node {
  NodeType type = NodeType::kLiteral;
  std::string name;  // Operators are calls with names like "_&&_".
  std::string variable;
  Value value;
  bool method = false;
  std::vector<std::unique_ptr<Node>> children;
};

// kInvalidArgument names the place. Depth and length are limited.
absl::StatusOr<std::unique_ptr<Node>> Parse(std::string_view text);

// Whether a function of that name and number of arguments (a method's receiver included) exists.
bool IsFunction(std::string_view name, size_t arguments, bool method);

}  // namespace local_cluster::cel

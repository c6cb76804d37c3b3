// Template source → tree.

#pragma once

#include <string_view>

#include "absl/status/statusor.h"

#include "common/llm/jinja/ast.h"

namespace llm::jinja {

// kInvalidArgument with the line. Nesting is limited, so that no input exhausts the stack.
absl::StatusOr<Body> Parse(std::string_view source);

}  // namespace llm::jinja

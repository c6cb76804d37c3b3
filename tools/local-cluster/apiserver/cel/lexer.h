// The words of an expression.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace local_cluster::cel {

enum class TokenType { kEnd, kIdentifier, kString, kInteger, kDouble, kOperator };

struct Token {
  TokenType type = TokenType::kEnd;
  std::string text;  // Of strings: unescaped.
  int64_t integer = 0;
  double number = 0;
  size_t offset = 0;
};

// All tokens and a kEnd. kInvalidArgument names the column.
absl::StatusOr<std::vector<Token>> Tokenize(std::string_view text);

}  // namespace local_cluster::cel

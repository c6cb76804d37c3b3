// Template source → tokens, with Jinja's rules for white space around tags applied.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace llm::jinja {

enum class TokenKind {
  kData,         // Text between tags.
  kOutputBegin,  // {{
  kOutputEnd,
  kBlockBegin,  // {%
  kBlockEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text;  // Of strings: with escapes resolved.
  int line = 1;
};

// trim_blocks and lstrip_blocks are on, as for all chat templates. The last token is kEnd.
absl::StatusOr<std::vector<Token>> Tokenize(std::string_view source);

}  // namespace llm::jinja

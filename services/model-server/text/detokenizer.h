// Tokens as they come → text that ends on character boundaries.

#pragma once

#include <cstdint>
#include <string>

#include "common/llm/tokenizer.h"
#include "common/llm/unicode.h"

namespace model_server {

// Owned by one thread. `tokenizer` must outlive it.
class Detokenizer {
 public:
  Detokenizer(const llm::Tokenizer& tokenizer, bool keep_specials)
      : tokenizer_(tokenizer), keep_specials_(keep_specials) {}

  // The text that is complete with this token; "" while a character is not.
  std::string Append(int32_t token) {
    if (!keep_specials_ && tokenizer_.IsSpecial(token)) return "";
    return stream_.Append(tokenizer_.TokenBytes(token));
  }

  // U+FFFD if a character never became complete.
  std::string Finish() { return stream_.Finish(); }

 private:
  const llm::Tokenizer& tokenizer_;
  const bool keep_specials_;
  llm::Utf8Stream stream_;
};

}  // namespace model_server

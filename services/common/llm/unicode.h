// UTF-8 in and out, and the few classes of characters that tokenizers distinguish.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace llm {

inline constexpr char32_t kReplacementCharacter = 0xFFFD;

struct CodePoint {
  char32_t value = kReplacementCharacter;
  size_t bytes = 1;  // Of the character, or of the longest part that cannot be one.
  bool valid = false;
  bool incomplete = false;  // Not valid, but more bytes could make it so.
};

// The character that begins at `at`, which must be inside `text`. What is invalid is cut as
// Unicode recommends: the longest start of a character counts as one error.
CodePoint DecodeUtf8(std::string_view text, size_t at);

void AppendUtf8(char32_t value, std::string& out);

// `text` with each invalid part replaced by U+FFFD.
std::string ToValidUtf8(std::string_view text);
bool IsValidUtf8(std::string_view text);

// Bytes that arrive in pieces cut anywhere → text that ends on character boundaries.
//
// Owned by one thread.
class Utf8Stream {
 public:
  // The text that is complete now. Invalid parts come out as U+FFFD; a start of a character waits.
  std::string Append(std::string_view bytes);

  // What waited: "" or U+FFFD. The stream is then as new.
  std::string Finish();

  bool waiting() const { return !pending_.empty(); }

 private:
  std::string pending_;  // At most three bytes.
};

enum class CharacterClass : uint8_t { kLetter, kNumber, kSpace, kOther };

// \p{L}, \p{N}, \s (White_Space), or none of them.
CharacterClass ClassOf(char32_t value);

}  // namespace llm

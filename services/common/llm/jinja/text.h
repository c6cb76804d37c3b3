// Strings of a template, which never forget what the user wrote.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/llm/text_segment.h"

namespace llm::jinja {

// A string that knows of each byte whether the template wrote it or it came in from outside.
// Cutting and joining keep that, so that at the end the user's "<|im_end|>" can be told from the
// template's.
class Text {
 public:
  Text() = default;
  Text(std::string_view bytes, bool from_template)
      : bytes_(bytes), marks_(bytes.size(), from_template ? '\1' : '\0') {}

  const std::string& bytes() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  bool from_template(size_t at) const { return marks_[at] != 0; }

  void Append(const Text& other) {
    bytes_ += other.bytes_;
    marks_ += other.marks_;
  }
  void Append(std::string_view bytes, bool from_template) {
    bytes_ += bytes;
    marks_.append(bytes.size(), from_template ? '\1' : '\0');
  }

  Text Cut(size_t at, size_t bytes = std::string::npos) const {
    Text part;
    part.bytes_ = bytes_.substr(at, bytes);
    part.marks_ = marks_.substr(at, bytes);
    return part;
  }

  // Neighbouring bytes of one origin together.
  std::vector<TextSegment> Segments() const;

 private:
  std::string bytes_;
  std::string marks_;  // As long as bytes_.
};

// A string's parts by Python's rules: whitespace for an empty `separator`, else exactly that one.
std::vector<Text> Split(const Text& text, std::string_view separator, int splits_max);

// Without the characters of `characters` (whitespace when empty) at its ends.
Text Strip(const Text& text, std::string_view characters, bool left, bool right);

// The first `count_max` occurrences of `from`; all when negative.
Text Replace(const Text& text, std::string_view from, const Text& to, int count_max);

enum class LetterCase { kUpper, kLower, kTitle, kCapitalize };
Text WithCase(const Text& text, LetterCase letter_case);

// Where each character begins, and the size of the text: offsets for slices by characters.
std::vector<size_t> CharacterOffsets(std::string_view text);

}  // namespace llm::jinja

// What a prompt is made of before it is tokenized.

#pragma once

#include <string>

namespace llm {

// A piece of a prompt.
struct TextSegment {
  std::string text;
  bool from_template = false;  // Special tokens written in it are meant; elsewhere they are text.

  bool operator==(const TextSegment&) const = default;
};

}  // namespace llm

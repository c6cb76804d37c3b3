#include "common/llm/pre_tokenizer.h"

#include <array>
#include <utility>

#include "common/llm/unicode.h"

namespace llm {
namespace {

struct Character {
  CharacterClass kind = CharacterClass::kOther;
  size_t bytes = 0;
};

Character CharacterAt(std::string_view text, size_t at) {
  const CodePoint c = DecodeUtf8(text, at);
  if (!c.valid) return {.kind = CharacterClass::kOther, .bytes = 1};
  return {.kind = ClassOf(c.value), .bytes = c.bytes};
}

// The end of the run of characters of one kind that begins at `at`.
size_t EndOfRun(std::string_view text, size_t at, CharacterClass kind) {
  while (at < text.size()) {
    const Character c = CharacterAt(text, at);
    if (c.kind != kind) break;
    at += c.bytes;
  }
  return at;
}

// The bytes of 's, 't, 're, 've, 'm, 'll or 'd at `at`, or 0.
size_t Contraction(std::string_view text, size_t at) {
  static constexpr std::array<std::string_view, 7> kEndings = {"'s", "'t",  "'re", "'ve",
                                                               "'m", "'ll", "'d"};
  for (const std::string_view ending : kEndings) {
    if (text.substr(at, ending.size()) == ending) return ending.size();
  }
  return 0;
}

// \s+(?!\S)|\s+ at `at`, which is a space: all of the run, but its last character is left to the
// word that follows.
size_t EndOfSpaces(std::string_view text, size_t at) {
  size_t last = at;
  size_t end = at;
  while (end < text.size()) {
    const Character c = CharacterAt(text, end);
    if (c.kind != CharacterClass::kSpace) return last > at ? last : end;
    last = end;
    end += c.bytes;
  }
  return end;
}

size_t EndOfGpt2Word(std::string_view text, size_t at) {
  if (text[at] == '\'') {
    if (const size_t bytes = Contraction(text, at); bytes > 0) return at + bytes;
  }
  size_t begin = at;
  if (text[at] == ' ' && at + 1 < text.size()) begin = at + 1;
  const Character c = CharacterAt(text, begin);
  if (c.kind != CharacterClass::kSpace) return EndOfRun(text, begin, c.kind);
  return EndOfSpaces(text, at);
}

// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
void SplitGpt2(std::string_view text, std::vector<std::string_view>& words) {
  for (size_t at = 0; at < text.size();) {
    const size_t end = EndOfGpt2Word(text, at);
    words.push_back(text.substr(at, end - at));
    at = end;
  }
}

// Each \p{N} alone, and what lies between as GPT-2 does.
void SplitSmolLm(std::string_view text, std::vector<std::string_view>& words) {
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const Character c = CharacterAt(text, at);
    if (c.kind == CharacterClass::kNumber) {
      SplitGpt2(text.substr(begin, at - begin), words);
      words.push_back(text.substr(at, c.bytes));
      begin = at + c.bytes;
    }
    at += c.bytes;
  }
  SplitGpt2(text.substr(begin), words);
}

}  // namespace

PreTokenizer FindPreTokenizer(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, PreTokenizer>, 2> kKnown = {{
      {"gpt-2", SplitGpt2},
      {"smollm", SplitSmolLm},
  }};
  for (const auto& [known, split] : kKnown) {
    if (known == name) return split;
  }
  return nullptr;
}

}  // namespace llm

#include "common/llm/jinja/text.h"

#include <unicode/uchar.h>

#include "common/llm/unicode.h"

namespace llm::jinja {
namespace {

// str.isspace(): also the four separators that Unicode calls control characters.
bool IsPythonSpace(char32_t c) {
  return ClassOf(c) == CharacterClass::kSpace || (c >= 0x1C && c <= 0x1F);
}

bool Contains(std::string_view characters, char32_t value) {
  for (size_t at = 0; at < characters.size();) {
    const CodePoint c = DecodeUtf8(characters, at);
    if (c.value == value) return true;
    at += c.bytes;
  }
  return false;
}

std::vector<Text> SplitAtSpaces(const Text& text, int splits_max) {
  std::vector<Text> parts;
  const std::string& bytes = text.bytes();
  size_t at = 0;
  const auto skip = [&](bool spaces) {
    while (at < bytes.size()) {
      const CodePoint c = DecodeUtf8(bytes, at);
      if (IsPythonSpace(c.value) != spaces) break;
      at += c.bytes;
    }
  };
  for (skip(true); at < bytes.size(); skip(true)) {
    const size_t begin = at;
    if (splits_max >= 0 && static_cast<int>(parts.size()) == splits_max) {
      parts.push_back(Strip(text.Cut(begin), "", false, true));
      break;
    }
    skip(false);
    parts.push_back(text.Cut(begin, at - begin));
  }
  return parts;
}

}  // namespace

std::vector<TextSegment> Text::Segments() const {
  std::vector<TextSegment> segments;
  for (size_t at = 0; at < size();) {
    size_t end = marks_.find(marks_[at] == 0 ? '\1' : '\0', at);
    if (end == std::string::npos) end = size();
    segments.push_back({.text = bytes_.substr(at, end - at), .from_template = from_template(at)});
    at = end;
  }
  return segments;
}

std::vector<Text> Split(const Text& text, std::string_view separator, int splits_max) {
  if (separator.empty()) return SplitAtSpaces(text, splits_max);
  std::vector<Text> parts;
  size_t at = 0;
  while (splits_max < 0 || static_cast<int>(parts.size()) < splits_max) {
    const size_t found = text.bytes().find(separator, at);
    if (found == std::string::npos) break;
    parts.push_back(text.Cut(at, found - at));
    at = found + separator.size();
  }
  parts.push_back(text.Cut(at));
  return parts;
}

Text Strip(const Text& text, std::string_view characters, bool left, bool right) {
  const std::string& bytes = text.bytes();
  const auto goes = [&](char32_t c) {
    return characters.empty() ? IsPythonSpace(c) : Contains(characters, c);
  };
  size_t begin = 0;
  while (left && begin < bytes.size()) {
    const CodePoint c = DecodeUtf8(bytes, begin);
    if (!goes(c.value)) break;
    begin += c.bytes;
  }
  size_t end = bytes.size();
  while (right && end > begin) {
    size_t last = end - 1;
    while (last > begin && (static_cast<unsigned char>(bytes[last]) & 0xC0) == 0x80) --last;
    if (!goes(DecodeUtf8(bytes, last).value)) break;
    end = last;
  }
  return text.Cut(begin, end - begin);
}

Text Replace(const Text& text, std::string_view from, const Text& to, int count_max) {
  Text out;
  size_t at = 0;
  int count = 0;
  while (!from.empty() && (count_max < 0 || count < count_max)) {
    const size_t found = text.bytes().find(from, at);
    if (found == std::string::npos) break;
    out.Append(text.Cut(at, found - at));
    out.Append(to);
    at = found + from.size();
    ++count;
  }
  out.Append(text.Cut(at));
  return out;
}

Text WithCase(const Text& text, LetterCase letter_case) {
  Text out;
  bool word_begins = true;
  std::string character;
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = DecodeUtf8(text.bytes(), at);
    const bool is_first = letter_case == LetterCase::kTitle ? word_begins : at == 0;
    const bool upper =
        letter_case == LetterCase::kUpper || (letter_case != LetterCase::kLower && is_first);
    const auto value = static_cast<UChar32>(c.value);
    character.clear();
    AppendUtf8(static_cast<char32_t>(upper ? u_toupper(value) : u_tolower(value)), character);
    out.Append(c.valid ? character : text.bytes().substr(at, c.bytes), text.from_template(at));
    word_begins = ClassOf(c.value) != CharacterClass::kLetter;
    at += c.bytes;
  }
  return out;
}

std::vector<size_t> CharacterOffsets(std::string_view text) {
  std::vector<size_t> offsets;
  for (size_t at = 0; at < text.size(); at += DecodeUtf8(text, at).bytes) offsets.push_back(at);
  offsets.push_back(text.size());
  return offsets;
}

}  // namespace llm::jinja

#include "common/llm/unicode.h"

#include <array>

#include <unicode/uchar.h>

namespace llm {
namespace {

// What may follow a lead byte: how many bytes in all, and the range of the second one. That range
// is narrower where it keeps out overlong forms, surrogates and values beyond U+10FFFF.
struct Lead {
  size_t bytes = 0;  // 0: no lead byte.
  unsigned char second_min = 0x80;
  unsigned char second_max = 0xBF;
};

Lead LeadOf(unsigned char byte) {
  if (byte >= 0xC2 && byte <= 0xDF) return {.bytes = 2};
  if (byte == 0xE0) return {.bytes = 3, .second_min = 0xA0};
  if (byte == 0xED) return {.bytes = 3, .second_max = 0x9F};
  if (byte >= 0xE1 && byte <= 0xEF) return {.bytes = 3};
  if (byte == 0xF0) return {.bytes = 4, .second_min = 0x90};
  if (byte == 0xF4) return {.bytes = 4, .second_max = 0x8F};
  if (byte >= 0xF1 && byte <= 0xF3) return {.bytes = 4};
  return {};
}

CharacterClass ClassFromIcu(char32_t value) {
  const auto c = static_cast<UChar32>(value);
  if (u_isUWhiteSpace(c)) return CharacterClass::kSpace;
  const uint32_t mask = U_MASK(u_charType(c));
  if (mask & U_GC_L_MASK) return CharacterClass::kLetter;
  if (mask & U_GC_N_MASK) return CharacterClass::kNumber;
  return CharacterClass::kOther;
}

}  // namespace

CodePoint DecodeUtf8(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return {.value = first, .bytes = 1, .valid = true};
  const Lead lead = LeadOf(first);
  if (lead.bytes == 0) return {};

  char32_t value = first & (0x7F >> lead.bytes);
  for (size_t i = 1; i < lead.bytes; ++i) {
    if (at + i >= text.size()) return {.bytes = i, .incomplete = true};
    const unsigned char next = byte(i);
    const unsigned char min = i == 1 ? lead.second_min : 0x80;
    const unsigned char max = i == 1 ? lead.second_max : 0xBF;
    if (next < min || next > max) return {.bytes = i};
    value = (value << 6) | (next & 0x3F);
  }
  return {.value = value, .bytes = lead.bytes, .valid = true};
}

void AppendUtf8(char32_t value, std::string& out) {
  if (value < 0x80) {
    out += static_cast<char>(value);
  } else if (value < 0x800) {
    out += static_cast<char>(0xC0 | (value >> 6));
    out += static_cast<char>(0x80 | (value & 0x3F));
  } else if (value < 0x10000) {
    out += static_cast<char>(0xE0 | (value >> 12));
    out += static_cast<char>(0x80 | ((value >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (value & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (value >> 18));
    out += static_cast<char>(0x80 | ((value >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((value >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (value & 0x3F));
  }
}

std::string ToValidUtf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = DecodeUtf8(text, at);
    if (c.valid) {
      out += text.substr(at, c.bytes);
    } else {
      AppendUtf8(kReplacementCharacter, out);
    }
    at += c.bytes;
  }
  return out;
}

bool IsValidUtf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = DecodeUtf8(text, at);
    if (!c.valid) return false;
    at += c.bytes;
  }
  return true;
}

std::string Utf8Stream::Append(std::string_view bytes) {
  std::string all = std::move(pending_);
  pending_.clear();
  all += bytes;
  std::string out;
  out.reserve(all.size());
  for (size_t at = 0; at < all.size();) {
    const CodePoint c = DecodeUtf8(all, at);
    if (c.incomplete) {
      pending_ = all.substr(at);
      break;
    }
    if (c.valid) {
      out.append(all, at, c.bytes);
    } else {
      AppendUtf8(kReplacementCharacter, out);
    }
    at += c.bytes;
  }
  return out;
}

std::string Utf8Stream::Finish() {
  std::string out;
  if (!pending_.empty()) AppendUtf8(kReplacementCharacter, out);
  pending_.clear();
  return out;
}

CharacterClass ClassOf(char32_t value) {
  static const std::array<CharacterClass, 128> kAscii = [] {
    std::array<CharacterClass, 128> classes{};
    for (char32_t c = 0; c < 128; ++c) classes[c] = ClassFromIcu(c);
    return classes;
  }();
  return value < 128 ? kAscii[value] : ClassFromIcu(value);
}

}  // namespace llm

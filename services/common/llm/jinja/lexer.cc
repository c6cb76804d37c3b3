#include "common/llm/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "absl/strings/str_format.h"

#include "common/base/status_macros.h"
#include "common/llm/unicode.h"

namespace llm::jinja {
namespace {

bool IsSpace(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
}
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsNameStart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80) != 0;
}

// Lines end with \n alone, and one at the very end is dropped.
std::string Normalize(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      if (i + 1 < source.size() && source[i + 1] == '\n') continue;
      out += '\n';
    } else {
      out += source[i];
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(Normalize(source)) {}

  absl::StatusOr<std::vector<Token>> Run() {
    while (at_ < source_.size()) {
      const size_t tag = FindTag(at_);
      AddData(at_, tag);
      if (tag == std::string::npos) break;
      at_ = tag;
      switch (source_[at_ + 1]) {
        case '#':
          RETURN_IF_ERROR(SkipComment());
          break;
        case '{':
          RETURN_IF_ERROR(LexTag(TokenKind::kOutputBegin, TokenKind::kOutputEnd, "}}"));
          break;
        default:
          RETURN_IF_ERROR(LexBlock());
      }
    }
    Add(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  absl::Status Error(std::string_view what) const {
    return absl::InvalidArgumentError(absl::StrFormat("template line %d: %s", line_, what));
  }

  void Add(TokenKind kind, std::string text) {
    tokens_.push_back({.kind = kind, .text = std::move(text), .line = line_});
  }

  void Advance(size_t to) {
    line_ += static_cast<int>(std::count(source_.begin() + at_, source_.begin() + to, '\n'));
    at_ = to;
  }

  size_t FindTag(size_t from) const {
    for (size_t at = source_.find('{', from); at != std::string::npos;
         at = source_.find('{', at + 1)) {
      const char next = at + 1 < source_.size() ? source_[at + 1] : '\0';
      if (next == '{' || next == '%' || next == '#') return at;
    }
    return std::string::npos;
  }

  // Text before a tag. A '-' in the tag takes all white space before it; blocks and comments alone
  // on their line take their indentation, unless they begin with '+'.
  void AddData(size_t begin, size_t tag) {
    size_t end = tag == std::string::npos ? source_.size() : tag;
    if (tag != std::string::npos) {
      const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
      if (sign == '-') {
        while (end > begin && IsSpace(source_[end - 1])) --end;
      } else if (sign != '+' && source_[tag + 1] != '{') {
        size_t line_begin = end;
        while (line_begin > begin && source_[line_begin - 1] != '\n' &&
               IsSpace(source_[line_begin - 1])) {
          --line_begin;
        }
        const bool at_line_start = line_begin == 0 || source_[line_begin - 1] == '\n';
        if (at_line_start) end = line_begin;
      }
    }
    if (end > begin) Add(TokenKind::kData, source_.substr(begin, end - begin));
    Advance(tag == std::string::npos ? source_.size() : tag);
  }

  // White space after a tag: '-' takes all, blocks and comments the line break that follows.
  void EndTag(size_t close, size_t size, bool trims_newline) {
    const char sign = source_[close - 1];
    size_t next = close + size;
    if (sign == '-') {
      while (next < source_.size() && IsSpace(source_[next])) ++next;
    } else if (trims_newline && sign != '+' && next < source_.size() && source_[next] == '\n') {
      ++next;
    }
    Advance(next);
  }

  absl::Status SkipComment() {
    const size_t close = source_.find("#}", at_ + 2);
    if (close == std::string::npos) return Error("a comment does not end");
    EndTag(close, 2, true);
    return absl::OkStatus();
  }

  absl::Status LexBlock() {
    size_t word = at_ + 2;
    if (word < source_.size() && (source_[word] == '-' || source_[word] == '+')) ++word;
    while (word < source_.size() && IsSpace(source_[word])) ++word;
    if (source_.compare(word, 3, "raw") != 0 ||
        (word + 3 < source_.size() && IsNameStart(source_[word + 3]))) {
      return LexTag(TokenKind::kBlockBegin, TokenKind::kBlockEnd, "%}");
    }
    const size_t close = source_.find("%}", word);
    if (close == std::string::npos) return Error("a {% raw %} tag does not end");
    EndTag(close, 2, true);
    for (size_t tag = source_.find("{%", at_); tag != std::string::npos;
         tag = source_.find("{%", tag + 2)) {
      word = tag + 2;
      if (word < source_.size() && (source_[word] == '-' || source_[word] == '+')) ++word;
      while (word < source_.size() && IsSpace(source_[word])) ++word;
      const size_t end = source_.find("%}", word);
      if (source_.compare(word, 6, "endraw") != 0 || end == std::string::npos) continue;
      AddData(at_, tag);
      EndTag(end, 2, true);
      return absl::OkStatus();
    }
    return Error("{% raw %} without {% endraw %}");
  }

  absl::Status LexTag(TokenKind begin, TokenKind end, std::string_view close) {
    Add(begin, "");
    size_t next = at_ + 2;
    if (next < source_.size() && (source_[next] == '-' || source_[next] == '+')) ++next;
    Advance(next);
    std::string brackets;  // Those that are open: inside them "}}" ends two dicts, not the tag.
    while (true) {
      while (at_ < source_.size() && IsSpace(source_[at_])) Advance(at_ + 1);
      if (at_ >= source_.size()) return Error("a tag does not end");
      if (brackets.empty() && ClosesHere(close)) {
        Add(end, "");
        const size_t sign = source_[at_] == close[0] ? 0 : 1;
        EndTag(at_ + sign, 2, close[0] == '%');
        return absl::OkStatus();
      }
      RETURN_IF_ERROR(LexToken(brackets));
    }
  }

  bool ClosesHere(std::string_view close) const {
    if (source_.compare(at_, 2, close) == 0) return true;
    return (source_[at_] == '-' || source_[at_] == '+') && source_.compare(at_ + 1, 2, close) == 0;
  }

  absl::Status LexToken(std::string& brackets) {
    const char c = source_[at_];
    if (IsNameStart(c)) {
      size_t end = at_;
      while (end < source_.size() && (IsNameStart(source_[end]) || IsDigit(source_[end]))) ++end;
      Add(TokenKind::kName, source_.substr(at_, end - at_));
      Advance(end);
      return absl::OkStatus();
    }
    if (IsDigit(c)) return LexNumber();
    if (c == '"' || c == '\'') return LexString(c);
    return LexOperator(brackets);
  }

  absl::Status LexNumber() {
    size_t end = at_;
    std::string digits;
    bool is_float = false;
    const auto take = [&] {
      for (; end < source_.size() && (IsDigit(source_[end]) || source_[end] == '_'); ++end) {
        if (source_[end] != '_') digits += source_[end];
      }
    };
    take();
    if (end + 1 < source_.size() && source_[end] == '.' && IsDigit(source_[end + 1])) {
      is_float = true;
      digits += source_[end++];
      take();
    }
    if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      size_t exponent = end + 1;
      if (exponent < source_.size() && (source_[exponent] == '-' || source_[exponent] == '+')) {
        ++exponent;
      }
      if (exponent < source_.size() && IsDigit(source_[exponent])) {
        is_float = true;
        digits += source_.substr(end, exponent - end);
        end = exponent;
        take();
      }
    }
    if (digits.size() > 40) return Error("a number is too long");
    Add(is_float ? TokenKind::kFloat : TokenKind::kInteger, digits);
    Advance(end);
    return absl::OkStatus();
  }

  absl::Status LexString(char quote) {
    std::string text;
    size_t at = at_ + 1;
    for (; at < source_.size() && source_[at] != quote; ++at) {
      if (source_[at] != '\\') {
        text += source_[at];
        continue;
      }
      if (++at >= source_.size()) break;
      if (!Unescape(at, text)) return Error("a bad escape in a string");
    }
    if (at >= source_.size()) return Error("a string does not end");
    Add(TokenKind::kString, std::move(text));
    Advance(at + 1);
    return absl::OkStatus();
  }

  // `at` is the character after the backslash, and afterwards the last one of the escape.
  bool Unescape(size_t& at, std::string& text) const {
    static constexpr std::string_view kLetters = "ntr\\'\"bfv0\n";
    static constexpr std::string_view kMeanings("\n\t\r\\'\"\b\f\v\0\0", 11);
    const char c = source_[at];
    const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits > 0) {
      char32_t value = 0;
      for (size_t i = 0; i < digits; ++i) {
        if (++at >= source_.size() || !std::isxdigit(static_cast<unsigned char>(source_[at]))) {
          return false;
        }
        const char digit = source_[at];
        value = value * 16 + (IsDigit(digit) ? digit - '0' : (digit | 0x20) - 'a' + 10);
      }
      if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) return false;
      AppendUtf8(value, text);
      return true;
    }
    const size_t known = kLetters.find(c);
    if (known == std::string_view::npos) {
      text += '\\';
      text += c;
    } else if (c != '\n') {
      text += kMeanings[known];
    }
    return true;
  }

  absl::Status LexOperator(std::string& brackets) {
    static constexpr std::array<std::string_view, 6> kLong = {"**", "//", "==", "!=", "<=", ">="};
    static constexpr std::string_view kShort = "+-*/%~<>=()[]{}.,:|";
    for (const std::string_view op : kLong) {
      if (source_.compare(at_, 2, op) != 0) continue;
      Add(TokenKind::kOperator, std::string(op));
      Advance(at_ + 2);
      return absl::OkStatus();
    }
    const char c = source_[at_];
    if (kShort.find(c) == std::string_view::npos) {
      return Error(absl::StrFormat("unexpected character '%c'", c));
    }
    if (c == '(' || c == '[' || c == '{') brackets += c;
    if (c == ')' || c == ']' || c == '}') {
      const char open = c == ')' ? '(' : c == ']' ? '[' : '{';
      if (brackets.empty() || brackets.back() != open) {
        return Error(absl::StrFormat("unexpected '%c'", c));
      }
      brackets.pop_back();
    }
    Add(TokenKind::kOperator, std::string(1, c));
    Advance(at_ + 1);
    return absl::OkStatus();
  }

  const std::string source_;
  size_t at_ = 0;
  int line_ = 1;
  std::vector<Token> tokens_;
};

}  // namespace

absl::StatusOr<std::vector<Token>> Tokenize(std::string_view source) { return Lexer(source).Run(); }

}  // namespace llm::jinja

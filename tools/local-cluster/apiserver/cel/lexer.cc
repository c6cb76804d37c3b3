#include "local-cluster/apiserver/cel/lexer.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "absl/strings/str_format.h"

#include "common/base/status_macros.h"

namespace local_cluster::cel {
namespace {

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

absl::Status ErrorAt(size_t offset, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrFormat("ERROR: <input>:1:%d: %s", offset + 1, what));
}

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  absl::StatusOr<std::vector<Token>> Run() {
    std::vector<Token> tokens;
    while (true) {
      SkipBlanks();
      Token token;
      token.offset = at_;
      if (at_ == text_.size()) {
        tokens.push_back(std::move(token));
        return tokens;
      }
      RETURN_IF_ERROR(Read(token));
      tokens.push_back(std::move(token));
    }
  }

 private:
  void SkipBlanks() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
        ++at_;
      } else if (text_.substr(at_).starts_with("//")) {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else {
        return;
      }
    }
  }

  char Peek(size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }

  absl::Status Read(Token& token) {
    const char c = Peek();
    if (c == '"' || c == '\'') return ReadString(token, false);
    if ((c == 'r' || c == 'R') && (Peek(1) == '"' || Peek(1) == '\'')) {
      ++at_;
      return ReadString(token, true);
    }
    if (IsDigit(c)) return ReadNumber(token);
    if (IsLetter(c)) {
      const size_t start = at_;
      while (IsLetter(Peek()) || IsDigit(Peek())) ++at_;
      token.type = TokenType::kIdentifier;
      token.text = text_.substr(start, at_ - start);
      return absl::OkStatus();
    }
    for (const std::string_view op : {"&&", "||", "==", "!=", "<=", ">="}) {
      if (text_.substr(at_).starts_with(op)) return Operator(token, op.size());
    }
    if (std::string_view("+-*/%!<>?:.,()[]{}").find(c) != std::string_view::npos) {
      return Operator(token, 1);
    }
    return ErrorAt(at_, absl::StrFormat("token recognition error at: '%c'", c));
  }

  absl::Status Operator(Token& token, size_t size) {
    token.type = TokenType::kOperator;
    token.text = text_.substr(at_, size);
    at_ += size;
    return absl::OkStatus();
  }

  absl::Status ReadNumber(Token& token) {
    const size_t start = at_;
    while (IsDigit(Peek())) ++at_;
    bool fraction = false;
    if (Peek() == '.' && IsDigit(Peek(1))) {
      fraction = true;
      ++at_;
      while (IsDigit(Peek())) ++at_;
    }
    if (Peek() == 'e' || Peek() == 'E') {
      fraction = true;
      ++at_;
      if (Peek() == '+' || Peek() == '-') ++at_;
      while (IsDigit(Peek())) ++at_;
    }
    const std::string_view text = text_.substr(start, at_ - start);
    const char* end = text.data() + text.size();
    token.type = fraction ? TokenType::kDouble : TokenType::kInteger;
    const auto result = fraction ? std::from_chars(text.data(), end, token.number)
                                 : std::from_chars(text.data(), end, token.integer);
    if (result.ec != std::errc() || result.ptr != end || IsLetter(Peek())) {
      return ErrorAt(start, "invalid number");
    }
    return absl::OkStatus();
  }

  absl::Status ReadString(Token& token, bool raw) {
    const size_t start = at_;
    const char quote = Peek();
    ++at_;
    token.type = TokenType::kString;
    while (true) {
      if (at_ == text_.size()) return ErrorAt(start, "string without end");
      const char c = text_[at_++];
      if (c == quote) return absl::OkStatus();
      if (c != '\\' || raw) {
        token.text += c;
        continue;
      }
      if (at_ == text_.size()) return ErrorAt(start, "string without end");
      RETURN_IF_ERROR(Unescape(text_[at_++], token.text));
    }
  }

  absl::Status Unescape(char c, std::string& out) {
    constexpr std::string_view kFrom = "abfnrtv\\'\"`?";
    constexpr std::string_view kTo = "\a\b\f\n\r\t\v\\'\"`?";
    if (const size_t index = kFrom.find(c); index != std::string_view::npos) {
      out += kTo[index];
      return absl::OkStatus();
    }
    const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 0;
    unsigned code = 0;
    if (digits == 0 || at_ + digits > text_.size()) return ErrorAt(at_, "unknown escape");
    const char* first = text_.data() + at_;
    const auto [end, error] = std::from_chars(first, first + digits, code, 16);
    if (error != std::errc() || end != first + digits) return ErrorAt(at_, "unknown escape");
    at_ += digits;
    if (code < 0x80) {
      out += static_cast<char>(code);
    } else if (code < 0x800) {
      out += static_cast<char>(0xC0U | code >> 6U);
      out += static_cast<char>(0x80U | (code & 0x3FU));
    } else {
      out += static_cast<char>(0xE0U | code >> 12U);
      out += static_cast<char>(0x80U | (code >> 6U & 0x3FU));
      out += static_cast<char>(0x80U | (code & 0x3FU));
    }
    return absl::OkStatus();
  }

  const std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

absl::StatusOr<std::vector<Token>> Tokenize(std::string_view text) { return Lexer(text).Run(); }

}  // namespace local_cluster::cel

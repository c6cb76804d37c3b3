#include "common/net/http_wire.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"

namespace net {
namespace {

constexpr size_t kChunkLineMax = 1024;  // Size and extensions.
constexpr size_t kTrailerMax = 8 << 10;

// RFC 9110, 5.6.2.
bool IsTokenCharacter(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

bool IsToken(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, IsTokenCharacter);
}

bool IsVisible(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte > 0x20 && byte != 0x7f;
}

bool IsFieldCharacter(char c) { return IsVisible(c) || c == ' ' || c == '\t'; }

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// One of a field's comma-separated words, without case.
bool HasWord(const Headers& headers, std::string_view name, std::string_view word) {
  for (std::string_view value : headers.FindAll(name)) {
    while (!value.empty()) {
      const size_t comma = std::min(value.find(','), value.size());
      const std::string_view item = Trim(value.substr(0, comma));
      if (absl::EqualsIgnoreCase({item.data(), item.size()}, {word.data(), word.size()}))
        return true;
      value.remove_prefix(std::min(comma + 1, value.size()));
    }
  }
  return false;
}

std::optional<uint64_t> ParseLength(std::string_view text) {
  uint64_t length = 0;
  // from_chars would take "-1"; a length has digits only.
  if (text.empty() || !absl::ascii_isdigit(static_cast<unsigned char>(text[0]))) return {};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return length;
}

void AppendFields(const Headers& headers, std::string* out) {
  const auto clean = [](std::string_view text, std::string* to) {
    for (const char c : text) to->push_back(IsFieldCharacter(c) ? c : ' ');
  };
  for (const auto& [name, value] : headers) {
    clean(name, out);
    out->append(": ");
    clean(value, out);
    out->append("\r\n");
  }
  out->append("\r\n");
}

}  // namespace

HeadState HeadReader::Fail(int status, std::string message) {
  error_ = {status, std::move(message)};
  return HeadState::kError;
}

HeadState HeadReader::Read(std::string_view buffer, bool head_request) {
  head_request_ = head_request;
  // Clients may send empty lines before a request (RFC 9112, 2.2).
  size_t start = 0;
  while (buffer.substr(start, 2) == "\r\n" && start < 8) start += 2;
  const std::string_view text = buffer.substr(start);

  for (size_t i = scanned_; i < text.size(); ++i) {
    if (text[i] != '\n') continue;
    if (i == 0 || text[i - 1] != '\r') return Fail(400, "a line ends without a carriage return");
    if (i >= 3 && text[i - 2] == '\n') {
      if (i + 1 > limits_.head_bytes_max) return Fail(431, "the header block is too large");
      consumed_ = start + i + 1;
      return Parse(text.substr(0, i - 1));
    }
  }
  scanned_ = text.size();
  if (text.size() > limits_.head_bytes_max) return Fail(431, "the header block is too large");
  if (text.size() > limits_.start_line_bytes_max && text.find('\n') == std::string_view::npos) {
    return Fail(431, "the request line is too long");
  }
  return HeadState::kIncomplete;
}

// `text` is the start line and the fields, each with its CRLF.
HeadState HeadReader::Parse(std::string_view text) {
  const size_t line_end = text.find("\r\n");
  const std::string_view start_line = text.substr(0, line_end);
  if (start_line.size() > limits_.start_line_bytes_max) {
    return Fail(431, "the request line is too long");
  }
  const bool start_ok =
      kind_ == Kind::kRequest ? ParseRequestLine(start_line) : ParseStatusLine(start_line);
  if (!start_ok) return HeadState::kError;
  text.remove_prefix(line_end + 2);
  for (int count = 1; !text.empty(); ++count) {
    if (count > limits_.fields_max) return Fail(431, "there are too many header fields");
    const size_t end = text.find("\r\n");
    if (!ParseField(text.substr(0, end))) return HeadState::kError;
    text.remove_prefix(end + 2);
  }
  if (kind_ == Kind::kRequest && !head_.http_1_0 && fields().FindAll("Host").size() != 1) {
    return Fail(400, "there must be one Host header");
  }
  if (!DecideFraming()) return HeadState::kError;
  DecideKeepAlive();
  head_.expects_continue = HasWord(fields(), "Expect", "100-continue");
  return HeadState::kComplete;
}

bool HeadReader::ParseVersion(std::string_view text) {
  if (text == "HTTP/1.1" || text == "HTTP/1.0") {
    head_.http_1_0 = text.back() == '0';
    return true;
  }
  if (text.starts_with("HTTP/")) {
    Fail(505, "only HTTP/1.1 and HTTP/1.0 are spoken");
  } else {
    Fail(400, "the start line is malformed");
  }
  return false;
}

bool HeadReader::ParseRequestLine(std::string_view line) {
  const size_t first = line.find(' ');
  const size_t second = first == std::string_view::npos ? first : line.find(' ', first + 1);
  if (second == std::string_view::npos) {
    Fail(400, "the request line is malformed");
    return false;
  }
  const std::string_view method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, second - first - 1);
  if (!IsToken(method) || target.empty() || !std::ranges::all_of(target, IsVisible) ||
      (target.front() != '/' && target != "*")) {
    Fail(400, "the request line is malformed");
    return false;
  }
  head_.request.method = std::string(method);
  head_.request.target = std::string(target);
  return ParseVersion(line.substr(second + 1));
}

bool HeadReader::ParseStatusLine(std::string_view line) {
  const size_t space = std::min(line.find(' '), line.size());
  if (!ParseVersion(line.substr(0, space))) return false;
  const std::string_view code = line.substr(std::min(space + 1, line.size())).substr(0, 3);
  const auto status = ParseLength(code);
  if (code.size() != 3 || !status || *status < 100) {
    Fail(400, "the status line is malformed");
    return false;
  }
  head_.response.status = static_cast<int>(*status);
  return true;
}

bool HeadReader::ParseField(std::string_view line) {
  const size_t colon = line.find(':');
  // A line that begins with a space would continue the one before ("folded"): not a token.
  if (colon == std::string_view::npos || !IsToken(line.substr(0, colon))) {
    Fail(400, "a header field is malformed");
    return false;
  }
  const std::string_view value = Trim(line.substr(colon + 1));
  if (!std::ranges::all_of(value, IsFieldCharacter)) {
    Fail(400, "a header field has control characters");
    return false;
  }
  fields().Add(std::string(line.substr(0, colon)), std::string(value));
  return true;
}

bool HeadReader::DecideFraming() {
  const auto lengths = fields().FindAll("Content-Length");
  const auto codings = fields().FindAll("Transfer-Encoding");
  if (lengths.size() > 1 || (!lengths.empty() && !codings.empty())) {
    Fail(400, "the length of the body is ambiguous");
    return false;
  }
  std::optional<uint64_t> length;
  if (!lengths.empty()) {
    length = ParseLength(lengths[0]);
    if (!length) {
      Fail(400, "Content-Length is no number");
      return false;
    }
  }
  if (!codings.empty()) {
    const std::string_view coding = codings[0];
    if (codings.size() > 1 || head_.http_1_0 ||
        !absl::EqualsIgnoreCase({coding.data(), coding.size()}, "chunked")) {
      Fail(kind_ == Kind::kRequest && codings.size() == 1 ? 501 : 400,
           "only the transfer coding \"chunked\" is spoken");
      return false;
    }
  }
  const int status = head_.response.status;
  if (kind_ == Kind::kResponse &&
      (head_request_ || status < 200 || status == 204 || status == 304)) {
    head_.framing = Framing::kNone;
  } else if (!codings.empty()) {
    head_.framing = Framing::kChunked;
  } else if (length) {
    head_.framing = *length == 0 ? Framing::kNone : Framing::kLength;
    head_.content_length = *length;
  } else {
    head_.framing = kind_ == Kind::kRequest ? Framing::kNone : Framing::kUntilClose;
  }
  return true;
}

void HeadReader::DecideKeepAlive() {
  head_.keep_alive = head_.http_1_0 ? HasWord(fields(), "Connection", "keep-alive")
                                    : !HasWord(fields(), "Connection", "close");
  if (head_.framing == Framing::kUntilClose) head_.keep_alive = false;
}

BodyReader::BodyReader(Framing framing, uint64_t content_length) : left_(content_length) {
  switch (framing) {
    case Framing::kNone:
      state_ = State::kDone;
      break;
    case Framing::kLength:
      state_ = State::kData;
      break;
    case Framing::kChunked:
      state_ = State::kChunkSize;
      break;
    case Framing::kUntilClose:
      state_ = State::kUntilClose;
      break;
  }
}

bool BodyReader::TakeLine(std::string_view data, size_t& used) {
  while (used < data.size()) {
    const char c = data[used++];
    const bool after_return = !line_.empty() && line_.back() == '\r';
    if (c == '\n' && after_return) {
      line_.pop_back();
      return true;
    }
    if (after_return || (c != '\r' && !IsFieldCharacter(c)) || line_.size() >= kChunkLineMax) {
      state_ = State::kFailed;
      return false;
    }
    line_.push_back(c);
  }
  return false;
}

void BodyReader::EndOfChunkSize() {
  const std::string_view text = Trim(std::string_view(line_).substr(0, line_.find(';')));
  uint64_t size = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), size, 16);
  if (text.empty() || text.front() == '-' || error != std::errc() ||
      end != text.data() + text.size()) {
    state_ = State::kFailed;
    return;
  }
  left_ = size;
  state_ = size == 0 ? State::kTrailer : State::kChunkData;
  line_.clear();
}

size_t BodyReader::Read(std::string_view data, std::string* body, uint64_t body_bytes_max) {
  size_t used = 0;
  while (used < data.size() && !done() && !failed() && !too_large_) {
    switch (state_) {
      case State::kData:
      case State::kChunkData:
      case State::kUntilClose: {
        uint64_t take = data.size() - used;
        if (state_ != State::kUntilClose) take = std::min(take, left_);
        if (take > body_bytes_max - std::min(total_, body_bytes_max)) {
          too_large_ = true;
          return used;
        }
        body->append(data.substr(used, take));
        used += take;
        total_ += take;
        if (state_ == State::kUntilClose) break;
        left_ -= take;
        if (left_ == 0) state_ = state_ == State::kData ? State::kDone : State::kChunkEnd;
        break;
      }
      case State::kChunkSize:
        if (TakeLine(data, used)) EndOfChunkSize();
        break;
      case State::kChunkEnd:
        if (!TakeLine(data, used)) break;
        state_ = line_.empty() ? State::kChunkSize : State::kFailed;
        line_.clear();
        break;
      case State::kTrailer:
        if (!TakeLine(data, used)) break;
        trailer_bytes_ += line_.size() + 2;
        if (line_.empty()) state_ = State::kDone;
        if (trailer_bytes_ > kTrailerMax) state_ = State::kFailed;
        line_.clear();
        break;
      case State::kDone:
      case State::kFailed:
        break;
    }
  }
  return used;
}

std::string WriteResponseHead(int status, const Headers& headers) {
  std::string out = absl::StrFormat("HTTP/1.1 %d %s\r\n", status, ReasonPhrase(status));
  AppendFields(headers, &out);
  return out;
}

std::string WriteRequestHead(std::string_view method, std::string_view target,
                             const Headers& headers) {
  std::string out = absl::StrFormat("%s %s HTTP/1.1\r\n", method, target);
  AppendFields(headers, &out);
  return out;
}

void AppendChunk(std::string_view data, std::string* out) {
  if (data.empty()) return;
  out->append(absl::StrFormat("%x\r\n", data.size()));
  out->append(data);
  out->append("\r\n");
}

}  // namespace net

#include "common/net/http.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"

namespace net {
namespace {

constexpr size_t kBodyShown = 200;  // Of an error body, in a Status message.

bool SameName(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) {
    return absl::ascii_tolower(static_cast<unsigned char>(x)) ==
           absl::ascii_tolower(static_cast<unsigned char>(y));
  });
}

bool IsUnreserved(unsigned char c) {
  return absl::ascii_isalnum(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Calls `visit(name, value)`, both decoded, for each pair until it returns false.
template <typename Visit>
void ForEachPair(std::string_view query, Visit visit) {
  while (!query.empty()) {
    const size_t end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    const size_t equals = std::min(pair.find('='), pair.size());
    const auto name = PercentDecode(pair.substr(0, equals), /*plus_is_space=*/true);
    const auto value =
        PercentDecode(equals < pair.size() ? pair.substr(equals + 1) : std::string_view(), true);
    if (name && value && !visit(*name, *value)) return;
  }
}

absl::StatusCode CodeFor(int status) {
  switch (status) {
    case 401:
      return absl::StatusCode::kUnauthenticated;
    case 403:
      return absl::StatusCode::kPermissionDenied;
    case 404:
      return absl::StatusCode::kNotFound;
    case 409:
      return absl::StatusCode::kAborted;
    case 410:
      return absl::StatusCode::kOutOfRange;
    case 429:
      return absl::StatusCode::kResourceExhausted;
    case 501:
      return absl::StatusCode::kUnimplemented;
    default:
      break;
  }
  if (status >= 500) return absl::StatusCode::kUnavailable;
  if (status >= 400) return absl::StatusCode::kInvalidArgument;
  return absl::StatusCode::kInternal;  // An answer of a kind that nobody asked for.
}

absl::Status BadUrl(std::string_view text, std::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrFormat("%s is no URL that can be used: %s", text.substr(0, kBodyShown), why));
}

// Fills in host and port from "host", "host:port", "[v6]" or "[v6]:port".
absl::Status ParseAuthority(std::string_view text, std::string_view authority, Url& url) {
  std::string_view port_text;
  if (!authority.empty() && authority.front() == '[') {
    const size_t bracket = authority.find(']');
    if (bracket == std::string_view::npos) return BadUrl(text, "a ']' is missing");
    url.host = std::string(authority.substr(1, bracket - 1));
    authority.remove_prefix(bracket + 1);
    if (!authority.empty() && authority.front() != ':') return BadUrl(text, "text after ']'");
    if (!authority.empty()) port_text = authority.substr(1);
  } else {
    const size_t colon = authority.find(':');
    url.host = std::string(authority.substr(0, colon));
    if (colon != std::string_view::npos) port_text = authority.substr(colon + 1);
  }
  if (url.host.empty()) return BadUrl(text, "the host is missing");
  if (url.host.find_first_of(" \t\r\n\\") != std::string::npos) {
    return BadUrl(text, "the host has characters that no host has");
  }
  if (port_text.empty()) return absl::OkStatus();
  const auto [end, error] =
      std::from_chars(port_text.data(), port_text.data() + port_text.size(), url.port);
  if (error != std::errc() || end != port_text.data() + port_text.size() || url.port < 1 ||
      url.port > 65535) {
    return BadUrl(text, "the port is no number from 1 to 65535");
  }
  return absl::OkStatus();
}

}  // namespace

std::optional<std::string_view> Headers::Find(std::string_view name) const {
  for (const auto& [key, value] : fields_) {
    if (SameName(key, name)) return value;
  }
  return std::nullopt;
}

std::vector<std::string_view> Headers::FindAll(std::string_view name) const {
  std::vector<std::string_view> values;
  for (const auto& [key, value] : fields_) {
    if (SameName(key, name)) values.push_back(value);
  }
  return values;
}

void Headers::Add(std::string name, std::string value) {
  fields_.emplace_back(std::move(name), std::move(value));
}

void Headers::Set(std::string_view name, std::string value) {
  const auto it =
      std::ranges::find_if(fields_, [&](const auto& f) { return SameName(f.first, name); });
  if (it == fields_.end()) return Add(std::string(name), std::move(value));
  it->second = std::move(value);
  fields_.erase(std::remove_if(std::next(it), fields_.end(),
                               [&](const auto& field) { return SameName(field.first, name); }),
                fields_.end());
}

void Headers::Remove(std::string_view name) {
  std::erase_if(fields_, [&](const auto& field) { return SameName(field.first, name); });
}

std::string_view Request::path() const {
  return std::string_view(target).substr(0, target.find('?'));
}

std::string_view Request::query() const {
  const size_t mark = target.find('?');
  return mark == std::string::npos ? std::string_view() : std::string_view(target).substr(mark + 1);
}

std::optional<std::string> QueryParameter(std::string_view query, std::string_view name) {
  std::optional<std::string> found;
  ForEachPair(query, [&](const std::string& key, const std::string& value) {
    if (key == name) found = value;
    return !found.has_value();
  });
  return found;
}

std::vector<std::string> QueryParameters(std::string_view query, std::string_view name) {
  std::vector<std::string> found;
  ForEachPair(query, [&](const std::string& key, const std::string& value) {
    if (key == name) found.push_back(value);
    return true;
  });
  return found;
}

std::string PercentEncode(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (IsUnreserved(byte)) {
      out.push_back(c);
    } else {
      out.push_back('%');
      out.push_back(kDigits[byte >> 4]);
      out.push_back(kDigits[byte & 15]);
    }
  }
  return out;
}

std::optional<std::string> PercentDecode(std::string_view text, bool plus_is_space) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus_is_space) {
      out.push_back(' ');
    } else if (text[i] != '%') {
      out.push_back(text[i]);
    } else {
      if (i + 2 >= text.size()) return std::nullopt;
      const int high = HexValue(text[i + 1]);
      const int low = HexValue(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      out.push_back(static_cast<char>(high * 16 + low));
      i += 2;
    }
  }
  return out;
}

std::string Url::HostHeader() const {
  const std::string name =
      host.find(':') == std::string::npos ? host : absl::StrFormat("[%s]", host);
  const int default_port = scheme == "https" ? 443 : 80;
  return port == default_port ? name : absl::StrFormat("%s:%d", name, port);
}

absl::StatusOr<Url> ParseUrl(std::string_view text) {
  Url url;
  const size_t colon = text.find("://");
  if (colon == std::string_view::npos) return BadUrl(text, "it has no scheme");
  url.scheme = absl::AsciiStrToLower(std::string(text.substr(0, colon)));
  if (url.scheme != "http" && url.scheme != "https") {
    return BadUrl(text, "only http and https are spoken");
  }
  std::string_view rest = text.substr(colon + 3);
  const size_t end = std::min(rest.find_first_of("/?#"), rest.size());
  const std::string_view authority = rest.substr(0, end);
  if (authority.find('@') != std::string_view::npos) {
    return BadUrl("it", "credentials do not belong in a URL");
  }
  if (const absl::Status status = ParseAuthority(text, authority, url); !status.ok()) return status;
  if (url.port == 0) url.port = url.scheme == "https" ? 443 : 80;
  rest = rest.substr(end);
  rest = rest.substr(0, rest.find('#'));
  url.target = std::string(rest);
  if (url.target.empty() || url.target.front() != '/') url.target.insert(0, "/");
  return url;
}

absl::Status ToStatus(const Response& response, std::string_view what) {
  if (response.status >= 200 && response.status < 300) return absl::OkStatus();
  std::string shown = response.body.substr(0, kBodyShown);
  std::ranges::replace_if(shown, [](char c) { return static_cast<unsigned char>(c) < ' '; }, ' ');
  if (shown.empty()) shown = std::string(ReasonPhrase(response.status));
  return absl::Status(CodeFor(response.status),
                      absl::StrFormat("%s: %d %s", what, response.status, shown));
}

std::string_view ReasonPhrase(int status) {
  static constexpr std::pair<int, std::string_view> kPhrases[] = {
      {100, "Continue"},
      {101, "Switching Protocols"},
      {200, "OK"},
      {201, "Created"},
      {202, "Accepted"},
      {204, "No Content"},
      {206, "Partial Content"},
      {301, "Moved Permanently"},
      {302, "Found"},
      {303, "See Other"},
      {304, "Not Modified"},
      {307, "Temporary Redirect"},
      {308, "Permanent Redirect"},
      {400, "Bad Request"},
      {401, "Unauthorized"},
      {403, "Forbidden"},
      {404, "Not Found"},
      {405, "Method Not Allowed"},
      {406, "Not Acceptable"},
      {408, "Request Timeout"},
      {409, "Conflict"},
      {410, "Gone"},
      {411, "Length Required"},
      {412, "Precondition Failed"},
      {413, "Content Too Large"},
      {415, "Unsupported Media Type"},
      {416, "Range Not Satisfiable"},
      {422, "Unprocessable Entity"},
      {429, "Too Many Requests"},
      {431, "Request Header Fields Too Large"},
      {499, "Client Closed Request"},
      {500, "Internal Server Error"},
      {501, "Not Implemented"},
      {502, "Bad Gateway"},
      {503, "Service Unavailable"},
      {504, "Gateway Timeout"},
      {505, "HTTP Version Not Supported"},
  };
  const auto* const found =
      std::ranges::find(kPhrases, status, &std::pair<int, std::string_view>::first);
  return found == std::end(kPhrases) ? "Status" : found->second;
}

}  // namespace net

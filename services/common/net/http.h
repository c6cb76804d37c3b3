// HTTP messages as plain structs; what client and server here have in common.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace net {

// Header fields in order. Names compare without case.
class Headers {
 public:
  Headers() = default;
  Headers(std::initializer_list<std::pair<std::string, std::string>> fields) : fields_(fields) {}

  // The first value of `name`.
  std::optional<std::string_view> Find(std::string_view name) const;
  std::vector<std::string_view> FindAll(std::string_view name) const;
  void Add(std::string name, std::string value);
  // Replaces all values of `name`.
  void Set(std::string_view name, std::string value);
  void Remove(std::string_view name);

  auto begin() const { return fields_.begin(); }
  auto end() const { return fields_.end(); }
  size_t size() const { return fields_.size(); }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

struct Request {
  std::string method = "GET";
  std::string target = "/";  // Path and query, percent-encoded: "/a/b?c=d".
  Headers headers;
  std::string body;

  std::string_view path() const;   // `target` up to '?'.
  std::string_view query() const;  // After '?', or "".
};

struct Response {
  int status = 200;
  Headers headers;
  std::string body;
};

// One of `name=value` pairs of a query, decoded. nullopt when absent; "" for a name without value.
std::optional<std::string> QueryParameter(std::string_view query, std::string_view name);
std::vector<std::string> QueryParameters(std::string_view query, std::string_view name);

// Everything but unreserved characters as %XX. Invalid input to Decode → nullopt.
std::string PercentEncode(std::string_view text);
std::optional<std::string> PercentDecode(std::string_view text, bool plus_is_space = false);

struct Url {
  std::string scheme;  // "http" or "https".
  std::string host;    // Without brackets, for IPv6 too.
  int port = 0;        // Never 0 after parsing: the scheme's default is filled in.
  std::string target;  // "/" at least.

  std::string HostHeader() const;  // "host" or "host:port", with brackets where needed.
};

// kInvalidArgument for other schemes, missing hosts, credentials in the URL.
absl::StatusOr<Url> ParseUrl(std::string_view text);

// OK for 2xx; else the Status of STYLE.md section 4, with a message "`what`: 404 <start of body>".
// A caller that knows the service's own error bodies classes by those first.
absl::Status ToStatus(const Response& response, std::string_view what);

// "Not Found" for 404.
std::string_view ReasonPhrase(int status);

}  // namespace net

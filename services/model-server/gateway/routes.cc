#include "model-server/gateway/routes.h"

#include <algorithm>
#include <charconv>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"

#include "common/net/digest.h"

namespace model_server::gateway {
namespace {

constexpr Route kRoutes[] = {
    {RouteId::kHome, "/", "GET", ErrorShape::kDetail, {}},
    {RouteId::kHealth, "/health", "GET", ErrorShape::kOpenAi, {}},
    {RouteId::kHealth, "/ping", "GET", ErrorShape::kOpenAi, {}},
    {RouteId::kReady, "/ready", "GET", ErrorShape::kOpenAi, {}},
    {RouteId::kReady, "/readyz", "GET", ErrorShape::kOpenAi, {}},
    {RouteId::kLivez, "/livez", "GET", ErrorShape::kOpenAi, {}},
    {RouteId::kHealthz, "/healthz", "GET", ErrorShape::kDetail, {}},
    {RouteId::kMetrics, "/metrics", "GET", ErrorShape::kDetail, Scope::kMetrics},
    {RouteId::kVersion, "/version", "GET", ErrorShape::kOpenAi, Scope::kInfer},
    {RouteId::kLoad, "/load", "GET", ErrorShape::kOpenAi, Scope::kInfer},
    {RouteId::kOpenApi, "/openapi.json", "GET", ErrorShape::kOpenAi, Scope::kInfer},
    {RouteId::kChat, "/chat", "POST", ErrorShape::kDetail, Scope::kInfer, true},
    {RouteId::kChatCompletions, "/v1/chat/completions", "POST", ErrorShape::kOpenAi, Scope::kInfer},
    {RouteId::kCompletions, "/v1/completions", "POST", ErrorShape::kOpenAi, Scope::kInfer},
    {RouteId::kModels, "/v1/models", "GET", ErrorShape::kOpenAi, Scope::kInfer},
    {RouteId::kModel, "/v1/models/", "GET", ErrorShape::kOpenAi, Scope::kInfer},
    {RouteId::kTokenize, "/tokenize", "POST", ErrorShape::kOpenAi, Scope::kInfer},
    {RouteId::kDetokenize, "/detokenize", "POST", ErrorShape::kOpenAi, Scope::kInfer},
};

absl::string_view Abseil(std::string_view text) { return {text.data(), text.size()}; }

// Spellings under which a path could mean another one.
bool IsCleanPath(std::string_view path) {
  if (!path.starts_with('/') || path.find("//") != std::string_view::npos) return false;
  const std::string lower = absl::AsciiStrToLower(Abseil(path));
  for (const char* bad : {"%2f", "%5c", "%2e", "%00"}) {
    if (lower.find(bad) != std::string::npos) return false;
  }
  for (size_t at = 0; (at = path.find("/.", at)) != std::string_view::npos; ++at) {
    const std::string_view segment = path.substr(at + 1, path.find('/', at + 1) - at - 1);
    if (segment == "." || segment == "..") return false;
  }
  return true;
}

std::string_view HostOfOrigin(std::string_view origin) {
  const size_t scheme = origin.find("://");
  return scheme == std::string_view::npos ? origin : origin.substr(scheme + 3);
}

bool IsListed(std::string_view origin, const AdmissionOptions& options) {
  return std::ranges::any_of(options.cors_origins, [&](const std::string& listed) {
    return listed == "*" || listed == origin;
  });
}

std::optional<ApiError> CheckOrigin(const net::Request& head, const AdmissionOptions& options) {
  if (!options.loopback) return std::nullopt;
  // Against pages that point their own name at this address (DNS rebinding).
  const auto host = head.headers.Find("Host");
  if (host && !IsLoopbackName(*host)) {
    return ApiError{.status = 403, .message = "the Host header must be a name of this host"};
  }
  const auto origin = head.headers.Find("Origin");
  if (origin && !IsLoopbackName(HostOfOrigin(*origin)) && !IsListed(*origin, options)) {
    return ApiError{.status = 403, .message = "pages of this origin may not call this server"};
  }
  return std::nullopt;
}

std::optional<ApiError> CheckKey(const net::Request& head, const Route& route,
                                 const AdmissionOptions& options) {
  if (options.keys == nullptr || !route.scope) return std::nullopt;
  if (route.id == RouteId::kMetrics && !options.metrics_auth) return std::nullopt;
  const auto key = options.keys->Find(PresentedKey(head.headers));
  if (key == nullptr) {
    return ApiError{.status = 401,
                    .message = "no valid API key: give one as Authorization: Bearer KEY",
                    .code = "invalid_api_key"};
  }
  if (!key->Has(*route.scope)) {
    return ApiError{.status = 403, .message = "this API key lacks the scope for this route"};
  }
  return std::nullopt;
}

std::optional<ApiError> CheckContent(const net::Request& head, const Route& route) {
  if (head.headers.Find("Content-Encoding")) {
    return ApiError{.status = 415, .message = "bodies must not be compressed"};
  }
  const auto type = head.headers.Find("Content-Type");
  if (!type || route.method != "POST") return std::nullopt;
  std::string name(type->substr(0, type->find(';')));
  absl::StripAsciiWhitespace(&name);
  absl::AsciiStrToLower(&name);
  if (name.empty() || name == "application/json" || name.ends_with("+json")) return std::nullopt;
  if (route.takes_forms && name == "application/x-www-form-urlencoded") return std::nullopt;
  return ApiError{.status = 415, .message = "the content type must be application/json"};
}

std::optional<ApiError> CheckDeadline(const net::Request& head) {
  const auto text = head.headers.Find("X-Request-Deadline-Ms");
  if (!text) return std::nullopt;
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error == std::errc() && end == text->data() + text->size() && value >= 1 &&
      value <= 3'600'000) {
    return std::nullopt;
  }
  return ApiError{.message = "X-Request-Deadline-Ms must be a number from 1 to 3600000",
                  .code = "invalid_value"};
}

}  // namespace

const Route* FindRoute(std::string_view path) {
  for (const Route& route : kRoutes) {
    if (route.path == path) return &route;
    if (route.id == RouteId::kModel && path.starts_with(route.path) &&
        path.size() > route.path.size()) {
      return &route;
    }
  }
  return nullptr;
}

ErrorShape ShapeOf(std::string_view path) {
  const Route* route = FindRoute(path);
  if (route != nullptr) return route->shape;
  return path == "/generate" ? ErrorShape::kDetail : ErrorShape::kOpenAi;
}

bool IsLoopbackName(std::string_view host) {
  if (host.starts_with('[')) {
    return host == "[::1]" || host.starts_with("[::1]:");
  }
  host = host.substr(0, host.find(':'));
  if (absl::EqualsIgnoreCase(Abseil(host), "localhost")) return true;
  // 127.0.0.0/8, in plain notation only: "127.evil.example" is a name like any other.
  int dots = 0;
  for (const char c : host) {
    if (c == '.') {
      ++dots;
    } else if (!absl::ascii_isdigit(static_cast<unsigned char>(c))) {
      return false;
    }
  }
  return dots == 3 && host.starts_with("127.");
}

std::string RequestIdOf(const net::Request& head) {
  const auto given = head.headers.Find("X-Request-Id");
  const bool good =
      given && !given->empty() && given->size() <= 128 && std::ranges::all_of(*given, [](char c) {
        return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' ||
               c == '-';
      });
  return good ? std::string(*given) : "req-" + net::RandomHex(32);
}

std::string_view PresentedKey(const net::Headers& headers) {
  if (const auto value = headers.Find("Authorization")) {
    constexpr std::string_view kBearer = "bearer ";
    if (value->size() > kBearer.size() &&
        absl::EqualsIgnoreCase(Abseil(value->substr(0, kBearer.size())), Abseil(kBearer))) {
      return value->substr(kBearer.size());
    }
  }
  for (const char* name : {"X-Api-Key", "Api-Key"}) {
    if (const auto value = headers.Find(name)) return *value;
  }
  return "";
}

std::optional<ApiError> CheckHead(const net::Request& head, const AdmissionOptions& options) {
  if (!IsCleanPath(head.path())) {
    return ApiError{.message = "the path must be written plainly, without .., // or %2f",
                    .code = "invalid_value"};
  }
  if (auto error = CheckOrigin(head, options)) return error;
  const Route* route = FindRoute(head.path());
  if (route == nullptr) return ApiError{.status = 404, .message = "there is no such route"};
  if (head.method == "OPTIONS") return std::nullopt;
  const bool right =
      head.method == route->method || (head.method == "HEAD" && route->method == "GET");
  if (!right) {
    return ApiError{.status = 405,
                    .message = absl::StrFormat("this route takes %s", route->method),
                    .allow = route->method == "GET" ? "GET, HEAD, OPTIONS" : "POST, OPTIONS"};
  }
  if (auto error = CheckKey(head, *route, options)) return error;
  if (auto error = CheckContent(head, *route)) return error;
  return CheckDeadline(head);
}

void AddCorsHeaders(const net::Request& head, const AdmissionOptions& options,
                    net::Headers* headers) {
  const auto origin = head.headers.Find("Origin");
  if (options.cors_origins.empty() || !origin || !IsListed(*origin, options)) return;
  headers->Set("Access-Control-Allow-Origin", std::string(*origin));
  headers->Set("Access-Control-Expose-Headers", "X-Request-Id, Retry-After, X-Ignored-Fields");
  headers->Set("Vary", "Origin");
}

net::Response Preflight(const net::Request& head, const AdmissionOptions& options) {
  net::Response response{.status = 204};
  AddCorsHeaders(head, options, &response.headers);
  if (response.headers.Find("Access-Control-Allow-Origin")) {
    response.headers.Add("Access-Control-Allow-Methods", "GET, POST, OPTIONS");
    response.headers.Add("Access-Control-Allow-Headers",
                         "Authorization, Content-Type, X-Request-Id, X-Request-Deadline-Ms, "
                         "X-Api-Key");
    response.headers.Add("Access-Control-Max-Age", "600");
  }
  return response;
}

}  // namespace model_server::gateway

// The table of routes, and what a request's head must satisfy before its body is read.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/net/http.h"
#include "model-server/gateway/api_error.h"
#include "model-server/gateway/api_keys.h"

namespace model_server::gateway {

enum class RouteId {
  kHome,
  kHealth,  // /health and /ping: no body when well.
  kReady,   // /ready and /readyz
  kLivez,
  kHealthz,
  kMetrics,
  kVersion,
  kLoad,
  kOpenApi,
  kChat,
  kChatCompletions,
  kCompletions,
  kModels,
  kModel,
  kTokenize,
  kDetokenize,
};

struct Route {
  RouteId id;
  std::string_view path;    // "/v1/models/" stands for all below it.
  std::string_view method;  // GET (then HEAD too) or POST.
  ErrorShape shape;
  std::optional<Scope> scope;  // nullopt: open to all.
  bool takes_forms = false;    // Content type of `curl -d`.
};

// nullptr for an unknown path.
const Route* FindRoute(std::string_view path);

struct AdmissionOptions {
  bool loopback = true;  // Host and Origin must then be loopback names.
  std::vector<std::string> cors_origins;
  bool metrics_auth = false;
  const ApiKeys* keys = nullptr;  // Null: anybody may call.
};

// "127.0.0.1", "[::1]", "localhost", with or without port.
bool IsLoopbackName(std::string_view host);

// `X-Request-Id` where it is well formed, else a new "req-…".
std::string RequestIdOf(const net::Request& head);

// The key of a request: Authorization: Bearer, X-Api-Key or Api-Key.
std::string_view PresentedKey(const net::Headers& headers);

// What is wrong with the head: bad path (400), Host or Origin (403), unknown route (404), method
// (405), key (401, 403), content type or encoding (415), deadline (400). nullopt: go on.
std::optional<ApiError> CheckHead(const net::Request& head, const AdmissionOptions& options);

// The shape that an error of this path has.
ErrorShape ShapeOf(std::string_view path);

// Answer to a CORS preflight; 204 in any case, with permission only for listed origins.
net::Response Preflight(const net::Request& head, const AdmissionOptions& options);
// Access-Control-Allow-Origin and Vary, if the origin is listed.
void AddCorsHeaders(const net::Request& head, const AdmissionOptions& options,
                    net::Headers* headers);

}  // namespace model_server::gateway

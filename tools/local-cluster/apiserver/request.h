// A request to the API, taken apart.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "common/net/http.h"
#include "local-cluster/apiserver/kinds.h"

namespace local_cluster {

// Who asks.
struct User {
  std::string name;
  std::vector<std::string> groups;
  std::string uid;
};

enum class FieldValidation { kIgnore, kWarn, kStrict };

// The query of a read or write.
struct RequestOptions {
  std::string label_selector, field_selector;
  int64_t limit = 0;
  std::string continue_token;
  std::string resource_version, resource_version_match;
  bool watch = false;
  bool bookmarks = false;
  std::optional<bool> send_initial_events;
  int64_t timeout_seconds = 0;
  bool dry_run = false;
  std::string field_manager;
  FieldValidation field_validation = FieldValidation::kWarn;
  bool force = false;
};

// What the path names. `kind` and `version` stay valid as long as this.
struct ResourceRequest {
  std::shared_ptr<const Kind> kind;
  const KindVersion* version = nullptr;
  std::string namespace_name;
  std::string name;         // "": the collection.
  std::string subresource;  // "status", "log", …
  std::string rest;         // What follows the subresource.
  RequestOptions options;
  User user;
  const net::Request* http = nullptr;  // Method, headers, body.

  std::string api_version() const;  // "apps/v1"
};

// "/apis/apps/v1/namespaces/x/deployments/y/scale" → its decoded segments; kInvalidArgument for
// escapes that decode to '/' or control characters, and for "." and "..".
absl::StatusOr<std::vector<std::string>> PathSegments(std::string_view path);

// kNotFound (404) when nothing is served there, kInvalidArgument for malformed parameters.
absl::StatusOr<ResourceRequest> ParseResourceRequest(const net::Request& request,
                                                     const std::vector<std::string>& segments,
                                                     const KindRegistry& kinds);

absl::StatusOr<RequestOptions> ParseOptions(const net::Request& request);

}  // namespace local_cluster

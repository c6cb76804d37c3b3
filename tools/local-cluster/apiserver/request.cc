#include "local-cluster/apiserver/request.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "absl/strings/str_format.h"

#include "common/base/status_macros.h"

namespace local_cluster {
namespace {

absl::StatusOr<int64_t> ParseInteger(std::string_view name, const std::string& text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return BadRequestError(absl::StrFormat(
        "strconv.ParseInt: parsing \"%s\": invalid syntax of parameter %s", text, name));
  }
  return value;
}

bool IsTrue(const std::optional<std::string>& text) {
  return text && (*text == "true" || *text == "1");
}

absl::StatusOr<FieldValidation> ParseFieldValidation(const std::string& text) {
  if (text.empty() || text == "Warn") return FieldValidation::kWarn;
  if (text == "Strict") return FieldValidation::kStrict;
  if (text == "Ignore") return FieldValidation::kIgnore;
  return BadRequestError(absl::StrFormat(
      "fieldValidation: Unsupported value: \"%s\": supported values: \"\", \"Ignore\", \"Strict\", "
      "\"Warn\"",
      text));
}

// What a client calls itself, up to the first '/'.
std::string ManagerOf(const net::Request& request, const std::string& parameter) {
  if (!parameter.empty()) return parameter;
  const std::string_view agent = request.headers.Find("User-Agent").value_or("unknown");
  return std::string(agent.substr(0, agent.find('/')));
}

}  // namespace

std::string ResourceRequest::api_version() const {
  return kind->group.empty() ? version->name : kind->group + "/" + version->name;
}

absl::StatusOr<std::vector<std::string>> PathSegments(std::string_view path) {
  std::vector<std::string> segments;
  while (!path.empty()) {
    if (path.front() != '/') return PathNotFoundError();
    path.remove_prefix(1);
    const size_t end = std::min(path.find('/'), path.size());
    const std::optional<std::string> segment = net::PercentDecode(path.substr(0, end));
    path.remove_prefix(end);
    if (!segment || segments.size() > 16) return PathNotFoundError();
    if (segment->empty() && path.empty()) break;  // A slash at the end.
    const bool unsafe = std::ranges::any_of(
        *segment, [](char c) { return c == '/' || c == '\\' || (c >= 0 && c < ' '); });
    if (segment->empty() || *segment == "." || *segment == ".." || unsafe) {
      return PathNotFoundError();
    }
    segments.push_back(*segment);
  }
  return segments;
}

absl::StatusOr<RequestOptions> ParseOptions(const net::Request& request) {
  const std::string_view query = request.query();
  const auto text = [query](std::string_view name) {
    return net::QueryParameter(query, name).value_or("");
  };
  RequestOptions options;
  if (query.empty()) {
    options.field_manager = ManagerOf(request, "");
    return options;
  }
  options.label_selector = text("labelSelector");
  options.field_selector = text("fieldSelector");
  options.continue_token = text("continue");
  options.resource_version = text("resourceVersion");
  options.resource_version_match = text("resourceVersionMatch");
  options.watch = IsTrue(net::QueryParameter(query, "watch"));
  options.bookmarks = IsTrue(net::QueryParameter(query, "allowWatchBookmarks"));
  options.force = IsTrue(net::QueryParameter(query, "force"));
  if (const auto initial = net::QueryParameter(query, "sendInitialEvents")) {
    options.send_initial_events = IsTrue(initial);
  }
  if (const std::string limit = text("limit"); !limit.empty()) {
    ASSIGN_OR_RETURN(options.limit, ParseInteger("limit", limit));
    options.limit = std::max<int64_t>(options.limit, 0);
  }
  if (const std::string seconds = text("timeoutSeconds"); !seconds.empty()) {
    ASSIGN_OR_RETURN(options.timeout_seconds, ParseInteger("timeoutSeconds", seconds));
  }
  for (const std::string& dry_run : net::QueryParameters(query, "dryRun")) {
    if (dry_run != "All") {
      return BadRequestError(
          absl::StrFormat("dryRun: Unsupported value: \"%s\": supported values: \"All\"", dry_run));
    }
    options.dry_run = true;
  }
  ASSIGN_OR_RETURN(options.field_validation, ParseFieldValidation(text("fieldValidation")));
  const std::string manager = text("fieldManager");
  if (manager.size() > 128) {
    return BadRequestError("fieldManager: Too long: may not be more than 128 bytes");
  }
  options.field_manager = ManagerOf(request, manager);
  return options;
}

absl::StatusOr<ResourceRequest> ParseResourceRequest(const net::Request& request,
                                                     const std::vector<std::string>& segments,
                                                     const KindRegistry& kinds) {
  ResourceRequest result;
  result.http = &request;
  const bool core = segments[0] == "api";
  if (segments.size() < (core ? 3 : 4)) return PathNotFoundError();
  const std::string group = core ? "" : segments[1];
  const std::string& version = segments[core ? 1 : 2];
  std::vector<std::string> rest(segments.begin() + (core ? 2 : 3), segments.end());

  // …/namespaces/NS/RESOURCE…, but a namespace's own subresources are named alike.
  const bool own = core && rest.size() >= 3 && (rest[2] == "status" || rest[2] == "finalize");
  if (rest[0] == "namespaces" && rest.size() >= 3 && !own) {
    result.namespace_name = rest[1];
    rest.erase(rest.begin(), rest.begin() + 2);
  }
  result.kind = kinds.Find(group, version, rest[0]);
  if (result.kind == nullptr) return PathNotFoundError();
  result.version = result.kind->Version(version);
  if (!result.kind->namespaced && !result.namespace_name.empty()) return PathNotFoundError();
  if (rest.size() > 1) result.name = rest[1];
  if (rest.size() > 2) result.subresource = rest[2];
  for (size_t i = 3; i < rest.size(); ++i) result.rest += "/" + rest[i];
  if (result.kind->namespaced && !result.name.empty() && result.namespace_name.empty()) {
    return PathNotFoundError();
  }
  ASSIGN_OR_RETURN(result.options, ParseOptions(request));
  return result;
}

}  // namespace local_cluster

#include "local-cluster/apiserver/router.h"

#include <utility>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/status_macros.h"
#include "local-cluster/apiserver/discovery.h"
#include "local-cluster/apiserver/negotiation.h"
#include "local-cluster/apiserver/openapi.h"

namespace local_cluster {
namespace {

constexpr char kVersion[] = "v1.33.4+local-cluster";

// Loopback names and addresses only: a page that the user's browser loads from elsewhere may have
// made its own name mean this machine.
bool IsLoopbackHost(std::string_view host) {
  if (host.starts_with('[')) {
    const size_t end = host.find(']');
    return end != std::string_view::npos && host.substr(1, end - 1) == "::1";
  }
  host = host.substr(0, host.find(':'));
  if (host == "localhost" || host == "kubernetes" || host == "kubernetes.default" ||
      host == "kubernetes.default.svc" || host == "kubernetes.default.svc.cluster.local") {
    return true;
  }
  if (!host.starts_with("127.")) return false;
  return host.find_first_not_of("0123456789.") == std::string_view::npos;
}

net::Response Version() {
  const boost::json::object version{
      {"major", "1"},        {"minor", "33"},           {"gitVersion", kVersion},
      {"gitCommit", ""},     {"gitTreeState", "clean"}, {"buildDate", "1970-01-01T00:00:00Z"},
      {"goVersion", "none"}, {"compiler", "c++"},       {"platform", "linux/amd64"}};
  return JsonResponse(200, boost::json::serialize(version) + "\n");
}

bool IsHealth(std::string_view path) {
  return path == "/livez" || path == "/readyz" || path == "/healthz";
}

absl::Status TooManyRequests() {
  ApiError error;
  error.code = 429;
  error.reason = "TooManyRequests";
  error.message = "too many requests, please try again later";
  error.retry_after_seconds = 1;
  return ToStatus(error);
}

// Requests that are being answered on their own thread.
class InFlight {
 public:
  explicit InFlight(std::atomic<int>& count) : count_(count), now_(++count) {}
  ~InFlight() { --count_; }
  int now() const { return now_; }

 private:
  std::atomic<int>& count_;
  const int now_;
};

}  // namespace

Router::Router(RouterParts parts) : parts_(std::move(parts)) {}

void Router::SetReady(bool ready, std::string reason) {
  absl::MutexLock lock(&mutex_);
  ready_ = ready;
  not_ready_reason_ = std::move(reason);
}

void Router::Handle(const std::shared_ptr<net::Exchange>& exchange) {
  const InFlight flight(in_flight_);
  absl::StatusOr<std::optional<net::Response>> answer =
      flight.now() > parts_.requests_max ? TooManyRequests() : Answer(exchange);
  if (!answer.ok()) {
    exchange->Send(ErrorResponse(answer.status()));
  } else if (answer->has_value()) {
    exchange->Send(**std::move(answer));
  }
}

net::Response Router::Health(const net::Request& request) const {
  absl::MutexLock lock(&mutex_);
  net::Response response;
  response.headers.Add("Content-Type", "text/plain; charset=utf-8");
  const bool ready = (ready_ && !refusing_) || request.path() == "/livez";
  response.status = ready ? 200 : 500;
  if (request.query().find("verbose") != std::string_view::npos) {
    const std::string name(request.path().substr(1));
    response.body = absl::StrFormat("[+]ping ok\n[%s]started %s\n%s check %s\n", ready ? "+" : "-",
                                    ready ? std::string("ok") : not_ready_reason_, name,
                                    ready ? "passed" : "failed");
  } else {
    response.body = ready ? "ok" : "not ready: " + not_ready_reason_;
  }
  return response;
}

absl::StatusOr<std::optional<net::Response>> Router::Answer(
    const std::shared_ptr<net::Exchange>& exchange) {
  const net::Request& request = exchange->request();
  const std::string_view path = request.path();
  const auto host = request.headers.Find("Host");
  if (host && !IsLoopbackHost(*host)) {
    return ForbiddenError({"", "hosts", ""}, *host, "only loopback names are served");
  }
  const bool reading = request.method == "GET" || request.method == "HEAD";
  if (reading && IsHealth(path)) return std::optional(Health(request));
  if (reading && path == "/version") return std::optional(Version());
  if (refusing_) return ServiceUnavailableError("the server is shutting down");
  std::optional<User> user = parts_.authenticator.Identify(*exchange);
  if (!user) return UnauthorizedError();
  if (reading && path == "/metrics") {
    net::Response response;
    response.headers.Add("Content-Type", std::string(metrics::kTextContentType));
    response.body = parts_.metrics.Text();
    return std::optional(std::move(response));
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> segments, PathSegments(path));
  if (segments.empty()) {
    return std::optional(JsonResponse(
        200, R"({"paths":["/api","/apis","/healthz","/livez","/openapi/v3","/readyz","/version"]})"
             "\n"));
  }
  if (segments[0] == "openapi" && reading) {
    ASSIGN_OR_RETURN(net::Response response, AnswerOpenApi(request, segments, *parts_.kinds()));
    return std::optional(std::move(response));
  }
  if (segments[0] != "api" && segments[0] != "apis") return PathNotFoundError();
  if (IsDiscovery(segments)) {
    if (!reading) return MethodNotAllowedError({});
    ASSIGN_OR_RETURN(net::Response response, AnswerDiscovery(request, segments, *parts_.kinds()));
    return std::optional(std::move(response));
  }
  return AnswerResource(exchange, segments, *std::move(user));
}

absl::StatusOr<std::optional<net::Response>> Router::AnswerResource(
    const std::shared_ptr<net::Exchange>& exchange, const std::vector<std::string>& segments,
    User user) {
  const net::Request& http = exchange->request();
  const std::shared_ptr<const KindRegistry> kinds = parts_.kinds();
  ASSIGN_OR_RETURN(ResourceRequest request, ParseResourceRequest(http, segments, *kinds));
  request.user = std::move(user);
  if (Subresources::Handles(request)) return parts_.subresources.Handle(request, exchange);
  const ResourceName resource = request.kind->resource_name();
  if (!request.rest.empty()) return PathNotFoundError();
  const bool finalize = request.subresource == "finalize" && request.kind->plural == "namespaces";
  if (!request.subresource.empty() && !finalize &&
      !(request.subresource == "status" && request.version->status)) {
    return PathNotFoundError();
  }
  const bool collection = request.name.empty();
  absl::StatusOr<net::Response> response = MethodNotAllowedError(resource);
  if (http.method == "GET" || http.method == "HEAD") {
    if (request.options.watch && request.subresource.empty()) {
      RETURN_IF_ERROR(parts_.reader.Watch(request, exchange));
      return std::optional<net::Response>();
    }
    response = collection ? parts_.reader.List(request) : parts_.reader.Get(request);
  } else if (http.method == "POST" && collection) {
    if (request.kind->namespaced && request.namespace_name.empty()) {
      return MethodNotAllowedError(resource);
    }
    response = parts_.writer.Post(request);
  } else if (http.method == "PUT" && !collection) {
    response = parts_.writer.Put(request);
  } else if (http.method == "PATCH" && !collection) {
    response = parts_.writer.Patch(request);
  } else if (http.method == "DELETE" && request.subresource.empty()) {
    response = collection ? parts_.writer.DeleteCollection(request) : parts_.writer.Delete(request);
  }
  if (!response.ok()) return response.status();
  return std::optional(*std::move(response));
}

}  // namespace local_cluster

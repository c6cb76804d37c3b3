#include "local-cluster/apiserver/subresources.h"

#include <utility>
#include <vector>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/status_macros.h"
#include "common/kube/json.h"
#include "common/kube/object.h"
#include "local-cluster/apiserver/label_selector.h"
#include "local-cluster/apiserver/negotiation.h"
#include "local-cluster/apiserver/pod_requests.h"
#include "local-cluster/apiserver/reviews.h"
#include "local-cluster/apiserver/scale.h"
#include "local-cluster/apiserver/schema/json_edit.h"
#include "local-cluster/apiserver/write_handler.h"

namespace local_cluster {
namespace {

using boost::json::object;
using boost::json::value;

bool IsPodStream(std::string_view name) {
  return name == "exec" || name == "attach" || name == "portforward";
}

net::Response Success(int code) {
  const object status{{"kind", "Status"},
                      {"apiVersion", "v1"},
                      {"metadata", object()},
                      {"status", "Success"},
                      {"code", code}};
  return JsonResponse(code, boost::json::serialize(status) + "\n");
}

absl::Status DisruptionRefused(const value& budget) {
  ApiError error;
  error.code = 429;
  error.reason = "TooManyRequests";
  error.message = "Cannot evict pod as it would violate the pod's disruption budget.";
  error.causes.push_back(
      {"DisruptionBudget", "",
       absl::StrFormat("The disruption budget %s needs %d healthy pods and has %d currently",
                       kube::StringAt(budget, {"metadata", "name"}),
                       kube::IntAt(budget, {"status", "desiredHealthy"}),
                       kube::IntAt(budget, {"status", "currentHealthy"}))});
  return ToStatus(error);
}

}  // namespace

Subresources::Subresources(Store& store, ObjectWriter& writer, const Authenticator& authenticator,
                           const base::Clock& clock)
    : store_(store), writer_(writer), authenticator_(authenticator), clock_(clock) {}

bool Subresources::Handles(const ResourceRequest& request) {
  return request.kind->create_only || request.subresource == "scale" ||
         request.subresource == "binding" || request.subresource == "eviction" ||
         request.subresource == "token" || request.subresource == "log" ||
         IsPodStream(request.subresource);
}

absl::StatusOr<std::optional<net::Response>> Subresources::Handle(
    const ResourceRequest& request, const std::shared_ptr<net::Exchange>& exchange) const {
  const std::string& method = request.http->method;
  absl::StatusOr<net::Response> response = MethodNotAllowedError(request.kind->resource_name());
  if (request.kind->create_only) {
    if (method == "POST") response = Review(request);
  } else if (request.subresource == "scale") {
    response = Scale(request);
  } else if (request.subresource == "log") {
    if (method == "GET") {
      RETURN_IF_ERROR(OpenLog(request, exchange));
      return std::optional<net::Response>();
    }
  } else if (IsPodStream(request.subresource)) {
    if (method == "GET" || method == "POST") {
      RETURN_IF_ERROR(OpenConnection(request, exchange));
      return std::optional<net::Response>();
    }
  } else if (method == "POST" && request.subresource == "binding") {
    response = Bind(request);
  } else if (method == "POST" && request.subresource == "eviction") {
    response = Evict(request);
  } else if (method == "POST" && request.subresource == "token") {
    response = Token(request);
  }
  if (!response.ok()) return response.status();
  return std::optional<net::Response>(*std::move(response));
}

absl::StatusOr<net::Response> Subresources::Scale(const ResourceRequest& request) const {
  if (request.version->scale == nullptr) return PathNotFoundError();
  const ScalePaths& paths = *request.version->scale;
  const std::string& method = request.http->method;
  ASSIGN_OR_RETURN(const StoredObject current, writer_.Existing(request));
  if (method == "GET") {
    return JsonResponse(200, boost::json::serialize(ScaleOf(*current.value, paths)) + "\n");
  }
  if (method != "PUT" && method != "PATCH") {
    return MethodNotAllowedError(request.kind->resource_name());
  }
  ASSIGN_OR_RETURN(const value body, ParseBody(*request.http));
  ResourceRequest main = request;
  main.subresource.clear();
  const absl::StatusOr<WriteResult> written =
      writer_.Update(main, [&](const value& whole) -> absl::StatusOr<value> {
        value scale = body;
        if (method == "PATCH") {
          ASSIGN_OR_RETURN(
              scale, WriteHandler::Patched(request, ScaleOf(whole, paths), body, &ScaleSchema()));
        }
        return WithScale(whole, scale, paths);
      });
  if (!written.ok()) return written.status();
  return JsonResponse(200, boost::json::serialize(ScaleOf(*written->object, paths)) + "\n");
}

absl::StatusOr<net::Response> Subresources::Bind(const ResourceRequest& request) const {
  ASSIGN_OR_RETURN(const value body, ParseBody(*request.http));
  const std::string node(kube::StringAt(body, {"target", "name"}));
  if (node.empty()) {
    return InvalidError({"", "bindings", "Binding"}, request.name, {RequiredField("target.name")});
  }
  const std::string now = kube::FormatTime(clock_.Now());
  const absl::StatusOr<WriteResult> bound =
      writer_.Update(request, [&](const value& pod) -> absl::StatusOr<value> {
        const std::string_view before = kube::StringAt(pod, {"spec", "nodeName"});
        if (!before.empty()) {
          return ConflictError(
              {"", "pods/binding", "Binding"}, request.name,
              absl::StrFormat("pod %s is already assigned to node \"%s\"", request.name, before));
        }
        return BoundPod(pod, node, now);
      });
  if (!bound.ok()) return bound.status();
  return Success(201);
}

absl::Status Subresources::TakeDisruption(const ResourceRequest& request, const value& pod) const {
  ListRange range;
  range.resource = "policy/poddisruptionbudgets";
  range.namespace_name = request.namespace_name;
  ASSIGN_OR_RETURN(const ListResult budgets, store_.List(range));
  for (const StoredObject& budget : budgets.items) {
    const value* selector = kube::FindPath(*budget.value, {"spec", "selector"});
    if (selector == nullptr || !MatchesLabelSelector(*selector, pod)) continue;
    const int64_t allowed = kube::IntAt(*budget.value, {"status", "disruptionsAllowed"});
    if (allowed <= 0) return DisruptionRefused(*budget.value);
    value less = *budget.value;
    less.at("status").as_object()["disruptionsAllowed"] = allowed - 1;
    const StoreKey key{range.resource, request.namespace_name,
                       std::string(kube::StringAt(*budget.value, {"metadata", "name"}))};
    // Somebody else took one at the same time: the client comes back.
    if (!store_.Put(key, budget.revision, std::move(less)).ok()) {
      return DisruptionRefused(*budget.value);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<net::Response> Subresources::Evict(const ResourceRequest& request) const {
  ASSIGN_OR_RETURN(const value body, ParseBody(*request.http));
  ASSIGN_OR_RETURN(const StoredObject pod, writer_.Existing(request));
  const std::string_view phase = kube::StringAt(*pod.value, {"status", "phase"});
  if (phase != "Succeeded" && phase != "Failed") {
    RETURN_IF_ERROR(TakeDisruption(request, *pod.value));
  }
  DeleteParameters parameters;
  if (kube::FindPath(body, {"deleteOptions", "gracePeriodSeconds"}) != nullptr) {
    parameters.grace_period_seconds = kube::IntAt(body, {"deleteOptions", "gracePeriodSeconds"});
  }
  parameters.uid = kube::StringAt(body, {"deleteOptions", "preconditions", "uid"});
  ResourceRequest main = request;
  main.subresource.clear();
  RETURN_IF_ERROR(writer_.Delete(main, parameters).status());
  return Success(201);
}

absl::StatusOr<net::Response> Subresources::Token(const ResourceRequest& request) const {
  ASSIGN_OR_RETURN(value body, ParseBody(*request.http));
  ASSIGN_OR_RETURN(const StoredObject account, writer_.Existing(request));
  if (!body.is_object()) body = object();
  int64_t seconds = kube::IntAt(body, {"spec", "expirationSeconds"}, 3600);
  if (seconds < 600 || seconds > (int64_t{1} << 32U)) {
    return InvalidError({"authentication.k8s.io", "tokenrequests", "TokenRequest"}, "",
                        {InvalidField("spec.expirationSeconds", value(seconds),
                                      "may not specify a duration less than 10 minutes")});
  }
  seconds = std::min<int64_t>(seconds, 24 * 3600);
  const absl::Time expires = clock_.Now() + absl::Seconds(seconds);
  object& result = body.get_object();
  result["kind"] = "TokenRequest";
  result["apiVersion"] = "authentication.k8s.io/v1";
  MakeObject(result, "spec")["expirationSeconds"] = seconds;
  const std::string uid(kube::StringAt(*account.value, {"metadata", "uid"}));
  result["status"] =
      object{{"token", authenticator_.Sign({request.namespace_name, request.name, uid}, expires)},
             {"expirationTimestamp", kube::FormatTime(expires)}};
  return JsonResponse(201, boost::json::serialize(body) + "\n");
}

absl::Status Subresources::OpenLog(const ResourceRequest& request,
                                   const std::shared_ptr<net::Exchange>& exchange) const {
  ASSIGN_OR_RETURN(const StoredObject pod, writer_.Existing(request));
  ASSIGN_OR_RETURN(const PodLogOptions options,
                   ParseLogOptions(*request.http, *pod.value, clock_.Now()));
  PodStreams* streams = streams_;
  if (streams == nullptr) return ServiceUnavailableError("no runner answers for pods yet");
  // The header goes out with the first text, so that an error can still be a Status.
  return streams->OpenLog(options, MakeExchangeLogSink(exchange));
}

absl::Status Subresources::OpenConnection(const ResourceRequest& request,
                                          const std::shared_ptr<net::Exchange>& exchange) const {
  ASSIGN_OR_RETURN(const StoredObject pod, writer_.Existing(request));
  ASSIGN_OR_RETURN(const PodConnection connection,
                   ParseConnection(*request.http, *pod.value, request.subresource));
  PodStreams* streams = streams_;
  if (streams == nullptr) return ServiceUnavailableError("no runner answers for pods yet");
  return streams->OpenConnection(connection, exchange);
}

absl::StatusOr<net::Response> Subresources::Review(const ResourceRequest& request) const {
  ASSIGN_OR_RETURN(value body, ParseBody(*request.http));
  if (request.kind->kind == "Binding") {
    ResourceRequest pod = request;
    pod.name = kube::StringAt(body, {"metadata", "name"});
    return MethodNotAllowedError(pod.kind->resource_name());
  }
  return AnswerReview(request, std::move(body), authenticator_);
}

}  // namespace local_cluster

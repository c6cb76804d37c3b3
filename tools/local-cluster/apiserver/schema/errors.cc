#include "local-cluster/apiserver/schema/errors.h"

#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/kube/json.h"

namespace local_cluster {
namespace {

constexpr char kPayload[] = "kubernetes.io/status";

absl::StatusCode CodeOf(int http) {
  switch (http) {
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
    case 500:
      return absl::StatusCode::kInternal;
    case 503:
      return absl::StatusCode::kUnavailable;
    case 504:
      return absl::StatusCode::kDeadlineExceeded;
    default:
      return absl::StatusCode::kInvalidArgument;
  }
}

// "widgets.example.test", "pods".
std::string Qualified(std::string_view name, std::string_view group) {
  return group.empty() ? std::string(name) : absl::StrFormat("%s.%s", name, group);
}

absl::Status Make(int code, std::string_view reason, std::string message,
                  const ResourceName& resource = {}, std::string_view name = "") {
  ApiError error;
  error.code = code;
  error.reason = reason;
  error.message = std::move(message);
  error.name = name;
  error.group = resource.group;
  error.kind = resource.plural;
  return ToStatus(error);
}

ApiError ByCode(const absl::Status& status) {
  ApiError error;
  error.message = std::string(status.message());
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
      error.code = 400;
      error.reason = "BadRequest";
      break;
    case absl::StatusCode::kNotFound:
      error.code = 404;
      error.reason = "NotFound";
      break;
    case absl::StatusCode::kAlreadyExists:
      error.code = 409;
      error.reason = "AlreadyExists";
      break;
    case absl::StatusCode::kAborted:
      error.code = 409;
      error.reason = "Conflict";
      break;
    case absl::StatusCode::kPermissionDenied:
      error.code = 403;
      error.reason = "Forbidden";
      break;
    case absl::StatusCode::kOutOfRange:
      error.code = 410;
      error.reason = "Expired";
      break;
    case absl::StatusCode::kUnavailable:
      error.code = 503;
      error.reason = "ServiceUnavailable";
      break;
    case absl::StatusCode::kUnimplemented:
      error.code = 501;
      error.reason = "NotImplemented";
      break;
    default:
      error.message = "Internal error occurred: " + error.message;
      break;
  }
  return error;
}

ErrorCause Cause(std::string_view reason, std::string_view field, std::string message) {
  return {std::string(reason), std::string(field), std::move(message)};
}

}  // namespace

boost::json::value StatusJson(const ApiError& error) {
  boost::json::object details;
  if (!error.name.empty()) details["name"] = error.name;
  if (!error.group.empty()) details["group"] = error.group;
  if (!error.kind.empty()) details["kind"] = error.kind;
  if (!error.uid.empty()) details["uid"] = error.uid;
  if (!error.causes.empty()) {
    boost::json::array& causes = details["causes"].emplace_array();
    for (const ErrorCause& cause : error.causes) {
      boost::json::object one{{"reason", cause.reason}, {"message", cause.message}};
      if (!cause.field.empty()) one["field"] = cause.field;
      causes.push_back(std::move(one));
    }
  }
  if (error.retry_after_seconds > 0) details["retryAfterSeconds"] = error.retry_after_seconds;
  boost::json::object status{
      {"kind", "Status"},    {"apiVersion", "v1"},       {"metadata", boost::json::object()},
      {"status", "Failure"}, {"message", error.message}, {"reason", error.reason}};
  if (!details.empty()) status["details"] = std::move(details);
  status["code"] = error.code;
  return status;
}

absl::Status ToStatus(const ApiError& error) {
  absl::Status status(CodeOf(error.code), error.message);
  status.SetPayload(kPayload, absl::Cord(boost::json::serialize(StatusJson(error))));
  return status;
}

ApiError FromStatus(const absl::Status& status) {
  const auto payload = status.GetPayload(kPayload);
  if (!payload) return ByCode(status);
  boost::system::error_code failed;
  const boost::json::value json = boost::json::parse(std::string(*payload), failed);
  ApiError error;
  error.code = static_cast<int>(kube::IntAt(json, {"code"}, 500));
  error.reason = kube::StringAt(json, {"reason"});
  error.message = kube::StringAt(json, {"message"});
  error.name = kube::StringAt(json, {"details", "name"});
  error.group = kube::StringAt(json, {"details", "group"});
  error.kind = kube::StringAt(json, {"details", "kind"});
  error.uid = kube::StringAt(json, {"details", "uid"});
  error.retry_after_seconds = static_cast<int>(kube::IntAt(json, {"details", "retryAfterSeconds"}));
  if (const boost::json::value* causes = kube::FindPath(json, {"details", "causes"})) {
    for (const boost::json::value& cause : causes->as_array()) {
      error.causes.push_back({std::string(kube::StringAt(cause, {"reason"})),
                              std::string(kube::StringAt(cause, {"field"})),
                              std::string(kube::StringAt(cause, {"message"}))});
    }
  }
  return error;
}

net::Response ErrorResponse(const absl::Status& status) {
  const ApiError error = FromStatus(status);
  net::Response response;
  response.status = error.code;
  response.headers.Add("Content-Type", "application/json");
  if (error.retry_after_seconds > 0) {
    response.headers.Add("Retry-After", std::to_string(error.retry_after_seconds));
  }
  response.body = boost::json::serialize(StatusJson(error)) + "\n";
  return response;
}

absl::Status NotFoundError(const ResourceName& resource, std::string_view name) {
  return Make(
      404, "NotFound",
      absl::StrFormat("%s \"%s\" not found", Qualified(resource.plural, resource.group), name),
      resource, name);
}

absl::Status AlreadyExistsError(const ResourceName& resource, std::string_view name) {
  return Make(
      409, "AlreadyExists",
      absl::StrFormat("%s \"%s\" already exists", Qualified(resource.plural, resource.group), name),
      resource, name);
}

absl::Status ConflictError(const ResourceName& resource, std::string_view name,
                           std::string_view why) {
  return Make(409, "Conflict",
              absl::StrFormat("Operation cannot be fulfilled on %s \"%s\": %s",
                              Qualified(resource.plural, resource.group), name, why),
              resource, name);
}

absl::Status InvalidError(const ResourceName& resource, std::string_view name,
                          std::vector<ErrorCause> causes) {
  ApiError error;
  error.code = 422;
  error.reason = "Invalid";
  error.name = name;
  error.group = resource.group;
  error.kind = resource.kind;
  std::string all;
  for (const ErrorCause& cause : causes) {
    if (!all.empty()) all += ", ";
    all +=
        cause.field.empty() ? cause.message : absl::StrFormat("%s: %s", cause.field, cause.message);
  }
  if (causes.size() > 1) all = "[" + all + "]";
  error.message = absl::StrFormat("%s \"%s\" is invalid: %s",
                                  Qualified(resource.kind, resource.group), name, all);
  error.causes = std::move(causes);
  return ToStatus(error);
}

absl::Status ForbiddenError(const ResourceName& resource, std::string_view name,
                            std::string_view why) {
  return Make(403, "Forbidden",
              absl::StrFormat("%s \"%s\" is forbidden: %s",
                              Qualified(resource.plural, resource.group), name, why),
              resource, name);
}

absl::Status BadRequestError(std::string_view message) {
  return Make(400, "BadRequest", std::string(message));
}

absl::Status PathNotFoundError() {
  return Make(404, "NotFound", "the server could not find the requested resource");
}

absl::Status MethodNotAllowedError(const ResourceName& resource) {
  return Make(405, "MethodNotAllowed",
              "the server does not allow this method on the requested resource", resource);
}

absl::Status NotAcceptableError(std::string_view accepted) {
  return Make(406, "NotAcceptable",
              absl::StrFormat("only the following media types are accepted: %s", accepted));
}

absl::Status UnsupportedMediaTypeError(std::string_view message) {
  return Make(415, "UnsupportedMediaType", std::string(message));
}

absl::Status ExpiredError(std::string_view message) {
  return Make(410, "Expired", std::string(message));
}

absl::Status TooLargeError(std::string_view message) {
  return Make(413, "RequestEntityTooLarge", std::string(message));
}

absl::Status UnauthorizedError() { return Make(401, "Unauthorized", "Unauthorized"); }

absl::Status InternalError(std::string_view message) {
  return Make(500, "InternalError", absl::StrFormat("Internal error occurred: %s", message));
}

absl::Status ServiceUnavailableError(std::string_view message) {
  return Make(503, "ServiceUnavailable", std::string(message));
}

absl::Status TooLargeResourceVersionError(uint64_t wanted, uint64_t present) {
  ApiError error;
  error.code = 504;
  error.reason = "Timeout";
  error.message =
      absl::StrFormat("Timeout: Too large resource version: %d, current: %d", wanted, present);
  error.causes.push_back({"ResourceVersionTooLarge", "", "Too large resource version"});
  error.retry_after_seconds = 1;
  return ToStatus(error);
}

ErrorCause InvalidField(std::string_view field, const boost::json::value& value,
                        std::string_view why) {
  return Cause("FieldValueInvalid", field,
               absl::StrFormat("Invalid value: %s: %s", boost::json::serialize(value), why));
}

ErrorCause RequiredField(std::string_view field, std::string_view why) {
  return Cause(
      "FieldValueRequired", field,
      why.empty() ? std::string("Required value") : absl::StrFormat("Required value: %s", why));
}

ErrorCause ForbiddenField(std::string_view field, std::string_view why) {
  return Cause("FieldValueForbidden", field, absl::StrFormat("Forbidden: %s", why));
}

ErrorCause UnsupportedField(std::string_view field, const boost::json::value& value,
                            const std::vector<std::string>& supported) {
  std::string all;
  for (const std::string& one : supported) {
    all += absl::StrFormat("%s\"%s\"", all.empty() ? "" : ", ", one);
  }
  return Cause("FieldValueNotSupported", field,
               absl::StrFormat("Unsupported value: %s: supported values: %s",
                               boost::json::serialize(value), all));
}

ErrorCause DuplicateField(std::string_view field, const boost::json::value& value) {
  return Cause("FieldValueDuplicate", field,
               absl::StrFormat("Duplicate value: %s", boost::json::serialize(value)));
}

}  // namespace local_cluster

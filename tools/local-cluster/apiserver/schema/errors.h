// What a client is told when a request is refused: the Kubernetes Status object.
//
// Inside, an error is an absl::Status that carries the Status as a payload, so that the usual
// macros pass it up. One without the payload is translated by its code.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <boost/json/fwd.hpp>

#include "absl/status/status.h"

#include "common/net/http.h"

namespace local_cluster {

// One thing that is wrong with an object. `message` is what kubectl prints after the field.
struct ErrorCause {
  std::string reason;   // FieldValueInvalid, FieldValueRequired, …
  std::string field;    // "spec.size"
  std::string message;  // `Invalid value: 101: should be less than or equal to 100`
};

struct ApiError {
  int code = 500;
  std::string reason = "InternalError";
  std::string message;
  std::string name;
  std::string group;
  std::string kind;  // Of details: a plural for most errors, the kind for Invalid.
  std::string uid;
  std::vector<ErrorCause> causes;
  int retry_after_seconds = 0;
};

absl::Status ToStatus(const ApiError& error);
// Any absl::Status as what the client sees.
ApiError FromStatus(const absl::Status& status);
boost::json::value StatusJson(const ApiError& error);
net::Response ErrorResponse(const absl::Status& status);

// A kind as errors name it: `widgets.example.test "a" not found`.
struct ResourceName {
  std::string group;
  std::string plural;
  std::string kind;
};

absl::Status NotFoundError(const ResourceName& resource, std::string_view name);
absl::Status AlreadyExistsError(const ResourceName& resource, std::string_view name);
absl::Status ConflictError(const ResourceName& resource, std::string_view name,
                           std::string_view why);
absl::Status InvalidError(const ResourceName& resource, std::string_view name,
                          std::vector<ErrorCause> causes);
absl::Status ForbiddenError(const ResourceName& resource, std::string_view name,
                            std::string_view why);
absl::Status BadRequestError(std::string_view message);
absl::Status PathNotFoundError();
absl::Status MethodNotAllowedError(const ResourceName& resource);
absl::Status NotAcceptableError(std::string_view accepted);
absl::Status UnsupportedMediaTypeError(std::string_view message);
absl::Status ExpiredError(std::string_view message);
absl::Status TooLargeError(std::string_view message);
absl::Status UnauthorizedError();
absl::Status InternalError(std::string_view message);
absl::Status ServiceUnavailableError(std::string_view message);
absl::Status TooLargeResourceVersionError(uint64_t wanted, uint64_t present);

// The three usual causes, in upstream's words. `value` is shown as JSON.
ErrorCause InvalidField(std::string_view field, const boost::json::value& value,
                        std::string_view why);
ErrorCause RequiredField(std::string_view field, std::string_view why = "");
ErrorCause ForbiddenField(std::string_view field, std::string_view why);
ErrorCause UnsupportedField(std::string_view field, const boost::json::value& value,
                            const std::vector<std::string>& supported);
ErrorCause DuplicateField(std::string_view field, const boost::json::value& value);

}  // namespace local_cluster

// In which form a client wants its answer, and in which form it sent its body.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <boost/json/fwd.hpp>

#include "absl/status/statusor.h"

#include "common/net/http.h"

namespace local_cluster {

enum class AnswerForm { kObject, kTable, kPartialMetadata };

struct Negotiated {
  AnswerForm form = AnswerForm::kObject;
  std::string include_object = "Metadata";  // Of tables: None, Metadata, Object.

  bool operator==(const Negotiated&) const = default;
};

// One range of an Accept header.
struct MediaRange {
  std::string type;  // "application/json"
  std::string group, version, as;
};
std::vector<MediaRange> ParseAccept(const net::Request& request);

// kInvalidArgument (406) when the client takes nothing that is served.
absl::StatusOr<Negotiated> Negotiate(const net::Request& request);

// The body as JSON, whatever it was: JSON, YAML or protobuf. 415 for other types, 400 for malformed
// ones. An empty body is null.
absl::StatusOr<boost::json::value> ParseBody(const net::Request& request);

// "application/json" without parameters, in lower case.
std::string ContentType(const net::Request& request);

net::Response JsonResponse(int status, std::string body);

}  // namespace local_cluster

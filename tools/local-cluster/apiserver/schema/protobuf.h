// Kubernetes' protobuf encoding of built-in kinds, as kubectl sends it, to JSON.

#pragma once

#include <string_view>

#include <boost/json/fwd.hpp>

#include "absl/status/statusor.h"

namespace local_cluster {

// "k8s\0" and a message Unknown. 415 naming the kind for one without known field numbers, 400 for
// what is malformed.
absl::StatusOr<boost::json::value> DecodeProtobuf(std::string_view body);

}  // namespace local_cluster

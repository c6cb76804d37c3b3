// /openapi/v3: schemas and operations per group and version, as kubectl reads them.

#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "common/net/http.h"
#include "local-cluster/apiserver/kinds.h"

namespace local_cluster {

// Answers /openapi/v3 and below; 404 for the rest, /openapi/v2 included.
absl::StatusOr<net::Response> AnswerOpenApi(const net::Request& request,
                                            const std::vector<std::string>& segments,
                                            const KindRegistry& kinds);

}  // namespace local_cluster

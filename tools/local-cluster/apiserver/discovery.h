// What is served: the documents from which kubectl learns kinds, verbs and short names.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "common/net/http.h"
#include "local-cluster/apiserver/kinds.h"

namespace local_cluster {

// Answers /api, /api/v1, /apis, /apis/GROUP, /apis/GROUP/VERSION. 404 for what is not served.
absl::StatusOr<net::Response> AnswerDiscovery(const net::Request& request,
                                              const std::vector<std::string>& segments,
                                              const KindRegistry& kinds);

// True for paths of discovery, as opposed to objects.
bool IsDiscovery(const std::vector<std::string>& segments);

}  // namespace local_cluster

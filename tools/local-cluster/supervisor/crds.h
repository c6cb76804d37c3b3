// The CRDs of a deploy folder, brought into the API.

#pragma once

#include <string>

#include "absl/status/status.h"

#include "common/kube/client.h"

namespace local_cluster {

// Creates or updates every CustomResourceDefinition in the YAML files of `folder`. Those that have
// not changed since the last time are left alone.
absl::Status ApplyCrds(kube::Client& client, const std::string& folder);

}  // namespace local_cluster

// The environment variables of a container.

#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

#include "common/kube/object.h"
#include "local-cluster/runner/pod_sources.h"

namespace local_cluster {

// env and envFrom in Kubernetes' order and precedence, values expanded. kNotFound and
// kInvalidArgument are CreateContainerConfigError: `configmap "x" not found`.
absl::StatusOr<std::vector<std::pair<std::string, std::string>>> BuildEnvironment(
    const kube::Object& pod, std::string_view container, const PodSources& sources);

}  // namespace local_cluster

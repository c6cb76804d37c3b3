// The scale subresource: autoscaling/v1 Scale as a view of an object.

#pragma once

#include <boost/json/fwd.hpp>

#include "absl/status/statusor.h"

#include "local-cluster/apiserver/kinds.h"

namespace local_cluster {

boost::json::value ScaleOf(const boost::json::value& object, const ScalePaths& paths);

// `object` with the replicas, and the precondition, of `scale`.
absl::StatusOr<boost::json::value> WithScale(boost::json::value object,
                                             const boost::json::value& scale,
                                             const ScalePaths& paths);

const Schema& ScaleSchema();

}  // namespace local_cluster

// The patch types: JSON patch (RFC 6902) and strategic merge. Merge patch is kube::MergePatch.

#pragma once

#include <boost/json/fwd.hpp>

#include "absl/status/status.h"

#include "local-cluster/apiserver/cel/schema.h"

namespace local_cluster {

inline constexpr size_t kPatchOperationsMax = 10'000;

// All or nothing. 422 when an operation cannot be done or a test does not hold, 413 for too many.
absl::Status ApplyJsonPatch(boost::json::value& target, const boost::json::value& patch);

// Merges lists where `schema` says by which key. Understands $patch, $retainKeys,
// $deleteFromPrimitiveList and $setElementOrder. 400 for a malformed directive.
absl::Status ApplyStrategicMerge(boost::json::value& target, const boost::json::value& patch,
                                 const Schema& schema);

}  // namespace local_cluster

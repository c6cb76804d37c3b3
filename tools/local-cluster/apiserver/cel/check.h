// What can be wrong with an expression before it is evaluated.

#pragma once

#include "absl/status/status.h"

#include "local-cluster/apiserver/cel/node.h"
#include "local-cluster/apiserver/cel/schema.h"

namespace local_cluster::cel {

// Variables are known, fields exist in the schema where it is known, patterns compile. Field names
// that CEL cannot spell ("__dash__" for '-') are put back. Sets `uses_old` if oldSelf appears.
absl::Status Check(Node& root, const Schema& self, bool& uses_old);

}  // namespace local_cluster::cel

// The table of Kubernetes' own kinds that are served.

#pragma once

#include <memory>
#include <vector>

#include "local-cluster/apiserver/kinds.h"

namespace local_cluster {

std::vector<std::shared_ptr<const Kind>> BuiltinKinds();

}  // namespace local_cluster

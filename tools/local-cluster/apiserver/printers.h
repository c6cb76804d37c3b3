// kubectl's columns of the built-in kinds.

#pragma once

#include <boost/json/fwd.hpp>

#include "absl/time/time.h"

#include "local-cluster/apiserver/kinds.h"

namespace local_cluster {

boost::json::array BuiltinColumns(const Kind& kind);
boost::json::array BuiltinCells(const Kind& kind, const boost::json::value& object, absl::Time now);

// The READY, STATUS and RESTARTS of a Pod.
struct PodSummary {
  std::string ready, status, restarts;
};
PodSummary SummarizePod(const boost::json::value& pod, absl::Time now);

}  // namespace local_cluster

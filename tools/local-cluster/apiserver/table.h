// Rows and columns as kubectl prints them.

#pragma once

#include <string>

#include <boost/json/fwd.hpp>

#include "absl/time/time.h"

#include "local-cluster/apiserver/kinds.h"

namespace local_cluster {

// The columnDefinitions of a kind.
boost::json::array TableColumns(const Kind& kind, const KindVersion& version);

// The cells of `object`, one per column; null where it has no such value.
boost::json::array TableCells(const Kind& kind, const KindVersion& version,
                              const boost::json::value& object, absl::Time now);

// "5s", "3m20s", "4d": an age as kubectl writes it; "<unknown>" for the future's far end.
std::string HumanDuration(absl::Duration duration);

}  // namespace local_cluster
